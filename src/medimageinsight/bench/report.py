"""A run as JSON, as Markdown, and as a folder with a plot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.bench.figures import NOTES
from medimageinsight.bench.plots import PLOT_NAME, draw_plot
from medimageinsight.reports.folder import REPORT_NAME, new_report_folder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from medimageinsight.bench.figures import Bench, Result, Side, Timing

MEMORY_COLUMNS = ("candidate", "encoder", "peak MiB", "private MiB")
MIB = 1 << 20
QUIET_SPREAD = 1.5


def to_json(bench: Bench) -> str:
    """The whole run, one JSON document."""
    return json.dumps(bench.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_markdown(bench: Bench) -> str:
    """The whole run for reading."""
    return _document(bench, plots=[])


def write_report(bench: Bench, folder: str | Path) -> Path:
    """Writes ``report.json``, ``report.md`` and ``speed.png``. The folder is there complete or not at all.

    An earlier report in the same place is replaced.

    Raises:
        InputError: As `check_report_folder`.
        MissingExtraError: matplotlib is not installed.
    """
    with new_report_folder(folder) as fresh:
        (fresh / REPORT_NAME).write_text(to_json(bench), encoding="utf-8")
        draw_plot(bench, fresh / PLOT_NAME)
        (fresh / "report.md").write_text(_document(bench, [PLOT_NAME]), encoding="utf-8")
    return Path(folder).absolute()


def side_columns(side: Side) -> tuple[str, ...]:
    """The heads of `side_rows`."""
    return ("candidate", "batch" if side == "image" else "text", "median ms", f"{side}s/s", "times floor", "ratio")


def side_rows(bench: Bench, side: Side) -> list[tuple[str, ...]]:
    """One row a case and candidate."""
    return [_row(result, timing) for result in bench.of_side(side) for timing in result.timings]


def other_rows(bench: Bench) -> list[tuple[str, str]]:
    """What is not by candidate: the machine's peak, the cold start, files to vectors."""
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
    return rows


def memory_rows(bench: Bench) -> list[tuple[str, ...]]:
    """Candidate, encoder, peak and private memory in MiB."""
    return [(one.candidate, one.side, _mib(one.peak), _mib(one.private)) for one in bench.memory]


def _row(result: Result, timing: Timing) -> tuple[str, ...]:
    rate = result.case.batch / timing.median
    return (
        timing.candidate,
        result.case.label,
        f"{1000 * timing.median:,.2f}",
        f"{rate:,.2f}",
        f"{timing.times_floor:.2f}",
        f"{timing.ratio:.2f}",
    )


def _mib(size: int | None) -> str:
    return "–" if size is None else f"{size / MIB:,.0f}"


def _document(bench: Bench, plots: list[str]) -> str:
    machine = ", ".join(f"{name} {value}" for name, value in bench.machine.items())
    parts = [
        f"# Speed of {bench.model}",
        f"{bench.precision}, {bench.settings.rounds} rounds. {machine}.",
        *(_table(side_columns(side), side_rows(bench, side)) for side in ("image", "text")),
        _table(("Figure", "Value"), other_rows(bench)),
        _table(MEMORY_COLUMNS, memory_rows(bench)),
        "\n".join(f"- {note}" for note in remarks(bench)),
    ]
    if bench.command:
        parts.append(f"Repeat with:\n\n```\n{bench.command}\n```")
    parts += [f"![Images and texts a second]({name})" for name in plots]
    return "\n\n".join(parts) + "\n"


def remarks(bench: Bench) -> list[str]:
    """How to read the figures, whether the machine was quiet, and who was not measured and why."""
    lines = list(NOTES)
    if (spread := bench.peak.spread) > QUIET_SPREAD:
        lines.append(
            f"The machine was not quiet: its slowest matrix product took {spread:.1f} times as long as its fastest."
        )
    sides: dict[tuple[str, str], list[str]] = {}
    for one in bench.skipped:
        sides.setdefault((one.candidate, one.reason), []).append(one.side)
    lines += [f"Not measured: {name} ({' and '.join(both)}): {reason}." for (name, reason), both in sides.items()]
    return lines


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
