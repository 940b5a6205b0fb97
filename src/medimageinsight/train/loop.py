"""The training loop."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from medimageinsight.datasets import Problems
from medimageinsight.errors import ConfigError
from medimageinsight.files.atomic import make_folder, restore_folder
from medimageinsight.train.average import Average
from medimageinsight.train.batches import drawn_samples, make_batches
from medimageinsight.train.captions import CaptionWriter
from medimageinsight.train.checkpoint import has_state, load_state, save_model, save_state
from medimageinsight.train.config import FinetuneConfig, RunConfig, StageConfig, TrainConfig
from medimageinsight.train.config_file import Config, read_run
from medimageinsight.train.curve import draw_curve, read_curve, write_curve
from medimageinsight.train.data import Batch, Prefetcher
from medimageinsight.train.data_disk import DiskBatchMaker
from medimageinsight.train.distributed import Processes, join_processes, leave_processes, whole
from medimageinsight.train.head import LabelHead
from medimageinsight.train.layout import lay_out
from medimageinsight.train.lora import merged_state
from medimageinsight.train.optim import Schedule, build_optimizer, clip_gradients
from medimageinsight.train.record import check_begun, describe_model, keep_record
from medimageinsight.train.run_check import check_data, check_model
from medimageinsight.train.samples import read_samples
from medimageinsight.train.speed import Speedometer, describe, flops_of_training, measure_peak, write_speed
from medimageinsight.train.start import TOKENIZER, Start, start_from_checkpoint, start_new
from medimageinsight.train.step import AUTOCAST, LossScale, StepSettings, compute_gradients
from medimageinsight.train.validate import LabelValidator, TextValidator

if TYPE_CHECKING:
    from collections.abc import Callable

    from medimageinsight.datasets import Table
    from medimageinsight.preprocess import Preprocessing

LOG_EVERY = 20  # steps


def train(
    config_path: str | Path, out: str | Path, *, seed: int | None = None, log: Callable[[str], None] = print
) -> Path:
    """Trains a model from scratch, or goes on with a run that was cut off.

    The run's folder keeps the config, the tokenizer, ``run.json`` (config with defaults, seed, versions, machine, data,
    parents), the curve (CSV and PNG), the speed (CSV), the state to resume from, the best model and the last one.

    Args:
        config_path: A YAML file, see `TrainConfig`; paths in it are relative to it.
        out: The run's folder. If it holds a state, the run goes on from there, to the same weights bit for bit.
        seed: In place of the config's.
        log: Takes one line of progress.

    Returns:
        The folder of the model with the best validation figure, which `mi2 convert` turns into a bundle.

    Raises:
        ConfigError: The config cannot be read, does not fit the model, or is not the one that the run was begun with.
        DatasetProblems: The data or values of the config cannot be used; everything that is wrong, in one list.
        CheckpointError: The saved state is damaged, or cannot be saved.
        ModelError: A gradient is not a finite number (``training_diverged``).
    """
    return _go(TrainConfig, start_new, Path(config_path), Path(out), seed, log)


def finetune(
    config_path: str | Path, out: str | Path, *, seed: int | None = None, log: Callable[[str], None] = print
) -> Path:
    """Trains a checkpoint further; as `train`, with a `FinetuneConfig`."""
    return _go(FinetuneConfig, start_from_checkpoint, Path(config_path), Path(out), seed, log)


def _go(
    kind: type[Config],
    begin: Callable[[Config, Path, Path, CaptionWriter], Start],
    config_path: Path,
    folder: Path,
    seed: int | None,
    log: Callable[[str], None],
) -> Path:
    """What `train` and `finetune` do with their configs; `begin` makes the network."""
    problems = Problems()
    config = read_run(config_path, kind, problems)
    config = config if seed is None else dataclasses.replace(config, seed=seed)
    processes = join_processes(config.parallel.device)
    log = log if processes.is_main else _quiet
    try:
        table = read_samples(config.data, config_path.parent, check=processes.is_main, log=log, problems=problems)
        check_data(config, table, processes.world, problems)
        problems.raise_any()
        return _Run(config, config_path, folder, functools.partial(begin, config), processes, table, log).go()
    finally:
        leave_processes()


class _Run:
    """One run's state, and what it leaves in its folder."""

    def __init__(
        self,
        config: RunConfig,
        config_path: Path,
        folder: Path,
        begin: Callable[[Path, Path, CaptionWriter], Start],
        processes: Processes,
        table: Table,
        log: Callable[[str], None],
    ) -> None:
        self.config, self.folder, self.log, self.processes, self.table = config, folder, log, processes, table
        self.training = self.table.of_split(config.data.train_split)
        self.writer = CaptionWriter(self.training.samples, config.captions, config.templates)
        if processes.is_main:
            make_folder(folder)
            if not check_begun(config, folder, table):
                (folder / TOKENIZER).unlink(missing_ok=True)  # of a run that never began
            start = begin(folder, config_path.parent, self.writer)  # writes the tokenizer, which the others read
            check_model(config, start)
            keep_record(config, config_path, folder, start, table, processes)
            restore_folder(folder / "best")
        processes.wait()
        if not processes.is_main:
            start = begin(folder, config_path.parent, self.writer)
        self.start, self.tokenizer, trained = start, start.tokenizer, set(start.trained)
        self.head: LabelHead | None = None
        if config.objective == "labels":
            self.head = LabelHead(self.training.samples, start.architecture.embedding_dim)
            start.model.add_module("head", self.head)
            trained |= {"head.linear.weight", "head.linear.bias"}
            trained = {name for name in trained if not name.startswith("lang_") and name != "logit_scale"}
        self.trained = trained
        self.model = lay_out(start.model, config.parallel, processes)
        self.optimizer = build_optimizer(self.model, config.optimizer, start.architecture, trained)
        self.average = Average(self.model, trained)
        self.scale = LossScale(enabled=config.precision == "fp16")
        self.done = 0  # steps
        self.schedule = Schedule(0, 1, config.optimizer)  # of the stage that runs
        self.best = -1.0  # validation figure of the saved model
        self.losses: list[float] = []  # since the last validation
        self.rows: list[dict[str, str]] = []
        self.speed: list[dict[str, str]] = []

    def go(self) -> Path:
        """Runs the stages that are not done yet; returns the best model's folder."""
        if self._has_state():
            progress = load_state(self.folder, self.model, self.optimizer, self.average.values)
            self.done, self.best, self.losses = progress["done"], progress["best"], progress["losses"]
            self.scale.value, self.scale.good = progress.get("loss_scale", (self.scale.value, 0))
            self.rows = read_curve(self.folder / "curve.csv", until=self.done)
            self.speed = read_curve(self.folder / "speed.csv", until=self.done)
            if self.head is not None and "head" in progress:
                self.head.restore(progress["head"])
            self.log(f"going on after step {self.done}")
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self.log(f"{parameters / 1e6:.2f} M parameters, {len(self.training)} pictures, {self.config.steps} steps")
        end = 0
        for stage in self.config.stages:
            end += stage.steps
            if self.done < end:
                self._run_stage(stage, end)
        with self.average.in_place():
            self._save("last", steps=self.done)
        if self.processes.is_main:
            draw_curve(self.folder / "curve.png", self.rows, self.speed)
        return self.folder / "best"

    def _has_state(self) -> bool:
        """Whether the run goes on.

        Raises:
            ConfigError: Some processes see a state and others do not (``out_not_shared``).
        """
        here = has_state(self.folder)
        if self.processes.agree(float(here)) != float(here):
            raise ConfigError(
                "expected one folder for the run, seen by all processes, got another on this node: name a shared one",
                code="out_not_shared",
            )
        return here

    def _run_stage(self, stage: StageConfig, end: int) -> None:
        config, size, model, processes = self.config, stage.image_size, self.model, self.processes
        self.log(f"to step {end}: {size} x {size} pixels, batches of {stage.batch_size}")
        preprocessing = dataclasses.replace(self.start.preprocessing, image_size=(size, size))
        validator = self._validator(preprocessing)
        maker = make_batches(config, stage, self.training, self.writer, self.tokenizer, preprocessing, processes)
        if stage.logit_scale is not None and self.done == end - stage.steps:
            with torch.no_grad():
                model.logit_scale.fill_(math.log(stage.logit_scale))
        self.schedule = _schedule(config, stage, end)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(
                name in self.trained and not any(re.search(pattern, name) for pattern in stage.freeze)
            )
        speed = Speedometer(
            measure_peak(processes.device, AUTOCAST.get(config.precision, torch.float32)),
            flops_of_training(self.start.architecture, size, _tokens(maker(self.done)), model, texts=self.head is None),
        )
        with Prefetcher(maker, self.done, end, depth=config.data.ahead) as batches:
            for batch in speed.timed(batches):
                classes = None if self.head is None else self.head.classes_of(drawn_samples(maker, self.done))
                self.losses.append(self._step(_moved(batch, processes.device), classes))
                self.done += 1
                if self.done % LOG_EVERY == 0:
                    self.speed.append(speed.row(self.done, self.losses[-1], processes.world))
                    self.log(describe(self.speed[-1]))
                with speed.paused():
                    if self.done % config.evaluate_every == 0 or self.done == end:
                        self._validate(validator)
                    if self.done % config.checkpoint_every == 0 or self.done == end:
                        self._keep_state()
        if isinstance(maker, DiskBatchMaker):
            maker.close()

    def _step(self, batch: Batch, classes: torch.Tensor | None) -> float:
        """Forward, backward, update: one step further."""
        config, settings, model = self.config, self.config.optimizer, self.model
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.learning_rate(self.done) * group["scale"]
        model.train()
        self.optimizer.zero_grad(set_to_none=True)
        loss = compute_gradients(
            model,
            batch,
            self.done,
            StepSettings(seed=config.seed, precision=config.precision, micro_batch=config.parallel.micro_batch),
            self.processes,
            loss_scale=self.scale.value,
            head=self.head,
            classes=None if classes is None else classes.to(self.processes.device),
        )
        parameters = list(model.parameters())
        self.processes.average_gradients(parameters)
        self.scale.unscale(parameters)
        if self.scale.goes_on(float(clip_gradients(parameters, settings.clip_norm))):
            self.optimizer.step()
            with torch.no_grad():
                model.logit_scale.clamp_(max=math.log(settings.max_logit_scale))
        self.average.update(self.done - self.schedule.start, settings.ema_decay)
        return loss

    def _validator(self, preprocessing: Preprocessing) -> TextValidator | LabelValidator:
        split = self.config.data.val_split
        if self.head is not None:
            return LabelValidator(self.table, split, preprocessing, self.head)
        return TextValidator(self.table, split, preprocessing, self.tokenizer)

    def _validate(self, validator: TextValidator | LabelValidator) -> None:
        with self.average.in_place():
            values, size = validator.score(self.model), validator.pictures.preprocessing.image_size
            self.log("  ".join([f"step {self.done}", *(f"{name} {value:.4f}" for name, value in values.items())]))
            self.rows.append(
                {
                    "step": str(self.done),
                    "image_size": str(size[0]),
                    "learning_rate": f"{self.schedule.learning_rate(self.done):.2e}",
                    "loss": f"{sum(self.losses) / len(self.losses):.4f}",
                    **{name: f"{value:.4f}" for name, value in values.items()},
                }
            )
            self.losses.clear()
            if self.processes.is_main:
                write_curve(self.folder / "curve.csv", self.rows)
            # A model is chosen among those seen at the size it will be used at.
            selected_by = next(name for name in validator.choose_by if name in values)
            value = self.processes.agree(values[selected_by])
            if size == self.start.architecture.image.image_size and value > self.best:
                self.best = value
                self._save("best", steps=self.done, selected_by=selected_by, **{selected_by: round(value, 4)})

    def _save(self, name: str, **figures: Any) -> None:  # noqa: ANN401 - for JSON
        """The model as it is, as one of the usual form: updates merged, head apart."""
        state = {name: whole(value) for name, value in self.model.state_dict().items() if not name.startswith("head.")}
        if self.processes.is_main:
            description = describe_model(self.config, self.start, self.table, **figures)
            save_model(
                self.folder / name, merged_state(self.model, state), description, self.folder / TOKENIZER, self.head
            )

    def _keep_state(self) -> None:
        progress = {
            "done": self.done,
            "best": self.best,
            "losses": self.losses,
            "loss_scale": (self.scale.value, self.scale.good),
            **({} if self.head is None else {"head": self.head.validation()}),
        }
        if self.processes.is_main:
            write_speed(self.folder / "speed.csv", self.speed)
        save_state(self.folder, self.model, self.optimizer, self.average.values, progress, write=self.processes.is_main)


def _schedule(config: RunConfig, stage: StageConfig, end: int) -> Schedule:
    """The learning rate of a stage that ends at that step."""
    if stage.learning_rate is None:
        return Schedule(0, sum(one.steps for one in config.stages if one.learning_rate is None), config.optimizer)
    warmup = min(config.optimizer.warmup_steps, stage.steps // 5)
    own = dataclasses.replace(config.optimizer, learning_rate=stage.learning_rate, warmup_steps=warmup)
    return Schedule(end - stage.steps, stage.steps, own)


def _moved(batch: Batch, device: torch.device) -> Batch:
    """The same batch on a device."""
    if device.type == "cpu":
        return batch
    fields = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    return Batch(**{name: value.pin_memory().to(device, non_blocking=True) for name, value in fields.items()})


def _tokens(batch: Batch) -> int:
    """The mean length of a batch's texts."""
    return round(float(batch.attention_mask.sum(dim=1).float().mean()))


def _quiet(line: str) -> None:
    """Only the main process talks."""
