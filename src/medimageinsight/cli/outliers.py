"""``mi2 outliers``: images unlike a reference set; ``mi2 outliers drift``: whether two batches differ."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.arguments import DefaultGroup
from medimageinsight.cli.errors import FAILED_INPUT, error_context, reported
from medimageinsight.cli.loading import report_failures
from medimageinsight.cli.options import AsJson, Frame, Model, Preprocessing, load_model
from medimageinsight.cli.sources import list_sources, open_source
from medimageinsight.errors import DatasetError, InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from medimageinsight.api import MedImageInsight

app = typer.Typer(
    cls=DefaultGroup,
    help="Find images unlike a reference set: mi2 outliers REFERENCE FILE... --validation V.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_SET = "a folder or a table of images, or their vectors as .npy"


def find(
    reference: Annotated[str, typer.Argument(metavar="REFERENCE", help=f"What is usual: {_SET}.")],
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Images to judge; folders are searched; - is standard input.")
    ],
    validation: Annotated[str, typer.Option(metavar="V", help=f"Usual images that are not in REFERENCE: {_SET}.")],
    k: Annotated[int, typer.Option("-k", min=1, help="Nearest reference images that count.")] = 10,
    quantile: Annotated[
        float, typer.Option(help="Of the validation images' distances, beyond which is an outlier.")
    ] = 0.95,
    frame: Frame = 0,
    preprocessing: Preprocessing = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Tell which images are unlike a reference set: REFERENCE FILE... --validation V.

    Where tables with a column patient_id name patients, REFERENCE and V may not share one.
    """
    from medimageinsight.tasks.outliers import fit_outliers

    sources = list_sources(files)
    loaded = load_model(model, preprocessing)
    references, reference_patients = read_set(loaded, reference)
    usual, usual_patients = read_set(loaded, validation)
    detector = fit_outliers(
        references,
        usual,
        k=k,
        quantile=quantile,
        reference_patients=reference_patients,
        validation_patients=usual_patients,
    )
    with output.counting("embedding", len(sources)) as progress:
        embedded = loaded.embed_images(map(open_source, sources), errors="return", frame=frame, progress=progress)
    rows = [one for one in embedded if not isinstance(one, InputError)]
    distances = detector.distances(rows) if rows else ()
    judged = iter(
        {
            "distance": float(one),
            "p_value": float(detector.p_values([one])[0]),
            "outlier": bool(one > detector.threshold),
        }
        for one in distances
    )
    results = [
        (source, one if isinstance(one, InputError) else next(judged))
        for source, one in zip(sources, embedded, strict=True)
    ]
    failed = report_failures(results)
    if as_json:
        output.print_json(
            [
                {"source": source, "error": one.to_dict()} if isinstance(one, InputError) else {"source": source, **one}
                for source, one in results
            ]
        )
    elif rows:
        output.print_table(
            ("source", "distance", "p-value", ""),
            [
                (
                    output.printable(source),
                    f"{one['distance']:.4f}",
                    f"{one['p_value']:.3f}",
                    "outlier" if one["outlier"] else "",
                )
                for source, one in results
                if not isinstance(one, InputError)
            ],
            title=f"threshold {detector.threshold:.4f}, from {len(usual):,} validation images",
        )
    if failed:
        raise typer.Exit(FAILED_INPUT)


def drift(
    a: Annotated[str, typer.Argument(metavar="A", help=f"The first batch: {_SET}.")],
    b: Annotated[str, typer.Argument(metavar="B", help=f"The second batch: {_SET}.")],
    statistic: Annotated[str, typer.Option(metavar="energy|mmd", help="What is measured.")] = "energy",
    permutations: Annotated[
        int, typer.Option(min=1, help="Of the test; the more, the smaller p-values can be.")
    ] = 1000,
    seed: Annotated[int, typer.Option(help="Of the permutations.")] = 0,
    preprocessing: Preprocessing = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Tell whether two batches of images differ by more than chance.

    Tables with a column patient_id keep a patient's images together, as the test should.
    """
    from medimageinsight.tasks.drift import find_drift

    loaded = load_model(model, preprocessing)
    (first, first_patients), (second, second_patients) = read_set(loaded, a), read_set(loaded, b)
    found = find_drift(
        first,
        second,
        statistic=statistic,  # type: ignore[arg-type]  # checked there
        permutations=permutations,
        seed=seed,
        a_patients=first_patients,
        b_patients=second_patients,
    )
    if as_json:
        output.print_json({**asdict(found), "images": [len(first), len(second)]})
        return
    output.print_table(
        (f"{found.statistic}, {len(first):,} and {len(second):,} images", ""),
        [
            ("measured", f"{found.value:.5f}"),
            ("by chance, on average", f"{found.expected:.5f}"),
            ("p-value", f"{found.p_value:.4f}"),
            ("permutations, seed", f"{found.permutations:,}, {found.seed}"),
        ],
    )


for verb in (find, drift):
    app.command()(reported(verb))


def read_set(model: "MedImageInsight", name: str) -> "tuple[NDArray[np.float32], list[str] | None]":
    """Vectors (N, D) of a set of images, and their patients where a table says them.

    Raises:
        InputError: An image that cannot be read, which the report names; or no array of vectors (``vectors_invalid``).
        DatasetError: A table, or images of it, cannot be read.
    """
    import numpy as np

    path = Path(name)
    with error_context(name, (DatasetError, InputError, OSError)):
        if path.suffix == ".npy" and path.is_file():
            return _read_vectors(path), None
        if path.suffix.lower() in (".csv", ".parquet"):
            return _read_table(model, path)
        sources = list_sources([name])
    with output.counting("embedding", len(sources)) as progress:
        found = model.embed_images(map(open_source, sources), errors="return", progress=progress)
    for source, one in zip(sources, found, strict=True):
        if isinstance(one, InputError):
            with error_context(source):
                raise one
    return np.stack([one for one in found if not isinstance(one, InputError)]), None


def _read_vectors(path: Path) -> "NDArray[np.float32]":
    """A file of `mi2 embed --out F.npy`; rows of NaN, images that failed then, are left out."""
    import numpy as np

    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        array = None
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind != "f":
        raise InputError(
            "expected vectors as mi2 embed --out F.npy writes them, got another file: embed the images again",
            code="vectors_invalid",
        )
    rows: NDArray[np.float32] = array[~np.isnan(array).all(axis=1)].astype(np.float32)
    return rows


def _read_table(model: "MedImageInsight", path: Path) -> "tuple[NDArray[np.float32], list[str]]":
    import numpy as np

    from medimageinsight.adapters.tables import patients_of
    from medimageinsight.datasets import read_table
    from medimageinsight.datasets.table import broken_images

    samples = read_table(path).samples
    paths = [sample.path for sample in samples]
    with output.counting("embedding", len(paths)) as progress:
        found = model.embed_images(paths, errors="return", progress=progress)
    problems = {image: one for image, one in zip(paths, found, strict=True) if isinstance(one, InputError)}
    if problems:
        raise broken_images(problems)
    return np.stack([one for one in found if not isinstance(one, InputError)]), patients_of(samples)
