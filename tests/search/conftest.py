"""Both kinds of stores, real ones: a folder of LanceDB, and a PostgreSQL server that a wheel brings along."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from medimageinsight import search
from tests.search.sample_items import IDENTITY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KINDS = ("lancedb", "postgresql")
_numbers = itertools.count()


@pytest.fixture
def locate(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Gives a kind of store a place of its own."""

    def place(kind: str) -> str:
        number = next(_numbers)
        if kind == "postgresql":
            return f"{request.getfixturevalue('postgres_url')}#store{number}"
        pytest.importorskip("lancedb", reason="a store in a folder needs the search extra")
        return str(tmp_path / f"store{number}")

    return place


@pytest.fixture(params=KINDS)
def location(request: pytest.FixtureRequest, locate: Callable[[str], str]) -> str:
    """A place for a new store, of each kind in turn."""
    return locate(request.param)


@pytest.fixture
def store(location: str) -> Iterator[search.Store]:
    """An empty store, of each kind in turn."""
    with search.create_store(location, identity=IDENTITY) as made:
        yield made
