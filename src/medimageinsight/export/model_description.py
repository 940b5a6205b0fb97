"""A checkpoint's description of its model, in one form for all layouts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from medimageinsight.errors import ConfigError
from medimageinsight.export.checkpoint_files import PROJECT_MODEL, RELEASE_CONFIG
from medimageinsight.files.strict import MappingError, build
from medimageinsight.files.yaml import read_yaml
from medimageinsight.network.config import ModelConfig
from medimageinsight.network.weights_files import refuse_pointer
from medimageinsight.preprocess import Preprocessing

if TYPE_CHECKING:
    from pathlib import Path

    from medimageinsight.export.checkpoint_files import CheckpointFiles

MAX_CONFIG_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """The form of ``model.json``."""

    architecture: dict[str, Any]
    preprocessing: dict[str, Any]
    name: str | None = None
    description: str = ""
    scoring_preprocessing: Literal["direct", "azure"] = "direct"
    provenance: dict[str, Any] = field(default_factory=dict)
    words: tuple[str, ...] = ()  # of the texts that it was trained on; empty if they are not known


def read_description(files: CheckpointFiles) -> ModelDescription:
    """Read the config of a checkpoint.

    Raises:
        ConfigError: The config cannot be read, or describes a network that is not supported.
        CheckpointError: The config is a Git LFS pointer (``checkpoint_is_pointer``).
    """
    refuse_pointer(files.config)
    if files.config.suffix == ".json":
        return _read_project_config(files.config)
    return _read_release_config(files.config)


def _read_project_config(path: Path) -> ModelDescription:
    try:
        size = path.stat().st_size
        if size > MAX_CONFIG_BYTES:
            raise ConfigError(f"{path.name}: expected at most {MAX_CONFIG_BYTES:,} bytes, got {size:,}")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeError):
        raise ConfigError(f"{path.name}: expected a text file in UTF-8, got one that cannot be read") from None
    try:
        return build(ModelDescription, json.loads(text), PROJECT_MODEL)
    except MappingError as error:
        raise ConfigError(str(error)) from None
    except (ValueError, RecursionError):
        raise ConfigError(f"{PROJECT_MODEL}: expected JSON, got text that cannot be parsed") from None


def _read_release_config(path: Path) -> ModelDescription:
    data = read_yaml(path, name=RELEASE_CONFIG)
    if not isinstance(data, Mapping):
        raise ConfigError(f"{RELEASE_CONFIG}: expected a mapping, got {type(data).__name__}")
    architecture = ModelConfig.from_release(data)
    preprocessing = Preprocessing(
        image_size=architecture.image.image_size,
        mean=_read_channels(data["IMAGE_ENCODER"], "IMAGE_MEAN"),
        std=_read_channels(data["IMAGE_ENCODER"], "IMAGE_STD"),
    )
    return ModelDescription(
        architecture=architecture.to_dict(),
        preprocessing=preprocessing.to_dict(),
        description="Converted from a checkpoint in the public release's layout.",
        scoring_preprocessing="azure",  # what the hosted endpoint does to every image
    )


def _read_channels(image_encoder: Mapping[str, Any], key: str) -> tuple[float, float, float]:
    try:
        red, green, blue = map(float, image_encoder[key])
    except (KeyError, TypeError, ValueError):
        found = type(image_encoder[key]).__name__ if key in image_encoder else "nothing"
        raise ConfigError(f"{RELEASE_CONFIG}: expected IMAGE_ENCODER.{key} as three numbers, got {found}") from None
    return red, green, blue
