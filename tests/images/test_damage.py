"""Randomly damaged files of every kind: `images.open` opens or refuses them, and prints nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.images.encoded_samples import encoded_samples

ROOT = Path(__file__).resolve().parents[2]


def test_damaged_files_are_opened_or_refused() -> None:
    """Two damaged files of every kind; ``benchmarks/damaged_images.py`` opens thousands."""
    count = 2 * len(encoded_samples())
    command = [sys.executable, "-m", "tests.images.damage", "--seed", "1", "--count", str(count)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    reports = [json.loads(line) for line in process.stdout.splitlines()]
    assert process.returncode == 0, f"ended while opening {reports[-1]}\n{process.stderr}"
    results = [report for report in reports if "outcome" in report]
    assert len(results) == count
    assert [result for result in results if result["foreign"] or result["printed"]] == []
    assert [result for result in results if result["peak_mib"] > 200] == []
    assert {"opened", "image_truncated"} <= {result["outcome"] for result in results}
