"""The built-in model, measured once with all available baselines, and a tiny architecture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from medimageinsight.bench import Bench, BenchSettings, run
from medimageinsight.bench.runners import CandidateConfig
from medimageinsight.bundle import Bundle, find

if TYPE_CHECKING:
    from collections.abc import Callable

TINY = {
    "image": {
        "image_size": [32, 32],
        "widths": [8, 8, 8, 8],
        "depths": [1, 1, 1, 1],
        "heads": [1, 1, 1, 1],
        "groups": [1, 1, 1, 1],
        "window": 4,
    },
    "text": {"vocab_size": 520, "context_length": 16, "width": 8, "heads": 2, "layers": 1},
    "embedding_dim": 8,
}


@pytest.fixture(scope="session")
def mini() -> Bundle:
    return Bundle.open(find("mini"))


@pytest.fixture
def make_config(mini: Bundle) -> Callable[..., CandidateConfig]:
    """Return a function that makes a config of the built-in bundle: one thread, a tiny architecture for baselines."""

    def make(candidate: str, **changes: object) -> CandidateConfig:
        defaults = {"encoder": "image", "architecture": TINY, "threads": 1, "providers": ["CPUExecutionProvider"]}
        return CandidateConfig(candidate=candidate, bundle=str(mini.folder), **(defaults | changes))

    return make


@pytest.fixture(scope="session")
def progress_steps() -> list[tuple[str, float]]:
    """The progress that `measured` reported."""
    return []


@pytest.fixture(scope="session")
def measured(mini: Bundle, progress_steps: list[tuple[str, float]], tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """One round of every candidate, without a C++ compiler; with three images and an invalid file."""
    folder = tmp_path_factory.mktemp("images")
    for name in "abc":
        pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    (folder / "d.png").write_text("not an image")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXX", "/nonexistent/c++")
        return run(
            mini,
            BenchSettings(batch_sizes=(1, 2), rounds=1),
            images=[str(path) for path in sorted(folder.iterdir())],
            command="mi2 bench --rounds 1",
            progress=lambda *step: progress_steps.append(step),
        )
