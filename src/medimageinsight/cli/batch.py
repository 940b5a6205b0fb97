"""``mi2 batch``: embed millions of images to Parquet parts, resumable."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.errors import FAILED_INPUT, error_context
from medimageinsight.cli.options import (
    AcceptMaps,
    AsJson,
    Frame,
    Model,
    PathColumn,
    Percentiles,
    Preprocessing,
    Window,
    choose_window,
)
from medimageinsight.errors import BundleError, DatasetError, InputError

if TYPE_CHECKING:
    from medimageinsight.batch import BatchOptions, BatchProgress, BatchReport, LocalEngine

ENGINES = ("local",)

Source = Annotated[
    str,
    typer.Argument(
        metavar="IN",
        help="A folder, a table (.csv, .tsv, .parquet) with paths, URIs or base64, a list of files (.txt), a folder of "
        "tables, or any of them at s3://, gs:// or az://.",
        show_default=False,
    ),
]
Out = Annotated[
    str, typer.Argument(metavar="OUT", help="A folder, or s3://, gs:// or az:// with a prefix.", show_default=False)
]
EngineName = Annotated[str, typer.Option("--engine", metavar="|".join(ENGINES), help="What runs the parts.")]
Workers = Annotated[int, typer.Option(min=1, help="Worker processes. One uses all cores.")]
Level = Annotated[
    str, typer.Option(metavar="image|series", help="A row for each image, or for each series: a pooled vector.")
]
Select = Annotated[str | None, typer.Option(metavar="WHICH", help="With --level series: its images, as of mi2 embed.")]
PoolingName = Annotated[
    str | None,
    typer.Option("--pooling", metavar="NAME", help="With --level series: mean, median, max, std, statistics."),
]
KeyColumn = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="The table's column with the keys. Default: key, else the path.")
]
Root = Annotated[
    str | None,
    typer.Option(metavar="DIR", help="Where the paths of a table are relative to. Default: the table's folder."),
]
PartRows = Annotated[
    int | None,
    typer.Option(min=1, help="Rows of a part. Default: 1000, or as the output was begun.", show_default=False),
]
WriteCsv = Annotated[
    bool,
    typer.Option(
        "--csv", help="Also embed the column text, and write predictions.csv as the hosted batch endpoint does."
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Accepted for clarity: every call does what is missing.")]


def batch(
    source: Source,
    out: Out,
    engine: EngineName = "local",
    workers: Workers = 1,
    level: Level = "image",
    select: Select = None,
    pooling: PoolingName = None,
    path_column: PathColumn = None,
    key_column: KeyColumn = None,
    root: Root = None,
    part_rows: PartRows = None,
    csv: WriteCsv = False,
    resume: Resume = False,  # noqa: ARG001 - the default behaviour
    frame: Frame = 0,
    window: Window = None,
    percentiles: Percentiles = None,
    accept_maps: AcceptMaps = False,
    preprocessing: Preprocessing = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Embed any number of images to Parquet parts, with a row for each row of the input, failed ones included.

    A part is written whole or not at all. Repeat an interrupted call: it does the parts that are missing, and refuses
    inputs, a model or options that have changed.
    """
    from medimageinsight.batch import BatchOptions, LocalEngine, existing_options, write_predictions

    if engine not in ENGINES:
        raise InputError(
            f"expected --engine to be {', '.join(ENGINES)}, got {engine!r}: leave it out", code="engine_unknown"
        )
    options = BatchOptions(
        level=level,  # type: ignore[arg-type]  # checked by `run`
        select=select,
        pooling=pooling,
        frame=frame,
        window=choose_window(window, percentiles),
        accept_maps=accept_maps,
        path_column=path_column,
        key_column=key_column,
        root=root,
        texts=csv,
        **({} if part_rows is None else {"part_rows": part_rows}),
    )
    options.check()
    if part_rows is None:
        options = existing_options(out, options)
    with error_context(source, DatasetError), error_context(model, BundleError), error_context(out, OSError):
        report = _run(source, out, options, model, preprocessing, LocalEngine(workers))
        if csv and not report.set_aside:
            write_predictions(out)
    _print_report(report, out, as_json=as_json)
    if report.errors or report.set_aside:
        raise typer.Exit(FAILED_INPUT)


def _run(
    source: str, out: str, options: "BatchOptions", model: str | None, preprocessing: str | None, engine: "LocalEngine"
) -> "BatchReport":
    """Run a batch with the progress of its planning and of its parts."""
    from medimageinsight.batch import run

    start = time.monotonic()

    def remark(state: "BatchProgress") -> str:
        speed = state.done / max(time.monotonic() - start, 1e-9)
        errors = ", ".join(f"{code} {count:,}" for code, count in state.errors.most_common(3))
        return f"{speed:,.1f} images/s{'; errors: ' if errors else ''}{errors}"

    with output.batch_progress("listing", "embedding") as (listed, embedded):
        return run(
            source, out, model=model, preprocessing=preprocessing, options=options, engine=engine,
            planned=listed, progress=lambda state: embedded(state.total, state.earlier + state.done, remark(state)),
        )  # fmt: skip


def _print_report(report: "BatchReport", out: str, *, as_json: bool) -> None:
    failed = sum(report.errors.values())
    for name in report.set_aside:
        output.error("expected a part that can be embedded, got one that ended its worker three times", source=name)
    if as_json:
        output.print_json(report.to_dict())
        return
    if report.errors:
        rows = [(code, f"{count:,}") for code, count in sorted(report.errors.items())]
        output.print_table(("error", "rows"), rows)
    output.note(
        f"{report.done - failed:,} of {report.done:,} rows embedded, {report.earlier:,} before; "
        f"{report.rows:,} in {report.parts:,} parts: {out}"
    )
