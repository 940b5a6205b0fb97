"""How fast a bundle is, beside what the machine can do and beside other ways to run the same network."""

from __future__ import annotations

from medimageinsight.bench.figures import Bench, Case, ColdStart, Files, Memory, Peak, Result, Skipped, Timing
from medimageinsight.bench.measure import run
from medimageinsight.bench.report import to_json, to_markdown, write_report
from medimageinsight.bench.settings import BASELINES, BenchSettings

__all__ = [
    "BASELINES",
    "Bench",
    "BenchSettings",
    "Case",
    "ColdStart",
    "Files",
    "Memory",
    "Peak",
    "Result",
    "Skipped",
    "Timing",
    "run",
    "to_json",
    "to_markdown",
    "write_report",
]
