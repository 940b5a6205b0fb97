"""Fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared test material beside the checkout; a user's machine does not have it."""
    folder = ROOT.parent / "shared"
    if not (folder / "golden").is_dir():
        pytest.skip("the shared material (golden numbers, sample files) is not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def toy_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny working bundle's folder (see toy.py); not to be changed, copy it to damage it."""
    from toy import write_toy_bundle

    return write_toy_bundle(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture(scope="session")
def golden_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden network (see golden/model.py) as `convert` makes a bundle of it; copy it to damage it."""
    pytest.importorskip("torch", reason="converting needs the export extra")
    from golden.model import write_golden_checkpoint

    from medimageinsight.export.convert import convert

    folder = tmp_path_factory.mktemp("golden")
    return convert(write_golden_checkpoint(folder / "checkpoint"), folder / "bundle").folder
