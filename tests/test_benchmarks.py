"""Benchmarks are not run here, but what they take from the package has to be there."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

BENCHMARKS = sorted(Path(__file__).parents[1].glob("benchmarks/*.py"))


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_a_benchmark_finds_what_it_imports(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(path.parent)
    try:
        runpy.run_path(str(path), run_name="imported")
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] == "medimageinsight":
            raise
        pytest.skip(f"{error.name} is not installed")
