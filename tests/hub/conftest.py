"""Fixtures with a hub that has the golden network's release, and other files next to it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("huggingface_hub", reason="needs the extra hub")

from tests.cli.conftest import mi2  # noqa: F401 - a fixture
from tests.hub.hub_server import Hub, running_hub

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REPOSITORY = "lion-ai/MedImageInsights"


@pytest.fixture
def hub(golden_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Yield a running hub, which the environment names; waits between attempts are left out."""
    from huggingface_hub import constants

    content = Hub(REPOSITORY, golden_checkpoint, "2024.09.27")
    content.files |= {
        "README.md": b"# Release\n",
        "2024.09.27/language_model/language_model.pth": b"\x80\x02" + bytes(300_000),
        "2024.09.27/language_model/clip_tokenizer/../../../escaped/vocab.json": b"{}",
        "other/vision_model/large.pt": bytes(200_000),
    }
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 16)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setenv("MI2_HOME", str(tmp_path / "home"))
    with running_hub(content) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running
