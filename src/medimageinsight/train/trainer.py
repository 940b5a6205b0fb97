"""The training loop."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import TYPE_CHECKING, Any

import torch

from medimageinsight.errors import ConfigError
from medimageinsight.network.efficientnet import running_statistics
from medimageinsight.train.checkpoint import STATE, load_state, save_model, save_state
from medimageinsight.train.distillation import Distillation
from medimageinsight.train.distributed import full_tensor
from medimageinsight.train.ema import WeightEMA
from medimageinsight.train.gradients import AUTOCAST, compute_gradients
from medimageinsight.train.head import LabelHead
from medimageinsight.train.history import CURVE_COLUMNS, SPEED_COLUMNS, plot_history, read_history, write_history
from medimageinsight.train.initialization import TOKENIZER
from medimageinsight.train.lora import merged_state
from medimageinsight.train.loss_scale import LossScale
from medimageinsight.train.optim import build_optimizer, clip_gradients, stage_schedule
from medimageinsight.train.placement import parallelize
from medimageinsight.train.prefetch import Prefetcher, create_batch_maker
from medimageinsight.train.replay import check_replay
from medimageinsight.train.run_record import describe_model
from medimageinsight.train.termination import EXIT_STATUS, TerminationRequest
from medimageinsight.train.throughput import ThroughputMeter, count_training_flops, describe_speed, measure_peak
from medimageinsight.train.validation_metrics import LabelValidator, TextValidator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from medimageinsight.datasets import Table
    from medimageinsight.train.batches import Batch, BatchMaker
    from medimageinsight.train.captions import CaptionWriter
    from medimageinsight.train.config import RunConfig, StageConfig
    from medimageinsight.train.distributed import Processes
    from medimageinsight.train.initialization import InitialModel
    from medimageinsight.train.teaching import Taught

LOG_EVERY = 20  # steps


class Trainer:
    """Trains the model of a run stage by stage, and writes state, models and history to the run's folder."""

    def __init__(
        self,
        config: RunConfig,
        folder: Path,
        initial: InitialModel,
        writer: CaptionWriter,
        processes: Processes,
        table: Table,
        log: Callable[[str], None],
        taught: Taught | None = None,
    ) -> None:
        self.config, self.folder, self.initial, self.writer = config, folder, initial, writer
        self.processes, self.table, self.log = processes, table, log
        self.training = table.of_split(config.data.train_split)
        self.trained = set(initial.trained)
        self.head: LabelHead | None = None
        if config.objective == "labels":
            self.head = LabelHead(self.training.samples, initial.architecture.embedding_dim)
            initial.network.add_module("head", self.head)
            self.trained |= {"head.linear.weight", "head.linear.bias"}
            self.trained = {name for name in self.trained if not name.startswith("lang_") and name != "logit_scale"}
        self.taught, self.distillation = taught, None
        if config.distill is not None and taught is not None:
            torch.manual_seed(config.seed)
            dim = initial.architecture.embedding_dim
            self.distillation = Distillation(config.distill, taught.stored, initial.tokenizer, dim)
            initial.network.add_module("distillation", self.distillation)
            self.trained |= {f"distillation.{name}" for name, _ in self.distillation.named_parameters()}
        self.model = parallelize(initial.network, config.parallel, processes)
        self.optimizer = build_optimizer(self.model, config.optimizer, initial.architecture, self.trained)
        self.average = WeightEMA(self.model, self.trained)
        self.scale = LossScale(enabled=config.precision == "fp16")
        self.schedule = stage_schedule(config, config.stages[0], config.stages[0].steps)
        self.step = 0  # completed steps
        self.best = -1.0  # validation score of the saved model
        self.losses: list[float] = []  # since the last validation
        self.curve: list[dict[str, str]] = []
        self.speed: list[dict[str, str]] = []

    def run(self) -> Path:
        """Run the remaining stages and return the best model's folder.

        Raises:
            SystemExit: The process received SIGTERM (status 143); the state after the current step is saved.
        """
        self._resume()
        count = sum(parameter.numel() for parameter in self.model.parameters())
        self.log(f"{count / 1e6:.2f} M parameters, {len(self.training)} images, {self.config.steps} steps")
        end = 0
        with TerminationRequest() as termination:
            for stage in self.config.stages:
                end += stage.steps
                if self.step < end:
                    self._run_stage(stage, end, termination)
            with self.average.applied():
                self._save_model("last", steps=self.step)
            if self.processes.is_main:
                plot_history(self.folder / "curve.png", self.curve, self.speed)
        return self.folder / "best"

    def _resume(self) -> None:
        """Load the state of an interrupted run, if the folder contains one.

        Raises:
            ConfigError: Some processes see a state and others do not (``out_not_shared``).
        """
        here = (self.folder / STATE).exists()
        if self.processes.broadcast(float(here)) != float(here):
            raise ConfigError(
                "expected one folder for the run that all processes see, got a folder on this node whose state differs "
                "from the main process's: name a shared one",
                code="out_not_shared",
            )
        if not here:
            return
        progress = load_state(self.folder, self.model, self.optimizer, self.average.values)
        self.step, self.best, self.losses = progress["done"], progress["best"], progress["losses"]
        self.scale.value, self.scale.finite_steps = progress.get("loss_scale", (self.scale.value, 0))
        self.curve = read_history(self.folder / "curve.csv", until=self.step)
        self.speed = read_history(self.folder / "speed.csv", until=self.step)
        if self.head is not None and "head" in progress:
            self.head.load_validation_state(progress["head"])
        self.log(f"resuming after step {self.step}")

    def _run_stage(self, stage: StageConfig, end: int, termination: TerminationRequest) -> None:
        config, size = self.config, stage.image_size
        self.log(f"to step {end}: {size} x {size} pixels, batches of {stage.batch_size}")
        preprocessing = dataclasses.replace(self.initial.preprocessing, image_size=(size, size))
        validator: TextValidator | LabelValidator
        if self.head is None:
            validator = TextValidator(self.table, config.data.val_split, preprocessing, self.initial.tokenizer)
        else:
            validator = LabelValidator(self.table, config.data.val_split, preprocessing, self.head)
        maker = create_batch_maker(
            config,
            stage,
            self.training,
            self.writer,
            self.initial.tokenizer,
            preprocessing,
            self.processes,
            self.taught,
        )
        check_replay(maker, self.model)
        self._begin_stage(stage, end)
        tokens = round(float(maker(self.step).attention_mask.sum(dim=1).float().mean()))
        peak = measure_peak(self.processes.device, AUTOCAST.get(config.precision, torch.float32))
        flops = count_training_flops(self.initial.architecture, size, tokens, self.model, texts=self.head is None)
        meter = ThroughputMeter(peak, flops)
        with Prefetcher(maker, self.step, end, depth=config.data.ahead) as batches:
            for batch in meter.timed(batches):
                self.losses.append(self._train_step(batch.to(self.processes.device), maker))
                self.step += 1
                if self.step % LOG_EVERY == 0:
                    self.speed.append(meter.row(self.step, self.losses[-1], self.processes.world_size))
                    self.log(describe_speed(self.speed[-1]))
                with meter.paused():
                    if self.step % config.evaluate_every == 0 or self.step == end:
                        self._validate(validator)
                    terminating = self.processes.any(termination.received)
                    if self.step % config.checkpoint_every == 0 or self.step == end or terminating:
                        self._save_state()
                    if terminating:
                        self.log(f"ended by SIGTERM; saved after step {self.step}: repeat the command to continue")
                        raise SystemExit(EXIT_STATUS)
        maker.close()

    def _begin_stage(self, stage: StageConfig, end: int) -> None:
        """Set the logit scale, the learning-rate schedule and the frozen parameters of a stage."""
        if stage.logit_scale is not None and self.step == end - stage.steps:
            with torch.no_grad():
                self.model.logit_scale.fill_(math.log(stage.logit_scale))
        self.schedule = stage_schedule(self.config, stage, end)
        for name, parameter in self.model.named_parameters():
            frozen = any(re.search(pattern, name) for pattern in stage.freeze)
            parameter.requires_grad_(name in self.trained and not frozen)

    def _train_step(self, batch: Batch, maker: BatchMaker) -> float:
        """Run forward and backward pass and update the weights; return the loss."""
        config, settings, model = self.config, self.config.optimizer, self.model
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.learning_rate(self.step) * group["scale"]
        model.train()
        self.optimizer.zero_grad(set_to_none=True)
        classes = None  # (B,), of the whole batch
        if self.head is not None:
            classes = self.head.classes_of(maker.sample_indices(self.step)).to(self.processes.device)
        loss = compute_gradients(
            model,
            batch,
            self.step,
            self.processes,
            seed=config.seed,
            precision=config.precision,
            micro_batch=config.parallel.micro_batch,
            loss_scale=self.scale.value,
            head=self.head,
            classes=classes,
            distillation=self.distillation,
        )
        parameters = list(model.parameters())
        self.processes.average_gradients(parameters)
        self.processes.average([statistic for _, statistic in running_statistics(model, self.trained)])
        self.scale.unscale(parameters)
        if self.scale.update(float(clip_gradients(parameters, settings.clip_norm))):
            self.optimizer.step()
            with torch.no_grad():
                model.logit_scale.clamp_(max=math.log(settings.max_logit_scale))
        self.average.update(self.step - self.schedule.start, settings.ema_decay)
        return loss

    def _validate(self, validator: TextValidator | LabelValidator) -> None:
        with self.average.applied():
            scores, size = validator.score(self.model), validator.images.preprocessing.image_size
            self.log("  ".join([f"step {self.step}", *(f"{name} {score:.4f}" for name, score in scores.items())]))
            self.curve.append(
                {
                    "step": str(self.step),
                    "image_size": str(size[0]),
                    "learning_rate": f"{self.schedule.learning_rate(self.step):.2e}",
                    "loss": f"{sum(self.losses) / len(self.losses):.4f}",
                    **{name: f"{score:.4f}" for name, score in scores.items()},
                }
            )
            self.losses.clear()
            if self.processes.is_main:
                write_history(self.folder / "curve.csv", CURVE_COLUMNS, self.curve)
            # The best model is selected at the image size of inference.
            selected_by = next(name for name in validator.selected_by if name in scores)
            score = self.processes.broadcast(scores[selected_by])
            if size == self.initial.architecture.image.image_size and score > self.best:
                self.best = score
                self._save_model("best", steps=self.step, selected_by=selected_by, **{selected_by: round(score, 4)})

    def _save_model(self, name: str, **figures: Any) -> None:  # noqa: ANN401 - for JSON
        """Save the current model with low-rank updates merged, and its head separately."""
        state = {
            key: full_tensor(value)
            for key, value in self.model.state_dict().items()
            if not key.startswith(("head.", "distillation."))
        }
        if self.processes.is_main:
            description = describe_model(self.config, self.initial, self.table, **figures)
            weights = merged_state(self.model, state)
            save_model(self.folder / name, weights, description, self.folder / TOKENIZER, self.head)

    def _save_state(self) -> None:
        progress = {
            "done": self.step,
            "best": self.best,
            "losses": self.losses,
            "loss_scale": (self.scale.value, self.scale.finite_steps),
            **({} if self.head is None else {"head": self.head.validation_state()}),
        }
        if self.processes.is_main:
            write_history(self.folder / "speed.csv", SPEED_COLUMNS, self.speed)
        save_state(self.folder, self.model, self.optimizer, self.average.values, progress, write=self.processes.is_main)
