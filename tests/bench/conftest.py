"""The built-in model, measured once with all that is possible, and an architecture that opens in no time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from medimageinsight.bench import Bench, BenchSettings, run
from medimageinsight.bench.runners import Opening
from medimageinsight.bundle import Bundle, find

if TYPE_CHECKING:
    from collections.abc import Callable

SPECK = {
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
def opening(mini: Bundle) -> Callable[..., Opening]:
    """An opening of the built-in bundle with one thread, and a tiny architecture where the weights are random."""

    def make(candidate: str, **given: object) -> Opening:
        plain = {"side": "image", "architecture": SPECK, "threads": 1, "providers": ["CPUExecutionProvider"]}
        return Opening(candidate=candidate, bundle=str(mini.folder), **(plain | given))

    return make


@pytest.fixture(scope="session")
def told() -> list[tuple[str, float]]:
    """What `measured` told while it ran."""
    return []


@pytest.fixture(scope="session")
def measured(mini: Bundle, told: list[tuple[str, float]], tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """One round of every candidate, without a C++ compiler; with three pictures and a file that is none."""
    folder = tmp_path_factory.mktemp("pictures")
    for name in "abc":
        pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    (folder / "d.png").write_text("no picture")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXX", "/nonexistent/c++")
        return run(
            mini,
            BenchSettings(batch_sizes=(1, 2), rounds=1),
            images=[str(path) for path in sorted(folder.iterdir())],
            command="mi2 bench --rounds 1",
            progress=lambda *step: told.append(step),
        )
