"""A run as JSON, as Markdown, and as a folder with a plot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight import reports
from medimageinsight.bench.plots import draw_plot
from medimageinsight.bench.results import NOTES
from medimageinsight.reports import Document, Listing, Paragraph, Section, TableBlock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.bench.cases import Encoder
    from medimageinsight.bench.results import Bench
    from medimageinsight.reports import Plot

MEMORY_COLUMNS = ("candidate", "encoder", "peak MiB", "private MiB")
MAX_QUIET_SPREAD = 1.5


def to_json(bench: Bench) -> str:
    """Return the whole run as one JSON document."""
    return json.dumps(bench.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_markdown(bench: Bench, plots: Sequence[Plot] = ()) -> str:
    """Return the whole run as Markdown."""
    return reports.to_markdown(_document(bench, plots))


def write_report(bench: Bench, folder: str | Path) -> Path:
    """Write ``report.json``, ``report.md`` and ``speed.png``, all of them or none.

    An earlier report in the same folder is replaced.

    Raises:
        InputError: As `check_report_folder`.
        MissingExtraError: matplotlib is not installed.
    """
    with reports.new_report_folder(folder) as fresh:
        (fresh / reports.REPORT_NAME).write_text(to_json(bench), encoding="utf-8")
        plot = draw_plot(bench, fresh)
        (fresh / "report.md").write_text(to_markdown(bench, [plot]), encoding="utf-8")
    return Path(folder).absolute()


def encoder_columns(encoder: Encoder) -> tuple[str, ...]:
    """Return the header of `encoder_rows`."""
    input_name = "batch" if encoder == "image" else "text"
    return ("candidate", input_name, "median ms", f"{encoder}s/s", "times floor", "ratio")


def encoder_rows(bench: Bench, encoder: Encoder) -> tuple[tuple[str, ...], ...]:
    """Return one row for each case and candidate."""
    return tuple(
        (
            timing.candidate,
            result.case.label,
            f"{1000 * timing.median:,.2f}",
            f"{result.case.batch / timing.median:,.2f}",
            f"{timing.times_floor:.2f}",
            f"{timing.ratio:.2f}",
        )
        for result in bench.results
        if result.case.encoder == encoder
        for timing in result.timings
    )


def summary_rows(bench: Bench) -> tuple[tuple[str, str], ...]:
    """Return the machine's peak, the cold start and the speed of embedding files."""
    peak, cold = bench.peak.to_dict(), bench.cold_start.to_dict()
    rows = [
        (f"float32 matrix product, {peak['best']}", f"{peak['flops_per_second'] / 1e9:,.0f} GFLOP/s"),
        ("fresh process to opened model", f"{cold['opened_median']:.2f} s"),
        ("fresh process to first image's vector", f"{cold['first_embedding_median']:.2f} s"),
    ]
    if bench.files is not None:
        files = bench.files
        rows += [
            (f"files to vectors, {files.images:,} files", f"{files.per_second:.2f} images/s"),
            (f"of the network's rate at batch {files.batch}", f"{files.fraction:.1%}"),
        ]
        if files.failed:
            rows.append(("files that could not be read", f"{files.failed:,}"))
    return tuple(rows)


def memory_rows(bench: Bench) -> tuple[tuple[str, ...], ...]:
    """Return candidate, encoder, peak and private memory in MiB."""
    return tuple((memory.candidate, memory.encoder, _mib(memory.peak), _mib(memory.private)) for memory in bench.memory)


def notes(bench: Bench) -> list[str]:
    """Return explanations of the results, whether the machine was busy, and the baselines that were skipped."""
    lines = list(NOTES)
    if (spread := bench.peak.spread) > MAX_QUIET_SPREAD:
        lines.append(
            f"The machine was not quiet: its slowest matrix product took {spread:.1f} times as long as its fastest."
        )
    encoders: dict[tuple[str, str], list[str]] = {}
    for skipped in bench.skipped:
        encoders.setdefault((skipped.candidate, skipped.reason), []).append(skipped.encoder)
    lines += [f"Not measured: {name} ({' and '.join(names)}): {reason}." for (name, reason), names in encoders.items()]
    return lines


def _document(bench: Bench, plots: Sequence[Plot]) -> Document:
    machine = ", ".join(f"{name} {value}" for name, value in bench.machine.items())

    def table(caption: str, columns: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> TableBlock:
        return TableBlock(caption=caption, columns=columns, rows=rows)

    speed = (
        table("Image encoder", encoder_columns("image"), encoder_rows(bench, "image")),
        table("Text encoder", encoder_columns("text"), encoder_rows(bench, "text")),
        table("Machine, cold start and files", ("Figure", "Value"), summary_rows(bench)),
    )
    return Document(
        title=f"Speed of {bench.model}",
        lead=f"{bench.precision}, {bench.settings.rounds} rounds. {machine}.",
        sections=(
            Section(title="Speed", blocks=(*speed, *plots)),
            Section(title="Memory", blocks=(table("Memory by candidate", MEMORY_COLUMNS, memory_rows(bench)),)),
            Section(title="Notes", blocks=tuple(Paragraph(text=note) for note in notes(bench))),
            Section(title="Repeat with", blocks=(Listing(text=bench.command),) if bench.command else ()),
        ),
    )


def _mib(size: int | None) -> str:
    return "–" if size is None else f"{size / (1 << 20):,.0f}"
