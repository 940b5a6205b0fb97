"""``mi2 outliers``: find images unlike a reference set; ``mi2 outliers drift``: test whether two batches differ."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.arguments import DefaultGroup
from medimageinsight.cli.errors import error_context
from medimageinsight.cli.options import (
    AcceptMaps,
    AsJson,
    Frame,
    Model,
    PathColumn,
    Percentiles,
    Preprocessing,
    Root,
    Window,
    choose_window,
    load_model,
)
from medimageinsight.cli.reading_options import ReadingOptions
from medimageinsight.cli.results import print_results
from medimageinsight.cli.verbs import register
from medimageinsight.errors import DatasetError, InputError
from medimageinsight.files.columns import TABLE_SUFFIXES

if TYPE_CHECKING:
    from medimageinsight.api import MedImageInsight
    from medimageinsight.evaluate import ImageSet
    from medimageinsight.tasks import OutlierResult

app = typer.Typer(
    cls=DefaultGroup,
    help="Find images unlike a reference set: mi2 outliers REFERENCE FILE... --validation V.",
    no_args_is_help=True,
)

_ROUNDING = 1e-9
_SET = "a folder of images, a .csv, .tsv, .txt or .parquet table of them, or embeddings of mi2 embed --out"

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
    path_column: PathColumn = None,
    root: Root = None,
    reading: ReadingOptions = ReadingOptions(),  # noqa: B008 - frozen
    frame: Frame = 0,
    window: Window = None,
    percentiles: Percentiles = None,
    accept_maps: AcceptMaps = False,
    preprocessing: Preprocessing = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Find images that are unlike a reference set: REFERENCE FILE... --validation V.

    An image's distance is measured to its k nearest reference images. No patient may be in both REFERENCE and V:
    patients are the column patient_id of a table, else those of DICOM files.
    """
    from medimageinsight.cli.source_list import SourceList, embed_sources
    from medimageinsight.tasks import fit_outliers

    sources = SourceList(files, reading, frame=frame)
    loaded = load_model(model, preprocessing, window=choose_window(window, percentiles), accept_maps=accept_maps)
    reference_set, validation_set = (
        _load_set(loaded, name, path_column, root, reading) for name in (reference, validation)
    )
    detector = fit_outliers(
        reference_set.embeddings,
        validation_set.embeddings,
        k=k,
        quantile=quantile,
        reference_patients=reference_set.patients,
        validation_patients=validation_set.patients,
    )
    unknown = [_count_unknown(images) for images in (reference_set, validation_set)]
    embedded = embed_sources(loaded, sources)
    rows = [row for row in embedded if not isinstance(row, InputError)]
    detected = iter(detector.detect(rows) if rows else ())

    def print_table(results: "list[tuple[str, OutlierResult]]") -> None:
        output.print_table(
            ("source", "distance", "p-value", ""),
            [_format(source, result) for source, result in results],
            title=f"threshold {detector.threshold:.4f}, from {len(validation_set.embeddings):,} validation images"
            f"{', patients unknown' if any(unknown) else ''}",
        )

    if detector.expected_rate > 1 - quantile + _ROUNDING:
        output.note(
            f"warning: {len(validation_set.embeddings):,} validation images are too few for the quantile {quantile:g}: "
            f"up to {detector.expected_rate:.1%} of usual images are outliers"
        )
    results = [row if isinstance(row, InputError) else next(detected) for row in embedded]
    print_results(
        sources,
        results,
        lambda result: {**asdict(result), "patients_unknown": any(unknown)},
        print_table,
        as_json=as_json,
    )


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
    path_column: PathColumn = None,
    root: Root = None,
    reading: ReadingOptions = ReadingOptions(),  # noqa: B008 - frozen
    window: Window = None,
    percentiles: Percentiles = None,
    accept_maps: AcceptMaps = False,
    preprocessing: Preprocessing = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Test whether two batches of images differ by more than chance.

    The images of a patient are permuted together: patients are the column patient_id of a table, else those of DICOM
    files. Where none is known, groups of similar images are permuted, which misses smaller drift.
    """
    from medimageinsight.tasks import find_drift

    loaded = load_model(model, preprocessing, window=choose_window(window, percentiles), accept_maps=accept_maps)
    first, second = (_load_set(loaded, name, path_column, root, reading) for name in (a, b))
    result = find_drift(
        first.embeddings,
        second.embeddings,
        statistic=statistic,  # type: ignore[arg-type]  # checked there
        permutations=permutations,
        seed=seed,
        a_patients=first.patients,
        b_patients=second.patients,
    )
    unknown = [_count_unknown(images) for images in (first, second)]
    if as_json:
        counts = [len(first.embeddings), len(second.embeddings)]
        output.print_json({**asdict(result), "images": counts, "unknown_patients": unknown})
        return
    output.print_table(
        (f"{result.statistic}, {len(first.embeddings):,} and {len(second.embeddings):,} images", ""),
        [
            ("measured", f"{result.value:.5f}"),
            ("by chance, on average", f"{result.expected:.5f}"),
            (f"p-value{', patients unknown' if any(unknown) else ''}", f"{result.p_value:.4f}"),
            ("permuted", "patients" if result.patients_known else "groups of similar images, as patients are unknown"),
            ("permutations, seed", f"{result.permutations:,}, {result.seed}"),
        ],
    )


for verb in (find, drift):
    register(app, verb, group="outliers")


def _count_unknown(images: "ImageSet") -> int:
    """Return the number of images whose patient is not known."""
    count = len(images.embeddings)
    return count if images.patients is None else sum(not patient for patient in images.patients)


def _format(source: str, result: "OutlierResult") -> tuple[str, ...]:
    verdict = "outlier" if result.outlier else ""
    return output.printable(source), f"{result.distance:.4f}", f"{result.p_value:.3f}", verdict


def _load_set(
    model: "MedImageInsight", name: str, path_column: str | None, root: Path | None, reading: ReadingOptions
) -> "ImageSet":
    """Embed a table or a folder of images, series or studies, or read their embeddings."""
    from medimageinsight.cli.reading_model import reading_model
    from medimageinsight.cli.source_list import SourceList, embed_all_sources
    from medimageinsight.datasets import is_vector_file, read_table
    from medimageinsight.evaluate import ImageSet, embed_image_table, file_patients, read_embeddings

    path = Path(name)
    columns = {} if path_column is None else {"path": path_column}
    with error_context(name, (DatasetError, InputError, OSError)):
        if is_vector_file(path):
            return read_embeddings(path, identity=model.identity)
        if path.suffix.lower() in TABLE_SUFFIXES:
            table = read_table(path, columns=columns, root=root, required=())
            with output.counting("embedding", len(table)) as progress:
                return embed_image_table(reading_model(model, reading), table, progress=progress)
        sources = SourceList([name], reading)
    embeddings = embed_all_sources(model, sources)
    sources.print_used()
    return ImageSet(embeddings=embeddings, patients=file_patients(sources.header_paths()))
