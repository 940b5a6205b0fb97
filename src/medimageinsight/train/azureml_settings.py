"""Read a run's settings from the YAML of the hosted (Azure ML) fine-tuning of the original model."""

from __future__ import annotations

import dataclasses
import os
import re
from typing import TYPE_CHECKING, Any

from medimageinsight.datasets import AzureMLConfig, AzureMLFiles, count_azureml_images, read_azureml_config

if TYPE_CHECKING:
    from pathlib import Path

    from medimageinsight.datasets import Problems
    from medimageinsight.train.config import AzureMLData


def read_azureml_settings(
    data: AzureMLData, folder: Path, config: object, *, problems: Problems | None = None
) -> dict[str, Any]:
    """Return the training settings of the YAML as a mapping for a `FinetuneConfig`, without keys that it does not set.

    Its TrivialAugment becomes the milder one of `image_augmentation`, which changes no colours; a flip of any
    probability becomes one of 0.5; epochs become steps: the number of full batches of training images, times epochs.
    Class names are written within CLIP's sentences, the original's default, unless ``PROMPT_ENGINEERING`` is false.

    Args:
        data: The files.
        folder: The folder that their paths are relative to.
        config: The run's own mapping, which overrides the result; settings that it makes invalid are omitted.
        problems: Collects keys and values that cannot be used; they are omitted.

    Raises:
        ConfigError: The YAML cannot be read.
    """
    path = folder / data.config
    settings = read_azureml_config(path, problems=problems)
    own = config if isinstance(config, dict) else {}
    batch_size = settings.batch_size or (settings.batch_size_per_process or 0) * int(os.environ.get("WORLD_SIZE", "1"))
    stage: dict[str, Any] = {"batch_size": batch_size or None, "freeze": list(settings.freeze) or None}
    if settings.image_size:
        stage["image_size"] = settings.image_size[0]
    if settings.epochs and batch_size and "stages" not in own:
        count = count_azureml_images(path, files=azureml_files(data, folder))
        stage["steps"] = settings.epochs * max(1, count // batch_size)
    stage = _without_unset(stage)
    in_memory = isinstance(own.get("data"), dict) and own["data"].get("on_disk") is False
    return _without_unset(
        {
            "name": settings.name,
            "seed": settings.seed,
            "start": {"drop_path": settings.drop_path},
            "data": {"workers": None if settings.workers is None else max(1, settings.workers), "on_disk": True},
            "stages": [stage] if stage else None,
            "optimizer": _optimizer(settings),
            "pixels": {} if in_memory else _pixels(settings),
            "captions": {"clip_templates": settings.prompt_engineering is not False},
            "precision": "fp16" if settings.mixed_precision else None,
            "parallel": {
                "micro_batch": settings.batch_size_per_process,
                "checkpointing": settings.gradient_checkpointing,
            },
            "evaluate_every": _positive(settings.evaluate_every),
            "checkpoint_every": _positive(settings.checkpoint_every),
        }
    )


def azureml_files(data: AzureMLData, folder: Path) -> AzureMLFiles:
    """Return the files of the dataset as paths below the folder."""
    names = dataclasses.asdict(data)
    del names["config"]
    return AzureMLFiles(**{key: folder / name for key, name in names.items() if name is not None})


def _positive(steps: int | None) -> int | None:
    """In the original, 0 and -1 mean that the key is not set."""
    return steps if steps and steps > 0 else None


def _optimizer(settings: AzureMLConfig) -> dict[str, Any]:
    return {
        "learning_rate": settings.learning_rate,
        "final_learning_rate": settings.final_learning_rate,
        "warmup_steps": settings.warmup_steps,
        "weight_decay": settings.weight_decay,
        "weight_decays": settings.weight_decay_patterns | {re.escape(name): 0.0 for name in settings.no_weight_decay},
        "rate_factors": settings.learning_rate_patterns,
        "clip_norm": settings.clip_norm,
        "ema_decay": settings.ema_decay,
    }


def _pixels(settings: AzureMLConfig) -> dict[str, Any]:
    probabilities = {"horizontal": settings.horizontal_flip, "vertical": settings.vertical_flip}
    flips = [name for name, probability in probabilities.items() if probability]
    return {
        "crop_area": settings.crop_scale and list(settings.crop_scale),
        "crop_ratio": settings.crop_ratio and list(settings.crop_ratio),
        "trivial": True if settings.auto_augment else None,
        "erase": settings.erase,
        "flips": {"*": flips} if flips else {},
    }


def _without_unset(mapping: dict[str, Any]) -> dict[str, Any]:
    """Return the mapping without None values and empty sections."""
    inner = {key: _without_unset(value) if isinstance(value, dict) else value for key, value in mapping.items()}
    return {key: value for key, value in inner.items() if value is not None and value != {}}
