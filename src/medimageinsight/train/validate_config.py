"""Validate a training configuration before the first step: on its own, with its data, and with its network."""

from __future__ import annotations

import math
import re
from dataclasses import fields
from typing import TYPE_CHECKING

from medimageinsight.errors import ConfigError
from medimageinsight.preprocess import MAX_IMAGE_SIZE
from medimageinsight.train.config import CaptionAugmentation, FinetuneConfig, ImageAugmentation, OptimizerConfig
from medimageinsight.train.image_augmentation import PixelAugmentation
from medimageinsight.train.samples import LabelNames

if TYPE_CHECKING:
    from collections.abc import Callable

    from medimageinsight.datasets import Problems, Sample, Table
    from medimageinsight.train.config import DataConfig, DistillConfig, RunConfig, StageConfig
    from medimageinsight.train.initialization import InitialModel

SEEDS = 1 << 32


def validate_values(config: RunConfig, problems: Problems) -> None:
    """Collect values of the right type that are invalid."""
    checks = _Checks(problems)
    checks.expect(bool(config.name.strip()), "name", "a name", "an empty text")
    for number, stage in enumerate(config.stages):
        _check_stage(stage, f"stages[{number}]", checks)
    scheduled = [stage.learning_rate is not None for stage in config.stages]
    expected = "those with a learning_rate of their own after those without"
    checks.expect(scheduled == sorted(scheduled), "stages", expected, "another order")
    _check_optimizer(config.optimizer, checks)
    _check_data(config.data, checks)
    _check_augmentation(config, checks)
    if config.distill is not None:
        _check_distillation(config, config.distill, checks)
    for key, value in (
        ("evaluate_every", config.evaluate_every),
        ("checkpoint_every", config.checkpoint_every),
        ("parallel.micro_batch", config.parallel.micro_batch),
    ):
        checks.expect(value is None or value >= 1, key, "at least 1", value)
    if isinstance(config, FinetuneConfig):
        start = config.start
        checks.expect(start.rank >= 1, "start.rank", "at least 1", start.rank)
        checks.expect(start.blocks >= 1, "start.blocks", "at least 1", start.blocks)
        checks.expect(start.alpha > 0, "start.alpha", "more than 0", start.alpha)
        valid = start.drop_path is None or 0 <= start.drop_path < 1
        checks.expect(valid, "start.drop_path", "0 to below 1", start.drop_path)


def validate_data(config: RunConfig, table: Table, world_size: int, problems: Problems) -> None:
    """Collect requirements that the data do not meet, and batch sizes that the processes cannot share."""
    checks = _Checks(problems)
    checks.expect(0 <= config.seed < SEEDS, "seed", f"0 to below {SEEDS}", config.seed)
    for number, stage in enumerate(config.stages):
        expected = f"a multiple of the {world_size} processes"
        checks.expect(stage.batch_size % world_size == 0, f"stages[{number}].batch_size", expected, stage.batch_size)
    if config.distill is not None:
        count = config.distill.unlabelled_per_batch
        checks.expect(
            count % world_size == 0, "distill.unlabelled_per_batch", f"a multiple of the {world_size} processes", count
        )
    if not len(table):  # already reported
        return
    data = config.data
    samples: dict[str, list[Sample]] = {data.train_split: [], data.val_split: []}
    for sample in table:
        if sample.split in samples:
            samples[sample.split].append(sample)
    known = ", ".join(name or "(empty)" for name in table.splits) or "none"
    for key, split in (("train_split", data.train_split), ("val_split", data.val_split)):
        expected = f"a split of the data ({known}) or one that data.splits draws"
        checks.expect(bool(samples[split]), f"data.{key}", expected, repr(split))
    checks.expect(data.train_split != data.val_split, "data.val_split", "another split than train_split", "the same")
    training, validation = samples[data.train_split], samples[data.val_split]
    if not training or not validation:
        return
    sources = {sample.source for sample in training}
    for name in data.source_weights:
        expected = f"a source of the training split ({', '.join(sorted(sources))})"
        checks.expect(name in sources, f"data.source_weights.{name}", expected, repr(name))
    if config.objective == "labels":
        _check_labels(training, validation, checks)
        return
    captions = {sample.caption for sample in validation}
    expected = "two captions or more in the validation split, to compare models by"
    checks.expect(len(captions) > 1, "data.val_split", expected, len(captions))


def validate_model(config: RunConfig, initial: InitialModel, log: Callable[[str], None]) -> None:
    """Validate the config against the initial network.

    A pattern that matches nothing is an error. With ``data.original`` it is a warning, passed to `log`: YAMLs of the
    hosted fine-tuning have patterns without effect, and the original ignores them.

    Raises:
        ConfigError: Nothing is trained, a pattern matches nothing, or no stage has the model's image size
            (``config_misfits_model``).
    """
    names = [name for name, _ in initial.network.named_parameters()]
    errors, unmatched = [], []
    for number, stage in enumerate(config.stages):
        key = f"config.stages[{number}].freeze"
        unmatched += [f"{key}: {pattern!r}" for pattern in stage.freeze if not _any(pattern, names)]
        trained = [name for name in names if name in initial.trained]
        if all(any(_any(pattern, [name]) for pattern in stage.freeze) for name in trained):
            errors.append(f"{key}: no parameter is left to train")
        if config.distill is not None and config.distill.replay:
            encoder = [name for name in trained if name.startswith("image_encoder.")]
            if any(not any(_any(pattern, [name]) for pattern in stage.freeze) for name in encoder):
                errors.append(f"{key}: expected the whole image encoder with distill.replay, got a part of it")
    for key in ("rate_factors", "weight_decays"):
        patterns = [pattern for pattern in getattr(config.optimizer, key) if not _any(pattern, names)]
        unmatched += [f"config.optimizer.{key}: {pattern!r}" for pattern in patterns]
    if unmatched and config.data.original is not None:
        log(f"warning: patterns that match no parameter have no effect: {'; '.join(unmatched)}")
    else:
        errors += [f"{pattern} matches no parameter" for pattern in unmatched]
    size = initial.architecture.image.image_size
    if not any((stage.image_size, stage.image_size) == size for stage in config.stages):
        sizes = ", ".join(str(stage.image_size) for stage in config.stages)
        errors.append(
            f"config.stages: expected one with the model's own image_size, {size[0]}, got {sizes}: the best model is "
            "selected at the size of inference"
        )
    if errors:
        raise ConfigError("; ".join(errors), code="config_misfits_model")


class _Checks:
    def __init__(self, problems: Problems) -> None:
        self.problems = problems

    def expect(self, valid: bool, key: str, expected: str, got: object) -> None:
        """Add a problem if the value of a key is not valid."""
        if not valid:
            self.problems.add("config_value_invalid", f"config.{key}", f"expected {expected}, got {got}")

    def expect_pattern(self, key: str, pattern: str) -> None:
        """Add a problem if a pattern is not a regular expression."""
        try:
            re.compile(pattern)
        except re.error as error:
            self.expect(False, key, "a regular expression", f"{pattern!r}: {error.msg}")


def _check_stage(stage: StageConfig, section: str, checks: _Checks) -> None:
    checks.expect(stage.steps >= 1, f"{section}.steps", "at least 1", stage.steps)
    checks.expect(stage.batch_size >= 2, f"{section}.batch_size", "at least 2", stage.batch_size)
    sizes = range(32, MAX_IMAGE_SIZE + 1)  # pixels: the image encoder downsamples by 32
    checks.expect(stage.image_size in sizes, f"{section}.image_size", f"32 to {MAX_IMAGE_SIZE}", stage.image_size)
    for key in ("sources_per_batch", "logit_scale", "learning_rate"):
        value = getattr(stage, key)
        checks.expect(value is None or 0 < value < math.inf, f"{section}.{key}", "a number above 0", value)
    for pattern in stage.freeze:
        checks.expect_pattern(f"{section}.freeze", pattern)


def _check_optimizer(settings: OptimizerConfig, checks: _Checks) -> None:
    for key in ("learning_rate", "layer_decay", "clip_norm", "max_logit_scale"):
        value = getattr(settings, key)
        checks.expect(0 < value < math.inf, f"optimizer.{key}", "a number above 0", value)
    for key in ("final_learning_rate", "warmup_steps", "weight_decay"):
        value = getattr(settings, key)
        checks.expect(0 <= value < math.inf, f"optimizer.{key}", "a number of at least 0", value)
    for key, values in (("ema_decay", [settings.ema_decay]), ("betas", settings.betas)):
        got = ", ".join(map(str, values))
        checks.expect(all(0 <= value < 1 for value in values), f"optimizer.{key}", "0 to below 1", got)
    for key in ("rate_factors", "weight_decays"):
        for pattern, value in getattr(settings, key).items():
            checks.expect_pattern(f"optimizer.{key}", pattern)
            checks.expect(value >= 0, f"optimizer.{key}", "numbers of at least 0", value)


def _check_data(data: DataConfig, checks: _Checks) -> None:
    for key, count in (("ahead", data.ahead), ("workers", data.workers), ("checks.workers", data.checks.workers)):
        checks.expect(count is None or count >= 1, f"data.{key}", "at least 1", count)
    for key in ("sampling_power", "class_power"):
        value = getattr(data, key)
        checks.expect(math.isfinite(value), f"data.{key}", "a finite number", value)
    for name, weight in data.source_weights.items():
        expected = "a number above 0 (leave_out excludes a source)"
        checks.expect(0 < weight < math.inf, f"data.source_weights.{name}", expected, weight)


def _check_augmentation(config: RunConfig, checks: _Checks) -> None:
    unused, used = ("images", "pixels") if config.data.on_disk else ("pixels", "images")
    default = ImageAugmentation() if config.data.on_disk else PixelAugmentation()
    expected = f"none {'with' if config.data.on_disk else 'without'} data.on_disk, where `{used}` augments"
    checks.expect(getattr(config, unused) == default, unused, expected, "settings")
    captions, images = config.captions, config.images
    for field in fields(CaptionAugmentation):
        value = getattr(captions, field.name)
        checks.expect(not isinstance(value, float) or 0 <= value <= 1, f"captions.{field.name}", "0 to 1", value)
    checks.expect(
        (captions.free_text > 0) == (captions.texts is not None),
        "captions.free_text",
        "a probability with captions.texts, and none without",
        captions.free_text,
    )
    low, high = images.scale
    checks.expect(0 < low <= high, "images.scale", "0 < minimum <= maximum", f"{low}, {high}")
    for field in fields(ImageAugmentation):
        value = getattr(images, field.name)
        checks.expect(not isinstance(value, float) or value >= 0, f"images.{field.name}", "0 or more", value)
    checks.expect(images.erase <= 1, "images.erase", "0 to 1", images.erase)


def _check_distillation(config: RunConfig, settings: DistillConfig, checks: _Checks) -> None:
    checks.expect(config.objective == "unicl", "distill", "the objective unicl", config.objective)
    expected = "data.on_disk, whose augmentation of an image can be repeated"
    checks.expect(config.data.on_disk, "distill", expected, "images in memory")
    weights = {key: getattr(settings, key) for key in ("features", "probabilities", "texts")}
    for key, value in weights.items():
        checks.expect(0 <= value < math.inf, f"distill.{key}", "a number of at least 0", value)
    checks.expect(any(weights.values()), "distill", "a loss with a weight above 0", "none")
    value = settings.temperature
    checks.expect(0 < value < math.inf, "distill.temperature", "a number above 0", value)
    count, sources = settings.unlabelled_per_batch, len(settings.unlabelled)
    checks.expect(count >= 0, "distill.unlabelled_per_batch", "at least 0", count)
    checks.expect(
        (count > 0) == (sources > 0), "distill.unlabelled_per_batch", "a number with unlabelled sources", count
    )
    checks.expect(
        not (settings.replay and sources),
        "distill.replay",
        "no unlabelled sources, which teach a frozen encoder nothing",
        sources,
    )


def _check_labels(training: list[Sample], validation: list[Sample], checks: _Checks) -> None:
    unlabelled = sum(not sample.label for sample in training)
    expected = "a label for every image of the training split, or the objective unicl"
    checks.expect(not unlabelled, "objective", expected, f"{unlabelled:,} images without a label")
    names = LabelNames(training)
    labels = len(names.labels)
    checks.expect(labels > 1, "objective", "two labels or more in the training split", labels)
    known = any(names.name(sample) in names.labels for sample in validation)
    expected = "images whose source and label also occur in the training split"
    checks.expect(known, "data.val_split", expected, "none")


def _any(pattern: str, names: list[str]) -> bool:
    return any(re.search(pattern, name) for name in names)
