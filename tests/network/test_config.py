"""The architecture as data, and the values it rejects."""

from __future__ import annotations

import copy

import pytest
import yaml

from medimageinsight.errors import ConfigError
from medimageinsight.network import ModelConfig
from tests.golden.model import CONFIG

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


def change_release(path: str, value: object) -> dict[str, object]:
    """Return the release's config with a setting changed, or removed with None."""
    config = copy.deepcopy(yaml.safe_load(CONFIG.read_text()))
    *sections, key = path.split(".")
    section = config
    for name in sections:
        section = section.setdefault(name, {})
    section.pop(key, None)
    if value is not None:
        section[key] = value
    return config


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("IMAGE_ENCODER.SPEC.CONV_AT_ATTN", False, "expected true, got false"),
        ("IMAGE_ENCODER.SPEC.CONV_AT_FFN", False, "expected true, got false"),
        ("IMAGE_ENCODER.SPEC.DYNAMIC_SCALE", False, "expected true, got false"),
        ("IMAGE_ENCODER.SPEC.STANDPARAM", False, "expected true, got false"),
        ("IMAGE_ENCODER.SPEC.MLP_RATIO", 3, "expected 4 or 4.0, got 3"),
        ("IMAGE_ENCODER.SPEC.NEW_ATTENTION", 1, "unknown"),
        ("IMAGE_ENCODER.NAME", "swin", "expected 'davit_v1', got 'swin'"),
        ("IMAGE_ENCODER.NUM_CLASSES", 5, "expected 0, got 5"),
        ("LANG_ENCODER.NAME", "hf_model", "expected 'transformer'"),
        ("LANG_ENCODER.TOKENIZER", "bert", "expected 'clip' or 'clip-fast', got 'bert'"),
        ("LANG_ENCODER.AUTOGRESSIVE", True, "expected false, got true"),
        ("LANG_ENCODER.AUTOGRESSIVE", None, "expected false, got none"),
        ("LANG_ENCODER.STANDPARAM", False, "expected true, got false"),
        ("UNICL_MODEL.POOL", "mean", "unknown"),
    ],
)
def test_a_setting_that_changes_the_network_is_rejected_by_name(path: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ModelConfig.from_release(change_release(path, value))
    section, _, key = path.rpartition(".")
    assert section in caught.value.message
    assert key in caught.value.message
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("IMAGE_ENCODER.SPEC.CONV_AT_ATTN", True),
        ("IMAGE_ENCODER.SPEC.DROP_RATE", 0.5),
        ("LANG_ENCODER.PRETRAINED_TOKENIZER", "x"),
        ("LANG_ENCODER.TOKENIZER", "clip-fast"),
        ("UNICL_MODEL.GATHER_TENSORS", False),
        ("TRAIN.BATCH_SIZE_TOTAL", 7),
    ],
)
def test_settings_without_effect_are_accepted(path: str, value: object) -> None:
    original = ModelConfig.from_release(yaml.safe_load(CONFIG.read_text()))
    assert ModelConfig.from_release(change_release(path, value)) == original


def test_settings_of_the_network_are_used() -> None:
    assert ModelConfig.from_release(change_release("IMAGE_ENCODER.SPEC.WINDOW_SIZE", 5)).image.window == 5
    assert ModelConfig.from_release(change_release("IMAGE_ENCODER.SPEC.WINDOW_SIZE", None)).image.window == 7
