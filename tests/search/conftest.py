"""Fixtures for both kinds of stores: a LanceDB folder, and a real PostgreSQL server installed from a wheel."""

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
    """Return a function from a kind of store to a new location."""

    def new_location(kind: str) -> str:
        number = next(_numbers)
        if kind == "postgresql":
            return f"{request.getfixturevalue('postgres_url')}#store{number}"
        pytest.importorskip("lancedb", reason="a store in a folder needs the search extra")
        return str(tmp_path / f"store{number}")

    return new_location


@pytest.fixture(params=KINDS)
def location(request: pytest.FixtureRequest, locate: Callable[[str], str]) -> str:
    """A location for a new store, of each kind."""
    return locate(request.param)


@pytest.fixture
def store(location: str) -> Iterator[search.Store]:
    """An empty store, of each kind."""
    with search.create_store(location, identity=IDENTITY) as new_store:
        yield new_store
