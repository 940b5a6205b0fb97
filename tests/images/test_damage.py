"""Randomly damaged files of every kind: `images.open` opens or refuses them, and prints nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.images.dicom_datasets import error_code
from tests.images.encoded_samples import encoded_samples

if TYPE_CHECKING:
    import pytest

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


def test_colours_that_openjpeg_does_not_convert_are_unsupported(capfd: pytest.CaptureFixture[str]) -> None:
    sample = next(sample for sample in encoded_samples() if sample.name == "jpeg2k-3-8.dcm")
    codestream = bytearray(sample.codestream)
    assert codestream[46] == 1  # XRsiz of the second component (ISO/IEC 15444-1 A.5.1)
    codestream[46] = 3
    assert error_code(sample.wrap(bytes(codestream))) == "image_unsupported"
    assert capfd.readouterr().err == ""
