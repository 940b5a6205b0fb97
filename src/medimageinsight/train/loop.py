"""The training loop."""

from __future__ import annotations

import copy
import dataclasses
import math
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from medimageinsight.datasets.table import Table, read_table
from medimageinsight.errors import ConfigError
from medimageinsight.network.model import UniCLModel
from medimageinsight.preprocess import Preprocessing
from medimageinsight.train.captions import CaptionWriter
from medimageinsight.train.checkpoint import has_state, load_state, save_model, save_state
from medimageinsight.train.config import StageConfig, TrainConfig, read_config
from medimageinsight.train.curve import draw_curve, read_curve, write_curve
from medimageinsight.train.data import Batch, BatchMaker, Prefetcher
from medimageinsight.train.loss import unicl_loss
from medimageinsight.train.optim import Schedule, build_optimizer, update_average
from medimageinsight.train.validate import Validator
from medimageinsight.train.vocabulary import make_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable

# Both are of the released model's config: new models are normalised alike.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LOG_EVERY = 20  # steps


def train(config_path: str | Path, out: str | Path, *, log: Callable[[str], None] = print) -> Path:
    """Trains a model, or goes on with a run that was cut off.

    The run's folder keeps the config, the tokenizer, the curve (CSV and PNG), the state to resume from, and the best
    model.

    Args:
        config_path: A YAML file, see `TrainConfig`; paths in it are relative to it.
        out: The run's folder. If it holds a state, the run goes on from there, to the same weights bit for bit.
        log: Takes one line of progress.

    Returns:
        The folder of the model with the best validation figure, which `mi2 convert` turns into a bundle.

    Raises:
        ConfigError: The config is wrong, or is not the one that the run was begun with.
        DatasetError: The table or its pictures cannot be used.
        CheckpointError: The saved state is damaged.
    """
    config_path, folder = Path(config_path), Path(out)
    config = read_config(config_path)
    table = read_table(config_path.parent / config.data.table)
    folder.mkdir(parents=True, exist_ok=True)
    _keep_config(config_path, folder)
    return _Run(config, table, folder, config_path.parent, log).go()


class _Run:
    """One run's state, and what it leaves in its folder."""

    def __init__(self, config: TrainConfig, table: Table, folder: Path, base: Path, log: Callable[[str], None]) -> None:
        self.config, self.table, self.folder, self.log = config, table, folder, log
        self.samples = table.of_split(config.data.train_split).samples
        self.writer = CaptionWriter(self.samples, config.captions)
        self.tokenizer = make_tokenizer(
            folder / "tokenizer.json", config.tokenizer, self.writer.vocabulary(), base, config.model.text
        )
        torch.manual_seed(config.seed)
        self.model = UniCLModel(config.model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = build_optimizer(self.model, config.optimizer)
        self.averaged = copy.deepcopy(self.model)
        self.average = self.averaged.state_dict()  # shares its memory
        self.done = 0  # steps
        self.schedule = Schedule(0, 1, config.optimizer)  # of the stage that runs
        self.best = -1.0  # validation figure of the saved model
        self.losses: list[float] = []  # since the last validation
        self.rows: list[dict[str, str]] = []

    def go(self) -> Path:
        """Runs the stages that are not done yet; returns the best model's folder."""
        if has_state(self.folder):
            progress = load_state(self.folder, self.model, self.optimizer, self.average)
            self.done, self.best, self.losses = progress["done"], progress["best"], progress["losses"]
            self.rows = read_curve(self.folder / "curve.csv", until=self.done)
            self.log(f"going on after step {self.done}")
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self.log(f"{parameters / 1e6:.2f} M parameters, {len(self.samples)} pictures, {self.config.steps} steps")
        end = 0
        for stage in self.config.stages:
            end += stage.steps
            if self.done < end:
                self._run_stage(stage, end)
        draw_curve(self.folder / "curve.png", self.rows)
        return self.folder / "best"

    def _run_stage(self, stage: StageConfig, end: int) -> None:
        config, size = self.config, stage.image_size
        self.log(f"to step {end}: {size} x {size} pixels, batches of {stage.batch_size}")
        preprocessing = Preprocessing(image_size=(size, size), mean=IMAGENET_MEAN, std=IMAGENET_STD)
        validator = Validator(self.table, config.data.val_split, preprocessing, self.tokenizer)
        maker = BatchMaker(
            self.samples,
            self.writer,
            self.tokenizer,
            preprocessing,
            batch_size=stage.batch_size,
            sources_per_batch=stage.sources_per_batch,
            seed=config.seed,
            data=config.data,
            augmentation=config.images,
        )
        if stage.logit_scale is not None and self.done == end - stage.steps:
            with torch.no_grad():
                self.model.logit_scale.fill_(math.log(stage.logit_scale))
        self.schedule = _schedule(config, stage, end)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(not any(re.search(pattern, name) for pattern in stage.freeze))
        clock = time.perf_counter()
        with Prefetcher(maker, self.done, end) as batches:
            for batch in batches:
                self.losses.append(self._step(batch))
                self.done += 1
                if self.done % LOG_EVERY == 0:
                    rate = LOG_EVERY * stage.batch_size / (time.perf_counter() - clock)
                    self.log(f"step {self.done}  loss {self.losses[-1]:.4f}  {rate:.0f} images/s")
                    clock = time.perf_counter()
                if self.done % config.evaluate_every == 0 or self.done == end:
                    self._validate(validator, preprocessing)
                    clock = time.perf_counter()
                if self.done % config.checkpoint_every == 0 or self.done == end:
                    progress = {"done": self.done, "best": self.best, "losses": self.losses}
                    save_state(self.folder, self.model, self.optimizer, self.average, progress)

    def _step(self, batch: Batch) -> float:
        config, settings = self.config, self.config.optimizer
        # Stochastic depth depends on the step alone, so a resumed run draws the same.
        torch.manual_seed(config.seed * 1_000_003 + self.done)
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.learning_rate(self.done)
        self.model.train()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=config.precision == "bf16"):
            picture_features = self.model.image_encoder(batch.pixel_values)
            text_features = self.model.lang_encoder(batch.input_ids, batch.attention_mask)
        # From here in full precision: embeddings of one modality differ in little.
        pictures = self.model.project_image(picture_features.float())
        texts = self.model.project_text(text_features.float())
        loss = unicl_loss(pictures, texts, self.model.logit_scale, batch.positives)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip_norm)
        self.optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(max=math.log(settings.max_logit_scale))
        update_average(self.average, self.model, self.done - self.schedule.start, settings.ema_decay)
        return loss.item()

    def _validate(self, validator: Validator, preprocessing: Preprocessing) -> None:
        report = validator.score(self.averaged)
        figures = {
            "val_modality_accuracy": report.modality_accuracy,
            "val_anatomy_accuracy": report.anatomy_accuracy,
            "val_mean_auc": report.mean_auc,
        }
        values = {name: figure.value for name, figure in figures.items() if figure is not None}
        self.log("  ".join([f"step {self.done}", *(f"{name} {value:.4f}" for name, value in values.items())]))
        self.rows.append(
            {
                "step": str(self.done),
                "image_size": str(preprocessing.image_size[0]),
                "learning_rate": f"{self.schedule.learning_rate(self.done):.2e}",
                "loss": f"{sum(self.losses) / len(self.losses):.4f}",
                **{name: f"{value:.4f}" for name, value in values.items()},
            }
        )
        self.losses.clear()
        write_curve(self.folder / "curve.csv", self.rows)
        # A model is chosen among those seen at the size it will be used at.
        selected_by = "val_mean_auc" if "val_mean_auc" in values else "val_modality_accuracy"
        value = values.get(selected_by, 0.0)
        if preprocessing.image_size == self.config.model.image.image_size and value > self.best:
            self.best = value
            provenance = {"steps": self.done, "selected_by": selected_by, selected_by: round(value, 4)}
            save_model(
                self.folder / "best",
                self.config,
                self.averaged,
                preprocessing,
                self.folder / "tokenizer.json",
                provenance,
            )


def _schedule(config: TrainConfig, stage: StageConfig, end: int) -> Schedule:
    """The learning rate of a stage that ends at that step."""
    if stage.learning_rate is None:
        return Schedule(0, sum(one.steps for one in config.stages if one.learning_rate is None), config.optimizer)
    warmup = min(config.optimizer.warmup_steps, stage.steps // 5)
    own = dataclasses.replace(config.optimizer, learning_rate=stage.learning_rate, warmup_steps=warmup)
    return Schedule(end - stage.steps, stage.steps, own)


def _keep_config(config_path: Path, folder: Path) -> None:
    """Copies the config into the run, or checks that it is the one that the run was begun with."""
    kept, text = folder / "config.yaml", config_path.read_text("utf-8")
    if kept.exists() and kept.read_text("utf-8") != text:
        raise ConfigError(
            "the run's folder holds a run of another config: choose a new folder, or go on with the config in it",
            code="config_changed",
        )
    kept.write_text(text, "utf-8")
