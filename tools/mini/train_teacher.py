"""Fine-tune the teacher on the images of a config, and continue a training that was stopped.

python tools/mini/train_teacher.py configs/mini2.yaml --work runs/mini2

Writes `teacher.pt` (state), `teacher_curve.jsonl` (validations) and `pixels.bin` (decoded images) to the folder.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from pixels import PixelCache
from sklearn.metrics import roc_auc_score
from teacher import IGNORED, Teacher, make_heads
from torch.nn import functional as F

from medimageinsight.evaluate.evaluation import MEDMIX_FINDING_SOURCES
from medimageinsight.files.atomic import replace_file
from medimageinsight.train import PixelAugmentation, augment_image, read_config, read_samples
from medimageinsight.train.image_augmentation import crop_box, image_rng
from medimageinsight.train.sampling import sampling_weights

SIZE, BATCH = 128, 32
STEPS, EPOCH, WARMUP = 2400, 200, 100  # steps; an epoch ends with a validation and a checkpoint
RATE, HEAD_RATE, WEIGHT_DECAY = 4e-4, 2e-3, 0.02
SMOOTHING, EMA = 0.05, 0.998
WEIGHTS = {"modality": 0.5, "anatomy": 0.5, "view": 0.25, "chula_rbc": 0.3}  # of the losses; 1 for findings
MIN_AREA = 0.4  # of the image, below which a crop need not show the finding
LOG_EVERY = 20  # steps


class Data:
    """The training and validation images of a config, without its test split."""

    def __init__(self, config_path: Path, work: Path) -> None:
        self.config = read_config(config_path)
        table = read_samples(self.config.data, config_path.parent, check=False, log=print)
        self.samples = tuple(sample for sample in table if sample.split in ("train", "val"))
        self.training = np.array([sample.split == "train" for sample in self.samples])
        self.cache = PixelCache(work, replace(table, samples=self.samples))
        self.heads = make_heads(self.samples, self.training)
        self.positions = np.flatnonzero(self.training)
        self.weights = sampling_weights([self.samples[position] for position in self.positions], self.config.data)

    def view(self, position: int, copy: int, settings: PixelAugmentation | None = None) -> tuple[np.ndarray, float]:
        """Return an augmented copy of an image, (S, S, 3) uint8, and the visible part of its area."""
        sample, pixels = self.samples[position], self.cache[position]
        settings = self.config.pixels if settings is None else settings
        height, width = pixels.shape[:2]
        rngs = (image_rng(self.config.seed, copy, self.cache.names[position]) for _ in range(2))
        *_, w, h = crop_box(width, height, settings, next(rngs))
        kind = f"{sample.modality} {sample.anatomy}"
        view = augment_image(pixels, SIZE, settings, next(rngs), kind=kind)
        return view, w * h / (width * height)

    def batch(self, step: int) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
        """Return pixels (B, 3, S, S), positions (B,), and whether a crop shows most of its image (B,)."""
        chosen = self.positions[np.random.default_rng([0, step]).choice(len(self.positions), BATCH, p=self.weights)]
        # An image may occur twice in a batch, so that the step alone does not name a copy.
        views = [self.view(int(position), step * BATCH + row) for row, position in enumerate(chosen)]
        return _stack([view for view, _ in views]), chosen, np.array([area >= MIN_AREA for _, area in views])


class Trainer:
    """The teacher, the average of its weights, and the optimizer, stored in one file."""

    def __init__(self, data: Data, work: Path) -> None:
        torch.manual_seed(0)
        sizes = {head.name: len(head.texts) for head in data.heads}
        self.data, self.work, self.step = data, work, 0
        self.model, self.average = (Teacher(sizes).to(memory_format=torch.channels_last) for _ in range(2))
        self.average.load_state_dict(self.model.state_dict())
        heads = list(self.model.heads.parameters())
        body = [parameter for parameter in self.model.network.parameters() if parameter.requires_grad]
        groups = [{"params": body, "rate": RATE}, {"params": heads, "rate": HEAD_RATE}]
        self.optimizer = torch.optim.AdamW(groups, lr=RATE, weight_decay=WEIGHT_DECAY)
        self.parts = {"model": self.model, "average": self.average, "optimizer": self.optimizer}
        if (work / "teacher.pt").exists():
            state = torch.load(work / "teacher.pt", map_location="cpu", weights_only=True)
            for name, part in self.parts.items():
                part.load_state_dict(state[name])
            self.step = state["step"]
            print(f"teacher: after step {self.step} of {STEPS}", flush=True)

    def run(self) -> None:
        """Train up to the last step."""
        begin, losses = time.time(), []
        with ThreadPoolExecutor(1) as pool:
            following = pool.submit(self.data.batch, self.step)
            while self.step < STEPS:
                batch, following = following.result(), pool.submit(self.data.batch, self.step + 1)
                losses.append(self._train_step(*batch))
                self.step += 1
                if self.step % LOG_EVERY == 0:
                    seconds = (time.time() - begin) / len(losses)
                    print(
                        f"step {self.step}  loss {np.mean(losses[-LOG_EVERY:]):.4f}  {seconds:.2f} s/step", flush=True
                    )
                if self.step % EPOCH == 0 or self.step == STEPS:
                    self._finish_epoch(float(np.mean(losses[-EPOCH:])))

    def _train_step(self, pixels: torch.Tensor, chosen: np.ndarray, whole: np.ndarray) -> float:
        torch.manual_seed(self.step)
        factor = min(1, (self.step + 1) / WARMUP) * (0.5 + 0.5 * math.cos(math.pi * self.step / STEPS)) + 0.01
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * factor
        self.model.train()
        loss = self._loss(pixels, chosen, whole)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()
        decay = min(EMA, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            states = (part.state_dict().values() for part in (self.average, self.model))
            for mean, value in zip(*states, strict=True):
                if mean.dtype.is_floating_point:
                    mean.lerp_(value, 1 - decay)
                else:
                    mean.copy_(value)
        return loss.item()

    def _loss(self, pixels: torch.Tensor, chosen: np.ndarray, whole: np.ndarray) -> torch.Tensor:
        _, logits = self.model(pixels)
        total = torch.zeros(())
        for head in self.data.heads:
            classes = head.classes[chosen]
            classes = np.where(whole, classes, IGNORED) if head.source else classes
            if (classes == IGNORED).all():
                continue
            loss = F.cross_entropy(
                logits[head.name],
                torch.from_numpy(classes),
                ignore_index=IGNORED,
                label_smoothing=SMOOTHING,
                reduction="sum",
            )
            total = total + WEIGHTS.get(head.name, 1.0) * loss / len(chosen)
        return total

    def _finish_epoch(self, loss: float) -> None:
        line = json.dumps({"step": self.step, "loss": round(loss, 4), **validate(self.average, self.data)})
        print(line, flush=True)
        with (self.work / "teacher_curve.jsonl").open("a") as file:
            file.write(line + "\n")
        state = {name: part.state_dict() for name, part in self.parts.items()} | {"step": self.step}
        with replace_file(self.work / "teacher.pt") as partial:
            torch.save(state, partial)


def _stack(views: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2)


@torch.inference_mode()
def validate(model: Teacher, data: Data) -> dict[str, float]:
    """Return the mean AUC of the finding sources, each AUC, and the accuracy of the other heads, on the split val."""
    model.eval()
    positions = np.flatnonzero(~data.training)
    outputs: dict[str, list[np.ndarray]] = {head.name: [] for head in data.heads}
    for start in range(0, len(positions), 64):
        views = [data.view(int(p), 0, PixelAugmentation())[0] for p in positions[start : start + 64]]
        for name, values in model(_stack(views))[1].items():
            outputs[name].append(values.softmax(dim=1).numpy())
    figures: dict[str, float] = {}
    for head in data.heads:
        classes = head.classes[positions]
        scores, classes = np.concatenate(outputs[head.name])[classes != IGNORED], classes[classes != IGNORED]
        present = [label for label in np.unique(classes) if (classes != label).any()]
        if head.source and present:
            figures[head.name] = float(np.mean([roc_auc_score(classes == c, scores[:, c]) for c in present]))
        elif not head.source and len(classes):
            figures[head.name] = float((scores.argmax(axis=1) == classes).mean())
    figures = {"mean_auc": float(np.mean([figures[source] for source in MEDMIX_FINDING_SOURCES])), **figures}
    return {name: round(value, 4) for name, value in figures.items()}


def train_teacher(config_path: Path, work: Path) -> Trainer:
    """Train the teacher up to its last step, and return it."""
    work.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(Data(config_path, work), work)
    trainer.run()
    return trainer


def main() -> None:
    """Parse the arguments and train."""
    parser = argparse.ArgumentParser(description="Fine-tune the teacher.")
    parser.add_argument("config", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for all intermediate files")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    train_teacher(args.config, args.work)


if __name__ == "__main__":
    main()
