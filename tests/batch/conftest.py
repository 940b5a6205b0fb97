"""Inputs and helpers of the tests of batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import mi2  # noqa: F401 - a fixture

pytest.importorskip("pyarrow", reason="a batch needs the extra batch")

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Write a folder with 20 PNG files of noise, a damaged one, and a file of another kind."""
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    rng = np.random.default_rng(1)
    for number in range(20):
        path = folder / ("deep" if number % 2 else "") / f"{number:02}.png"
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path)
    (folder / "05-broken.png").write_bytes(b"not an image")
    (folder / "notes.json").write_text("{}")
    return folder
