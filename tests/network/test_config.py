"""The architecture as data, and the values it rejects."""

from __future__ import annotations

import pytest

from medimageinsight.errors import ConfigError
from medimageinsight.network import ModelConfig

IMAGE = {
    "image_size": [32, 32],
    "widths": [8, 8, 8, 8],
    "depths": [1, 1, 1, 1],
    "heads": [1, 1, 1, 2],
    "groups": [1, 1, 1, 2],
    "window": 4,
}
TEXT = {"width": 8, "heads": 2, "layers": 1}


def test_plain_form_round_trip() -> None:
    config = ModelConfig.from_dict({"image": IMAGE, "text": TEXT, "embedding_dim": 8})
    assert ModelConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("image", "text", "dim", "message"),
    [
        ({"heads": [0, 1, 1, 2]}, {}, 8, "heads: expected numbers of at least 1, got 0"),
        ({"image_size": [0, 32]}, {}, 8, "image_size"),
        ({"window": -1}, {}, 8, "window"),
        ({"widths": [8, 8, 8, 9]}, {}, 8, "9 is not divisible by its 2 heads"),
        ({"depths": [1, 1]}, {}, 8, "expected 4 entries, one per stage"),
        ({"patch_paddings": [3, 1, 1, -1]}, {}, 8, "patch_paddings: .*got -1"),
        ({"drop_path": 1.0}, {}, 8, "drop_path"),
        ({"heads": "many"}, {}, 8, "architecture.image.heads: expected a list"),
        ({}, {"heads": 0}, 8, "text vocab_size, .*got 0"),
        ({}, {"heads": 3}, 8, "not divisible by its 3 heads"),
        ({}, {"dropout": -0.1}, 8, "dropout"),
        ({}, {}, 0, "embedding_dim"),
    ],
)
def test_names_the_invalid_value(image: dict[str, object], text: dict[str, object], dim: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ModelConfig.from_dict({"image": IMAGE | image, "text": TEXT | text, "embedding_dim": dim})
