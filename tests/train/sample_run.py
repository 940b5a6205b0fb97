"""A run small enough for tests: a config, and a table of synthetic images of two kinds."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = {
    "name": "speck",
    "seed": 3,
    "model": {
        "embedding_dim": 8,
        "image": {
            "image_size": [32, 32],
            "widths": [8, 8, 8, 8],
            "depths": [1, 1, 1, 1],
            "heads": [1, 1, 1, 1],
            "groups": [1, 1, 1, 1],
            "window": 4,
            "drop_path": 0.2,
        },
        "text": {"vocab_size": 530, "context_length": 16, "width": 8, "heads": 2, "layers": 1, "dropout": 0.1},
    },
    "tokenizer": {"vocab_size": 530},
    "data": {"table": "table.csv"},
    "stages": [
        {"steps": 4, "image_size": 32, "batch_size": 4, "freeze": ["^lang_encoder"]},
        {"steps": 2, "image_size": 32, "batch_size": 6, "logit_scale": 30.0, "freeze": ["convs.[01]"]},
        {"steps": 2, "image_size": 32, "batch_size": 6, "freeze": ["convs.[01]"], "learning_rate": 0.0005},
    ],
    "optimizer": {"learning_rate": 0.001, "warmup_steps": 2, "weight_decay": 0.1},
    "images": {"rotation": 10, "scale": [0.8, 1.0], "noise": 0.02, "erase": 0.5},
    "captions": {"drop_finding": 0.3, "shuffle": 0.5},
    "evaluate_every": 3,
    "checkpoint_every": 2,
}

# A YAML of the hosted (Azure ML) fine-tuning.
AZUREML = """
TASK: UniCLTask
user_dir: ""
FP16: false
EVAL_PER_OPTIM_STEPS: 3
IMAGE_ENCODER:
  IMAGE_SIZE: [32, 32]
  SPEC: {DROP_PATH_RATE: 0.3, ENABLE_CHECKPOINT: true}
AUG:
  SCALE: [0.8, 1.0]
  RATIO: [0.75, 1.3333333]
  TORCHVISION_AUG: {AUTO_AUGMENT: ta_wide, RE_PROB: 0.25, HFLIP: 0.5, VFLIP: 0.0}
TRAIN: {BATCH_SIZE_TOTAL: 4, BATCH_SIZE_PER_GPU: 2}
START_LEARNING_RATE: 0.001
MAX_NUM_EPOCHS: 2
WORKERS: 1
WEIGHT_SMOOTHING: {decay: 0.9}
OPTIMIZER_PARAMS: {weight_decay: 0.4}
CUSTOMIZED_PARAMS_CONF:
  NO_WEIGHT_DECAY_MODULES: [dw, norm]
  WEIGHT_DECAY_PATTERNS: {"\\\\.bias$": 0.0, logit_scale: 0.0}
  LR_SCALE_PATTERNS: {"^lang_encoder": 0.1}
  FREEZE_PATTERNS: ["^image_encoder\\\\.convs\\\\.0"]
LR_SCHEDULER_PARAMS: {sched: cosine, warmup_steps: 1, warmup_lr: 0.0, min_lr: 0.00001}
"""


def make_table(folder: Path) -> Path:
    """Write a table of 16 images of two kinds, 4 of them for validation."""
    rng = np.random.default_rng(0)
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "caption", "modality", "anatomy", "finding", "label", "source", "split"])
        for i in range(16):
            finding = ("Bright Spot", "No Finding")[i % 2]
            pixels = rng.integers(0, 60, (40, 48, 3), dtype=np.uint8)
            pixels[10:20, 10:20] += np.uint8(180 * (1 - i % 2))
            Image.fromarray(pixels).save(folder / f"{i}.png")
            split = "train" if i < 12 else "val"
            writer.writerow([f"{i}.png", f"phantom box {finding}", "phantom", "box", finding, finding, "boxes", split])
    return folder / "table.csv"


def quiet(line: str) -> None:
    """Discard a line of progress."""
