"""What a run asks for that cannot be: of itself, of its data, of its network. Found before the first step."""

from __future__ import annotations

import math
import re
from dataclasses import fields
from typing import TYPE_CHECKING

from medimageinsight.errors import ConfigError
from medimageinsight.preprocess import LARGEST_SIZE
from medimageinsight.train.augment_pixels import PixelAugmentation
from medimageinsight.train.config import CaptionAugmentation, FinetuneConfig, ImageAugmentation, OptimizerConfig
from medimageinsight.train.label_names import LabelNames

if TYPE_CHECKING:
    from medimageinsight.datasets import Problems, Sample, Table
    from medimageinsight.train.config import DataConfig, RunConfig, StageConfig
    from medimageinsight.train.start import Start

SMALLEST = 32  # pixels: the image encoder halves a side five times
SEEDS = 1 << 32


def check_values(config: RunConfig, problems: Problems) -> None:
    """Notes values of the right type that cannot be."""
    checks = _Checks(problems)
    checks.expect(bool(config.name.strip()), "name", "a name")
    for number, stage in enumerate(config.stages):
        _check_stage(stage, f"stages[{number}]", checks)
    own = [stage.learning_rate is not None for stage in config.stages]
    checks.expect(own == sorted(own), "stages", "those with a learning_rate of their own after those without")
    _check_optimizer(config.optimizer, checks)
    _check_data(config.data, checks)
    _check_changes(config, checks)
    for name, value in (
        ("evaluate_every", config.evaluate_every),
        ("checkpoint_every", config.checkpoint_every),
        ("parallel.micro_batch", config.parallel.micro_batch),
    ):
        checks.expect(value is None or value >= 1, name, "at least 1")
    if isinstance(config, FinetuneConfig):
        start = config.start
        checks.expect(start.rank >= 1, "start.rank", "at least 1")
        checks.expect(start.blocks >= 1, "start.blocks", "at least 1")
        checks.expect(start.alpha > 0, "start.alpha", "more than 0")
        checks.expect(start.drop_path is None or 0 <= start.drop_path < 1, "start.drop_path", "0 to below 1")


def check_data(config: RunConfig, table: Table, world: int, problems: Problems) -> None:
    """Notes what the run asks of its data and does not find, and batches that its processes cannot share."""
    checks = _Checks(problems)
    checks.expect(0 <= config.seed < SEEDS, "seed", f"0 to below {SEEDS}")
    for number, stage in enumerate(config.stages):
        what = f"a multiple of the {world} processes"
        checks.expect(stage.batch_size % world == 0, f"stages[{number}].batch_size", what)
    if not len(table):  # why is in the list
        return
    data = config.data
    of_split: dict[str, list[Sample]] = {data.train_split: [], data.val_split: []}
    for sample in table:
        if sample.split in of_split:
            of_split[sample.split].append(sample)
    known = ", ".join(name or "(empty)" for name in table.splits) or "none"
    for key, split in (("train_split", data.train_split), ("val_split", data.val_split)):
        what = f"a split of the data ({known}), got {split!r}; data.splits can draw it"
        checks.expect(bool(of_split[split]), f"data.{key}", what)
    checks.expect(data.train_split != data.val_split, "data.val_split", "another split than train_split")
    training, validation = of_split[data.train_split], of_split[data.val_split]
    if not training or not validation:
        return
    sources = {sample.source for sample in training}
    for name in data.source_weights:
        what = f"a source of the training split ({', '.join(sorted(sources))})"
        checks.expect(name in sources, f"data.source_weights.{name}", what)
    if config.objective == "labels":
        _check_labels(training, validation, checks)
        return
    what = "two captions or more in the validation split: no other figure tells models apart"
    checks.expect(len({sample.caption for sample in validation}) > 1, "data.val_split", what)


def check_model(config: RunConfig, start: Start) -> None:
    """Looks at what the run asks of its network.

    Raises:
        ConfigError: Nothing is learned, a pattern finds nothing, or no stage has the model's own picture size.
    """
    names = [name for name, _ in start.model.named_parameters()]
    faults = []
    for number, stage in enumerate(config.stages):
        place = f"config.stages[{number}].freeze"
        faults += [f"{place}: {pattern!r} finds no parameter" for pattern in stage.freeze if not _found(pattern, names)]
        if not any(name in start.trained and not any(_found(one, [name]) for one in stage.freeze) for name in names):
            faults.append(f"{place}: nothing is left to learn")
    for key in ("rate_factors", "weight_decays"):
        patterns = getattr(config.optimizer, key)
        faults += [f"config.optimizer.{key}: {one!r} finds no parameter" for one in patterns if not _found(one, names)]
    size = start.architecture.image.image_size
    if not any((stage.image_size, stage.image_size) == size for stage in config.stages):
        faults.append(
            f"config.stages: expected one with the model's own image_size, {size[0]}: a model is chosen among those "
            "seen at the size that it is used at"
        )
    if faults:
        raise ConfigError("; ".join(faults), code="config_misfits_model")


class _Checks:
    def __init__(self, problems: Problems) -> None:
        self.problems = problems

    def expect(self, met: bool, place: str, what: str) -> None:
        """Notes what a key was expected to be."""
        if not met:
            self.problems.add("config_value_invalid", f"config.{place}", f"expected {what}")

    def pattern(self, place: str, pattern: str) -> None:
        """Notes what is no regular expression."""
        try:
            re.compile(pattern)
        except re.error as error:
            self.problems.add("config_value_invalid", f"config.{place}", f"{pattern!r} is no pattern: {error.msg}")


def _check_stage(stage: StageConfig, place: str, checks: _Checks) -> None:
    checks.expect(stage.steps >= 1, f"{place}.steps", "at least 1")
    checks.expect(stage.batch_size >= 2, f"{place}.batch_size", "at least 2")
    sides = range(SMALLEST, LARGEST_SIZE + 1)
    checks.expect(stage.image_size in sides, f"{place}.image_size", f"{SMALLEST} to {LARGEST_SIZE}")
    for key in ("sources_per_batch", "logit_scale", "learning_rate"):
        value = getattr(stage, key)
        checks.expect(value is None or 0 < value < math.inf, f"{place}.{key}", "a number above 0")
    for pattern in stage.freeze:
        checks.pattern(f"{place}.freeze", pattern)


def _check_optimizer(settings: OptimizerConfig, checks: _Checks) -> None:
    for key in ("learning_rate", "layer_decay", "clip_norm", "max_logit_scale"):
        checks.expect(0 < getattr(settings, key) < math.inf, f"optimizer.{key}", "a number above 0")
    for key in ("final_learning_rate", "warmup_steps", "weight_decay"):
        checks.expect(0 <= getattr(settings, key) < math.inf, f"optimizer.{key}", "a number from 0 on")
    for key, values in (("ema_decay", [settings.ema_decay]), ("betas", settings.betas)):
        checks.expect(all(0 <= value < 1 for value in values), f"optimizer.{key}", "0 to below 1")
    for key in ("rate_factors", "weight_decays"):
        for pattern, value in getattr(settings, key).items():
            checks.pattern(f"optimizer.{key}", pattern)
            checks.expect(value >= 0, f"optimizer.{key}", "numbers from 0 on")


def _check_data(data: DataConfig, checks: _Checks) -> None:
    checks.expect(data.ahead >= 1, "data.ahead", "at least 1")
    checks.expect(data.workers >= 1, "data.workers", "at least 1")
    checks.expect(data.checks.workers is None or data.checks.workers >= 1, "data.checks.workers", "at least 1")
    for key in ("sampling_power", "class_power"):
        checks.expect(math.isfinite(getattr(data, key)), f"data.{key}", "a number")
    for name, weight in data.source_weights.items():
        what = "more than 0; leave_out leaves a source out"
        checks.expect(0 < weight < math.inf, f"data.source_weights.{name}", what)


def _check_changes(config: RunConfig, checks: _Checks) -> None:
    if config.data.on_disk:
        what = "none with data.on_disk, whose changes are `pixels`"
        checks.expect(config.images == ImageAugmentation(), "images", what)
    else:
        what = "none without data.on_disk, for changes in memory are `images`"
        checks.expect(config.pixels == PixelAugmentation(), "pixels", what)
    captions, images = config.captions, config.images
    for one in fields(CaptionAugmentation):
        value = getattr(captions, one.name)
        checks.expect(not isinstance(value, float) or 0 <= value <= 1, f"captions.{one.name}", "0 to 1")
    checks.expect(0 < images.scale[0] <= images.scale[1], "images.scale", "0 < least <= largest")
    for one in fields(ImageAugmentation):
        value = getattr(images, one.name)
        checks.expect(not isinstance(value, float) or value >= 0, f"images.{one.name}", "0 or more")
    checks.expect(images.erase <= 1, "images.erase", "0 to 1")


def _check_labels(training: list[Sample], validation: list[Sample], checks: _Checks) -> None:
    without = sum(not sample.label for sample in training)
    what = f"a label for every picture of the training split, {without:,} have none; name them, or use unicl"
    checks.expect(not without, "objective", what)
    names = LabelNames(training)
    checks.expect(len(names.labels) > 1, "objective", "two labels or more in the training split")
    known = any(names.of(sample) in names.labels for sample in validation)
    checks.expect(known, "data.val_split", "pictures whose source and label are of the training split too")


def _found(pattern: str, names: list[str]) -> bool:
    return any(re.search(pattern, name) for name in names)
