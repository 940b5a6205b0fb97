"""Benchmarks are not run in tests, but their imports from the package must exist."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

BENCHMARKS = sorted(Path(__file__).parents[1].glob("benchmarks/*.py"))


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_benchmark_finds_its_imports(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(path.parent)
    try:
        runpy.run_path(str(path), run_name="imported")
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] == "medimageinsight":
            raise
        pytest.skip(f"{error.name} is not installed")
