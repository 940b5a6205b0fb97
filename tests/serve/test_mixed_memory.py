"""Memory while requests of all kinds come, with files that have failed before among them; the benchmark sends more."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="the server needs the serve extra")
pytest.importorskip("lancedb", reason="a store in a folder needs the search extra")

ROOT = Path(__file__).parents[2]
FILES = ROOT.parent / "shared" / "cases" / "images"
REQUESTS = 800


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.skipif(not FILES.is_dir(), reason="needs the files of ../shared/cases")
def test_memory_is_bounded_with_mixed_requests(toy_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from serve_memory import MAX_GROWTH, list_files, measure

    resident, statuses = measure(list_files([FILES]), model=str(toy_bundle), requests=REQUESTS, clients=4)
    assert sum(statuses.values()) == REQUESTS
    assert not {status for status in statuses if status.startswith("5")}
    assert min(statuses["200"], statuses["422"], statuses["400"], statuses["left"]) > 0
    assert resident[-1] < (1 + MAX_GROWTH) * max(resident[:4])
