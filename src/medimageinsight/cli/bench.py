"""``mi2 bench``: speed and memory of a model, compared with the machine's peak and other ways to run it."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.errors import error_context
from medimageinsight.cli.options import AsJson, Model
from medimageinsight.cli.sources import list_sources
from medimageinsight.errors import BundleError, InputError

if TYPE_CHECKING:
    from medimageinsight.bench import Bench


def bench(
    batch_sizes: Annotated[str, typer.Option(metavar="N,N", help="Images that are embedded together.")] = "1,8",
    rounds: Annotated[int, typer.Option(help="Times each candidate is measured.")] = 5,
    threads: Annotated[int | None, typer.Option(help="CPU threads. Default: all usable cores.")] = None,
    provider: Annotated[
        str | None, typer.Option(metavar="NAME", help="Execution provider, as cuda. Default: the best available.")
    ] = None,
    baselines: Annotated[
        str | None,
        typer.Option(
            metavar="A,B", help="Any of eager, tuned, compile, plain, openvino; or none. Default: all that can run."
        ),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Also measure from these image files to vectors.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for the report and its plot.")] = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Measure speed and memory of images, texts and a cold start, and compare them with the float32 peak and baselines.

    Candidates run one at a time, interleaved, each in its own process. The baselines have the model's architecture and
    random weights, since speed does not depend on the values. --out needs the extra 'evaluate', PyTorch 'export'.
    """
    from medimageinsight.bench import BASELINES, BenchSettings, run, write_report
    from medimageinsight.bundle import Bundle, find
    from medimageinsight.reports.folder import check_report_folder

    settings = BenchSettings(
        batch_sizes=_numbers(batch_sizes),
        rounds=rounds,
        threads=threads,
        provider=provider,
        baselines=BASELINES if baselines is None else _names(baselines),
    )
    if out is not None:
        with error_context(out):
            check_report_folder(out)
    with error_context(model, BundleError):
        bundle = Bundle.open(find(model))
    files = [] if images is None else list_sources([str(images)])
    with output.stages() as progress:
        measured = run(
            bundle,
            settings,
            images=files,
            command=_command(settings.batch_sizes, rounds, threads, provider, baselines, images, model),
            progress=progress,
        )
    if out is not None:
        with error_context(out):
            write_report(measured, out)
    if as_json:
        output.print_json(measured.to_dict())
    else:
        _print(measured)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise InputError(
            f"expected batch sizes as 1,8, got {text!r}: give integers separated by commas",
            code="batch_sizes_invalid",
        ) from None


def _names(text: str) -> tuple[str, ...]:
    return () if text == "none" else tuple(word.strip() for word in text.split(","))


def _command(
    batch_sizes: tuple[int, ...],
    rounds: int,
    threads: int | None,
    provider: str | None,
    baselines: str | None,
    images: Path | None,
    model: str | None,
) -> str:
    """Return the command that repeats the figures."""
    given = {
        "--threads": threads,
        "--provider": provider,
        "--baselines": baselines,
        "--images": images,
        "--model": model,
    }
    words = ["mi2", "bench", "--batch-sizes", ",".join(map(str, batch_sizes)), "--rounds", str(rounds)]
    for option, value in given.items():
        words += [] if value is None else [option, str(value)]
    return shlex.join(words)


def _print(measured: "Bench") -> None:
    from medimageinsight.bench.report import (
        MEMORY_COLUMNS,
        encoder_columns,
        encoder_rows,
        memory_rows,
        notes,
        summary_rows,
    )

    threads, processor = measured.machine["threads"], output.printable(str(measured.machine["processor"]))
    output.print_table(
        encoder_columns("image"),
        encoder_rows(measured, "image"),
        title=f"{measured.model}, {measured.precision}, threads: {threads}, {processor}",
    )
    output.print_table(encoder_columns("text"), encoder_rows(measured, "text"))
    output.print_table(MEMORY_COLUMNS, memory_rows(measured))
    output.print_table(("figure", "value"), summary_rows(measured))
    for line in notes(measured):
        output.note(line)
