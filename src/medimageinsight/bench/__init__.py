"""Measure the speed of a bundle, compared with the machine's peak and with other ways to run the same network."""

from __future__ import annotations

from medimageinsight.bench.cases import Case
from medimageinsight.bench.measure import run
from medimageinsight.bench.report import to_json, to_markdown, write_report
from medimageinsight.bench.results import Bench, ColdStart, Files, Memory, Skipped
from medimageinsight.bench.settings import BASELINES, BenchSettings
from medimageinsight.bench.timings import Peak, Result, Timing

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
