"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medimageinsight.bundle import Bundle

# The networks of tests are tiny: PyTorch's threads, also of processes that tests start, would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The time of an example depends on the machine.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of shared test material next to the checkout; a user's machine does not have it."""
    folder = ROOT.parent / "shared"
    if not (folder / "golden").is_dir():
        pytest.skip("the shared material (golden numbers, sample files) is not next to this checkout")
    return folder


@pytest.fixture(scope="session")
def toy_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny working bundle (see toy.py); not to be changed, copy it to damage it."""
    from tests.toy import write_toy_bundle

    return write_toy_bundle(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture(scope="session")
def golden_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the golden network's folder in the release's layout (see golden/model.py); not to be changed."""
    pytest.importorskip("safetensors", reason="a checkpoint needs the export extra")
    from tests.golden.model import write_golden_checkpoint

    return write_golden_checkpoint(tmp_path_factory.mktemp("release") / "2024.09.27")


@pytest.fixture(scope="session")
def conversion(
    golden_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Bundle, list[tuple[str, float]]]:
    """Return the golden network's bundle and the progress that its conversion reported; half a minute, once."""
    pytest.importorskip("torch", reason="converting needs the export extra")
    from medimageinsight.export import convert

    steps: list[tuple[str, float]] = []
    out = tmp_path_factory.mktemp("models") / "golden"
    return convert(golden_checkpoint, out, progress=lambda *step: steps.append(step)), steps


@pytest.fixture(scope="session")
def golden_bundle(conversion: tuple[Bundle, list[tuple[str, float]]]) -> Bundle:
    """Return the bundle that `convert` makes of the golden network; not to be changed."""
    return conversion[0]


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Yield the URL of a running server with pgvector."""
    from tests.search.postgres_server import running_postgres

    with running_postgres() as url:
        yield url
