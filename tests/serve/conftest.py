"""One running server, with a toy model, for the tests that leave it as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from medimageinsight import MedImageInsight

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.serve.made_stores import Chest
    from tests.serve.running import Running


@pytest.fixture(scope="session")
def chest(toy: MedImageInsight, tmp_path_factory: pytest.TempPathFactory) -> Chest:
    """A store of six pictures, two of which have no finding said; not to be changed."""
    pytest.importorskip("lancedb", reason="a store in a folder needs the search extra")
    from tests.serve.made_stores import make_chest

    return make_chest(toy, tmp_path_factory.mktemp("chest"))


@pytest.fixture(scope="session")
def server(toy_bundle: Path, chest: Chest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`mi2 serve` with the toy model, a store and its pictures, and default options."""
    pytest.importorskip("uvicorn", reason="the server needs the serve extra")
    from tests.serve.running import running

    folder = tmp_path_factory.mktemp("server")
    with running(folder, "--model", str(toy_bundle), *chest.options) as running_server:
        yield running_server


@pytest.fixture(scope="session")
def toy(toy_bundle: Path) -> Iterator[MedImageInsight]:
    """The toy model in this process, to compare with."""
    with MedImageInsight.load(toy_bundle, threads=1) as model:
        yield model
