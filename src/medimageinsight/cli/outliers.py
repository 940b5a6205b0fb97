"""``mi2 outliers``: find images unlike a reference set; ``mi2 outliers drift``: test whether two batches differ."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.arguments import DefaultGroup
from medimageinsight.cli.errors import error_context, report_errors
from medimageinsight.cli.options import AsJson, Frame, Model, Preprocessing, load_model
from medimageinsight.cli.results import print_results
from medimageinsight.cli.sources import embed_all_sources, embed_sources, list_sources
from medimageinsight.errors import DatasetError, InputError

if TYPE_CHECKING:
    from medimageinsight.api import MedImageInsight
    from medimageinsight.evaluate import ImageSet
    from medimageinsight.tasks import OutlierResult

app = typer.Typer(
    cls=DefaultGroup,
    help="Find images unlike a reference set: mi2 outliers REFERENCE FILE... --validation V.",
    no_args_is_help=True,
)

_SET = "a folder of images, a .csv or .parquet table of them, or their embeddings as .npy"

Reference = Annotated[str, typer.Argument(metavar="REFERENCE", help=f"Usual images: {_SET}.")]
Files = Annotated[
    list[str], typer.Argument(metavar="FILE...", help="Images to judge; folders are searched; - is standard input.")
]
Validation = Annotated[str, typer.Option(metavar="V", help=f"Usual images that are not in REFERENCE: {_SET}.")]
K = Annotated[int, typer.Option("-k", min=1, help="Number of nearest reference images.")]
Quantile = Annotated[
    float,
    typer.Option(help="An image is an outlier if it is farther away than this fraction of the validation images."),
]


def find(
    reference: Reference,
    files: Files,
    validation: Validation,
    k: K = 10,
    quantile: Quantile = 0.95,
    frame: Frame = 0,
    preprocessing: Preprocessing = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Find images that are unlike a reference set: REFERENCE FILE... --validation V.

    An image's distance is measured to its k nearest reference images. If tables have a column patient_id, no patient
    may be in both REFERENCE and V.
    """
    from medimageinsight.tasks import fit_outliers

    sources = list_sources(files)
    loaded = load_model(model, preprocessing)
    reference_set, validation_set = _load_set(loaded, reference), _load_set(loaded, validation)
    detector = fit_outliers(
        reference_set.embeddings,
        validation_set.embeddings,
        k=k,
        quantile=quantile,
        reference_patients=reference_set.patients,
        validation_patients=validation_set.patients,
    )
    embedded = embed_sources(loaded, sources, frame=frame)
    rows = [row for row in embedded if not isinstance(row, InputError)]
    detected = iter(detector.detect(rows) if rows else ())

    def print_table(results: "list[tuple[str, OutlierResult]]") -> None:
        output.print_table(
            ("source", "distance", "p-value", ""),
            [_format(source, result) for source, result in results],
            title=f"threshold {detector.threshold:.4f}, from {len(validation_set.embeddings):,} validation images",
        )

    results = [row if isinstance(row, InputError) else next(detected) for row in embedded]
    print_results(sources, results, asdict, print_table, as_json=as_json)


def drift(
    a: Annotated[str, typer.Argument(metavar="A", help=f"The first batch: {_SET}.")],
    b: Annotated[str, typer.Argument(metavar="B", help=f"The second batch: {_SET}.")],
    statistic: Annotated[
        str, typer.Option(metavar="energy|mmd", help="Energy distance, or maximum mean discrepancy.")
    ] = "energy",
    permutations: Annotated[
        int, typer.Option(min=1, help="Number of permutations; more allow smaller p-values.")
    ] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the permutations.")] = 0,
    preprocessing: Preprocessing = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Test whether two batches of images differ by more than chance.

    If a table has a column patient_id, the images of a patient are permuted together.
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
    app.command()(report_errors(verb))


def _format(source: str, result: "OutlierResult") -> tuple[str, ...]:
    verdict = "outlier" if result.outlier else ""
    return output.printable(source), f"{result.distance:.4f}", f"{result.p_value:.3f}", verdict


def _load_set(model: "MedImageInsight", name: str) -> "ImageSet":
    """Embed a table or a folder of images, or read their embeddings."""
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
    return ImageSet(embeddings=embed_all_sources(model, sources))
