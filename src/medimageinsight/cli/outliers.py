"""``mi2 outliers``: find images unlike a reference set; ``mi2 outliers drift``: test whether two batches differ."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.arguments import DefaultGroup
from medimageinsight.cli.errors import FAILED_INPUT, error_context, reported
from medimageinsight.cli.labelled_tables import print_failed_sources
from medimageinsight.cli.options import AsJson, Frame, Model, Preprocessing, load_model
from medimageinsight.cli.sources import list_sources, open_source
from medimageinsight.errors import DatasetError, InputError

if TYPE_CHECKING:
    from medimageinsight.api import MedImageInsight
    from medimageinsight.evaluate import ImageSet
    from medimageinsight.tasks import OutlierResult

    Judgement = dict[str, float]

app = typer.Typer(
    cls=DefaultGroup,
    help="Find images unlike a reference set: mi2 outliers REFERENCE FILE... --validation V.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_SET = "a folder or a table of images, or their vectors as .npy"


def find(
    reference: Annotated[str, typer.Argument(metavar="REFERENCE", help=f"Usual images: {_SET}.")],
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Images to judge; folders are searched; - is standard input.")
    ],
    validation: Annotated[str, typer.Option(metavar="V", help=f"Usual images that are not in REFERENCE: {_SET}.")],
    k: Annotated[int, typer.Option("-k", min=1, help="Number of nearest reference images.")] = 10,
    quantile: Annotated[
        float, typer.Option(help="Quantile of the validation images' distances above which an image is an outlier.")
    ] = 0.95,
    frame: Frame = 0,
    preprocessing: Preprocessing = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Find images that are unlike a reference set: REFERENCE FILE... --validation V.

    Where tables with a column patient_id name patients, REFERENCE and V may not share a patient.
    """
    from medimageinsight.tasks import fit_outliers

    sources = list_sources(files)
    loaded = load_model(model, preprocessing)
    known, usual = _load_set(loaded, reference), _load_set(loaded, validation)
    detector = fit_outliers(
        known.embeddings,
        usual.embeddings,
        k=k,
        quantile=quantile,
        reference_patients=known.patients,
        validation_patients=usual.patients,
    )
    with output.counting("embedding", len(sources)) as progress:
        embedded = loaded.embed_images(map(open_source, sources), errors="return", frame=frame, progress=progress)
    rows = [result for result in embedded if not isinstance(result, InputError)]
    judged = iter(detector.detect(rows) if rows else ())
    results = [
        (source, result if isinstance(result, InputError) else next(judged))
        for source, result in zip(sources, embedded, strict=True)
    ]
    failed = print_failed_sources(results)
    if as_json:
        output.print_json([_to_dict(source, result) for source, result in results])
    elif failed < len(results):
        output.print_table(
            ("source", "distance", "p-value", ""),
            [_row(source, result) for source, result in results if not isinstance(result, InputError)],
            title=f"threshold {detector.threshold:.4f}, from {len(usual.embeddings):,} validation images",
        )
    if failed:
        raise typer.Exit(FAILED_INPUT)


def drift(
    a: Annotated[str, typer.Argument(metavar="A", help=f"The first batch: {_SET}.")],
    b: Annotated[str, typer.Argument(metavar="B", help=f"The second batch: {_SET}.")],
    statistic: Annotated[str, typer.Option(metavar="energy|mmd", help="The statistic.")] = "energy",
    permutations: Annotated[
        int, typer.Option(min=1, help="Permutations of the test; more allow smaller p-values.")
    ] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the permutations.")] = 0,
    preprocessing: Preprocessing = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Test whether two batches of images differ by more than chance.

    Tables with a column patient_id keep a patient's images together, as the test requires.
    """
    from medimageinsight.tasks import find_drift

    loaded = load_model(model, preprocessing)
    first, second = _load_set(loaded, a), _load_set(loaded, b)
    result = find_drift(
        first.embeddings,
        second.embeddings,
        statistic=statistic,  # type: ignore[arg-type]  # checked there
        permutations=permutations,
        seed=seed,
        a_patients=first.patients,
        b_patients=second.patients,
    )
    if as_json:
        output.print_json({**asdict(result), "images": [len(first.embeddings), len(second.embeddings)]})
        return
    output.print_table(
        (f"{result.statistic}, {len(first.embeddings):,} and {len(second.embeddings):,} images", ""),
        [
            ("measured", f"{result.value:.5f}"),
            ("by chance, on average", f"{result.expected:.5f}"),
            ("p-value", f"{result.p_value:.4f}"),
            ("permutations, seed", f"{result.permutations:,}, {result.seed}"),
        ],
    )


for verb in (find, drift):
    app.command()(reported(verb))


def _to_dict(source: str, result: "OutlierResult | InputError") -> dict[str, object]:
    found = {"error": result.to_dict()} if isinstance(result, InputError) else asdict(result)
    return {"source": source, **found}


def _row(source: str, result: "OutlierResult") -> tuple[str, ...]:
    name, word = output.printable(source), "outlier" if result.outlier else ""
    return name, f"{result.distance:.4f}", f"{result.p_value:.3f}", word


def _load_set(model: "MedImageInsight", name: str) -> "ImageSet":
    """Embed a table or a folder of images, or read their embeddings; the report of an error names its source."""
    import numpy as np

    from medimageinsight.datasets import read_table
    from medimageinsight.evaluate import ImageSet, embed_image_table, read_embeddings

    path = Path(name)
    with error_context(name, (DatasetError, InputError, OSError)):
        if path.suffix == ".npy" and path.is_file():
            return read_embeddings(path)
        if path.suffix.lower() in (".csv", ".parquet"):
            table = read_table(path)
            with output.counting("embedding", len(table)) as progress:
                return embed_image_table(model, table, progress=progress)
        sources = list_sources([name])
    with output.counting("embedding", len(sources)) as progress:
        results = model.embed_images(map(open_source, sources), errors="return", progress=progress)
    for source, result in zip(sources, results, strict=True):
        if isinstance(result, InputError):
            with error_context(source):
                raise result
    return ImageSet(embeddings=np.stack([result for result in results if not isinstance(result, InputError)]))
