"""``mi2 bench``: speed and memory of a model, compared with the machine's peak and with other runtimes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.arguments import format_command
from medimageinsight.cli.errors import error_context
from medimageinsight.cli.options import AsJson, Model
from medimageinsight.cli.sources import list_sources
from medimageinsight.errors import BundleError, InputError

if TYPE_CHECKING:
    from medimageinsight.bench import Bench

BatchSizes = Annotated[str, typer.Option(metavar="N,N", help="Numbers of images that are embedded together.")]
Rounds = Annotated[int, typer.Option(help="How often each candidate is measured.")]
Threads = Annotated[int | None, typer.Option(help="CPU threads. Default: all usable cores.")]
Provider = Annotated[
    str | None, typer.Option(metavar="NAME", help="Execution provider, such as cuda. Default: the best available.")
]
Baselines = Annotated[
    str | None, typer.Option(metavar="A,B", help="From eager, tuned, compile, plain, openvino; or none. Default: all.")
]
ImageFolder = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Also measure images from file to embedding, with the files of this folder."),
]
ReportFolder = Annotated[Path | None, typer.Option(metavar="DIR", help="Write a report with a plot to this folder.")]


def bench(
    batch_sizes: BatchSizes = "1,8",
    rounds: Rounds = 5,
    threads: Threads = None,
    provider: Provider = None,
    baselines: Baselines = None,
    images: ImageFolder = None,
    out: ReportFolder = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Measure the speed and memory of a model, and compare them with this machine's peak and with other runtimes.

    The model and its baselines run in turn, each in its own process. Baselines have the model's architecture and random
    weights, since speed does not depend on the values. --out needs the extra 'evaluate', baselines in PyTorch 'export'.
    """
    from medimageinsight.bench import BASELINES, BenchSettings, run, write_report
    from medimageinsight.bundle import Bundle, find
    from medimageinsight.reports import check_report_folder

    settings = BenchSettings(
        batch_sizes=_parse_batch_sizes(batch_sizes),
        rounds=rounds,
        threads=threads,
        provider=provider,
        baselines=BASELINES if baselines is None else _parse_baselines(baselines),
    )
    if out is not None:
        with error_context(out):
            check_report_folder(out)
    with error_context(model, BundleError):
        bundle = Bundle.open(find(model))
    files = [] if images is None else list_sources([str(images)], arrays=False)
    options = {
        "--batch-sizes": ",".join(map(str, settings.batch_sizes)), "--rounds": rounds, "--threads": threads,
        "--provider": provider, "--baselines": baselines, "--images": images, "--model": model,
    }  # fmt: skip
    with output.stages() as progress:
        result = run(bundle, settings, images=files, command=format_command("bench", [], options), progress=progress)
    if out is not None:
        with error_context(out):
            write_report(result, out)
    if as_json:
        output.print_json(result.to_dict())
    else:
        _print_result(result)


def _parse_batch_sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise InputError(
            f"expected batch sizes such as 1,8, got {text!r}: give integers separated by commas",
            code="batch_sizes_invalid",
        ) from None


def _parse_baselines(text: str) -> tuple[str, ...]:
    return () if text == "none" else tuple(word.strip() for word in text.split(","))


def _print_result(result: "Bench") -> None:
    from medimageinsight.bench.report import (
        MEMORY_COLUMNS,
        encoder_columns,
        encoder_rows,
        memory_rows,
        notes,
        summary_rows,
    )

    threads, processor = result.machine["threads"], output.printable(str(result.machine["processor"]))
    output.print_table(
        encoder_columns("image"),
        encoder_rows(result, "image"),
        title=f"{result.model}, {result.precision}, threads: {threads}, {processor}",
    )
    output.print_table(encoder_columns("text"), encoder_rows(result, "text"))
    output.print_table(MEMORY_COLUMNS, memory_rows(result))
    output.print_table(("figure", "value"), summary_rows(result))
    for line in notes(result):
        output.note(line)
