"""The settings of the release's ``config.yaml`` that `ModelConfig` does not hold, and what the original makes of them.

The original reads some settings with a default that the released config does not contain, such as ``CONV_AT_ATTN``.
One with another value is another network with the same names of tensors, so its embeddings would be wrong without an
error. Source: the original's ``ImageEncoder`` and ``LangEncoder`` and the public code of DaViT and UniCL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medimageinsight.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

# By section. The only values that this network computes:
_SUPPORTED: dict[str, dict[str, tuple[Any, ...]]] = {
    "IMAGE_ENCODER": {"NAME": ("davit_v1",), "NUM_CLASSES": (0,)},
    "IMAGE_ENCODER.SPEC": {
        "CONV_AT_ATTN": (True,),
        "CONV_AT_FFN": (True,),
        "DYNAMIC_SCALE": (True,),
        "MLP_RATIO": (4, 4.0),
        "QKV_BIAS": (True,),
        "STANDPARAM": (True,),
    },
    "LANG_ENCODER": {
        "NAME": ("transformer",),
        "TOKENIZER": ("clip", "clip-fast"),
        "AUTOGRESSIVE": (False,),
        "KEY_PADDING_TOKEN": (0,),
        "STANDPARAM": (True,),
    },
    "UNICL_MODEL": {},
}
# Those that `ModelConfig.from_release` and the reader of the preprocessing use:
_READ = {
    "IMAGE_ENCODER": ("IMAGE_SIZE", "IMAGE_MEAN", "IMAGE_STD", "SPEC"),
    "IMAGE_ENCODER.SPEC": (
        *("DIM_EMBED", "DEPTHS", "NUM_HEADS", "NUM_GROUPS", "WINDOW_SIZE", "PATCH_SIZE", "PATCH_STRIDE"),
        *("PATCH_PADDING", "PATCH_PRENORM", "DROP_PATH_RATE"),
    ),
    "LANG_ENCODER": ("CONTEXT_LENGTH", "WIDTH", "HEADS", "LAYERS"),
    "UNICL_MODEL": ("DIM_PROJECTION",),
}
# Those without effect on embeddings: of loading, of training, and of another parametrisation than STANDPARAM.
_LOADING = ("LOAD_PRETRAINED", "PRETRAINED", "PRETRAINED_LAYERS")
_WITHOUT_EFFECT = {
    "IMAGE_ENCODER": _LOADING,
    "IMAGE_ENCODER.SPEC": ("DROP_RATE", "ENABLE_CHECKPOINT"),
    "LANG_ENCODER": (*_LOADING, "PRETRAINED_TOKENIZER", "BASE_WIDTH", "BASE_HEADS"),
    "UNICL_MODEL": (*_LOADING, "GATHER_TENSORS"),
}


def check_release_settings(config: Mapping[str, Any]) -> None:
    """Check that no setting of the sections that describe the network makes it another one than this package computes.

    Raises:
        ConfigError: A setting is unknown or has a value that is not supported; the message names all of them.
    """
    image = config["IMAGE_ENCODER"]
    sections = {
        "IMAGE_ENCODER": image,
        "IMAGE_ENCODER.SPEC": image["SPEC"],
        "LANG_ENCODER": config["LANG_ENCODER"],
        "UNICL_MODEL": config["UNICL_MODEL"],
    }
    errors = []
    for section, settings in sections.items():
        for key, value in settings.items():
            if supported := _SUPPORTED[section].get(key):
                if not any(value == allowed and type(value) is type(allowed) for allowed in supported):
                    expected = " or ".join(map(_show, supported))
                    errors.append(f"{section}.{key}: expected {expected}, got {_show(value)}")
            elif key not in (*_READ[section], *_WITHOUT_EFFECT[section]):
                errors.append(f"{section}.{str(key)[:80]!r}: expected a setting of the original, got an unknown one")
    if "AUTOGRESSIVE" not in config["LANG_ENCODER"]:
        errors.append("LANG_ENCODER.AUTOGRESSIVE: expected false, got none, which the original takes for true")
    if errors:
        raise ConfigError(f"config.yaml describes a network that is not supported: {'; '.join(errors)}")


def _show(value: object) -> str:
    """Return a short value as YAML writes it."""
    return str(value).lower() if isinstance(value, bool) else repr(value)[:40]
