"""One running server with a toy model, shared by the tests that do not change it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from medimageinsight import MedImageInsight

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.serve.server_process import ServerProcess
    from tests.serve.store_fixtures import ChestStore


@pytest.fixture(scope="session")
def chest(toy: MedImageInsight, tmp_path_factory: pytest.TempPathFactory) -> ChestStore:
    """A store of six images, two of them without a finding; tests must not change it."""
    pytest.importorskip("lancedb", reason="a store in a folder needs the search extra")
    from tests.serve.store_fixtures import make_chest_store

    return make_chest_store(toy, tmp_path_factory.mktemp("chest"))


@pytest.fixture(scope="session")
def server(toy_bundle: Path, chest: ChestStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """`mi2 serve` with the toy model, a store and its images, and default options."""
    pytest.importorskip("uvicorn", reason="the server needs the serve extra")
    from tests.serve.server_process import run_server

    folder = tmp_path_factory.mktemp("server")
    with run_server(folder, "--model", str(toy_bundle), *chest.options) as process:
        yield process


@pytest.fixture(scope="session")
def toy(toy_bundle: Path) -> Iterator[MedImageInsight]:
    """The toy model in this process, to compare with."""
    with MedImageInsight.load(toy_bundle, threads=1) as model:
        yield model
