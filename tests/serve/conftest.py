"""One running server, with a toy model, for the tests that leave it as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from medimageinsight import MedImageInsight

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from serve.running import Running


@pytest.fixture(scope="session")
def server(toy_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`mi2 serve` with the toy model and default options."""
    pytest.importorskip("uvicorn", reason="the server needs the serve extra")
    from serve.running import running

    with running(tmp_path_factory.mktemp("server"), "--model", str(toy_bundle)) as running_server:
        yield running_server


@pytest.fixture(scope="session")
def toy(toy_bundle: Path) -> Iterator[MedImageInsight]:
    """The toy model in this process, to compare with."""
    with MedImageInsight.load(toy_bundle, threads=1) as model:
        yield model
