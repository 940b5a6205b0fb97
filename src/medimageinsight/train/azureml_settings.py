"""A run's config from the YAML that the hosted fine-tuning of the original takes."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from medimageinsight.datasets import OriginalConfig, OriginalFiles, count_training, read_original_config

if TYPE_CHECKING:
    from pathlib import Path

    from medimageinsight.datasets import Problems
    from medimageinsight.train.config import OriginalData


def settings_of(
    original: OriginalData, folder: Path, own: object = None, *, problems: Problems | None = None
) -> dict[str, Any]:
    """What the original's YAML says of training, as a `FinetuneConfig`'s mapping, without the keys that it leaves out.

    Its TrivialAugment becomes the mild one here, without lies about colour; a flip of any probability becomes one of a
    half; its epochs become steps, as many batches as the training pictures fill, that many times.

    Args:
        original: Where it is.
        folder: That paths start from.
        own: What will lie over it; settings that it makes impossible are left out.
        problems: Collects keys and values that cannot be used; they are left out.

    Raises:
        ConfigError: The YAML cannot be read.
    """
    path = folder / original.config
    config = read_original_config(path, problems=problems)
    batch = config.batch_size or (config.batch_size_per_process or 0) * int(os.environ.get("WORLD_SIZE", "1"))
    stated = own if isinstance(own, dict) else {}
    stage: dict[str, Any] = {"batch_size": batch or None, "freeze": list(config.freeze) or None}
    if config.image_size:
        stage["image_size"] = config.image_size[0]
    if config.epochs and batch and "stages" not in stated:
        stage["steps"] = config.epochs * max(1, count_training(path, files=original_files(original, folder)) // batch)
    in_memory = isinstance(stated.get("data"), dict) and stated["data"].get("on_disk") is False
    return _said(
        {
            "name": config.name,
            "seed": config.seed,
            "start": {"drop_path": config.drop_path},
            "data": {"workers": None if config.workers is None else max(1, config.workers), "on_disk": True},
            "stages": [_said(stage)] if _said(stage) else None,
            "optimizer": {
                "learning_rate": config.learning_rate,
                "final_learning_rate": config.final_learning_rate,
                "warmup_steps": config.warmup_steps,
                "weight_decay": config.weight_decay,
                "weight_decays": _weight_decays(config),
                "rate_factors": config.learning_rate_patterns,
                "clip_norm": config.clip_norm,
                "ema_decay": config.ema_decay,
            },
            "pixels": {} if in_memory else _changes(config),
            "precision": "fp16" if config.mixed_precision else None,
            "parallel": {
                "micro_batch": config.batch_size_per_process,
                "checkpointing": config.gradient_checkpointing,
            },
            "evaluate_every": _above_zero(config.evaluate_every),
            "checkpoint_every": _above_zero(config.checkpoint_every),
        }
    )


def original_files(original: OriginalData, folder: Path) -> OriginalFiles:
    """The files of a dataset of the original, where they are."""

    def place(name: str | None) -> Path | None:
        return None if name is None else folder / name

    return OriginalFiles(
        image_tsv=place(original.image_tsv),
        text_tsv=place(original.text_tsv),
        eval_image_tsv=place(original.eval_image_tsv),
        eval_text_tsv=place(original.eval_text_tsv),
        label_file=place(original.label_file),
    )


def _above_zero(steps: int | None) -> int | None:
    """In the original -1 and 0 say nothing."""
    return steps if steps and steps > 0 else None


def _weight_decays(config: OriginalConfig) -> dict[str, float]:
    modules = {re.escape(name): 0.0 for name in config.no_weight_decay}
    return config.weight_decay_patterns | modules


def _changes(config: OriginalConfig) -> dict[str, Any]:
    flips = [
        name
        for name, probability in (("horizontal", config.horizontal_flip), ("vertical", config.vertical_flip))
        if probability
    ]
    return {
        "crop_area": config.crop_scale and list(config.crop_scale),
        "crop_ratio": config.crop_ratio and list(config.crop_ratio),
        "trivial": True if config.auto_augment else None,
        "erase": config.erase,
        "flips": {"*": flips} if flips else {},
    }


def _said(mapping: dict[str, Any]) -> dict[str, Any]:
    """Without what is not said, and sections of which nothing is."""
    inner = {key: _said(value) if isinstance(value, dict) else value for key, value in mapping.items()}
    return {key: value for key, value in inner.items() if value is not None and value != {}}
