"""The estimated memory of a step against measurements."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import medimageinsight
from medimageinsight.network.config import RELEASED, ImageEncoderConfig, ModelConfig, TextEncoderConfig
from medimageinsight.train.config import StartConfig
from medimageinsight.train.memory_estimate import GPU_OVERHEAD, estimate_memory

SMALL = ModelConfig(
    embedding_dim=256,
    image=ImageEncoderConfig(
        image_size=(160, 160),
        widths=(64, 128, 256, 512),
        depths=(1, 1, 3, 1),
        heads=(2, 4, 8, 16),
        groups=(2, 4, 8, 16),
        window=5,
    ),
    text=TextEncoderConfig(vocab_size=4096, width=256, heads=4, layers=4),
)
IMAGES, TOKENS = 12, 40

# One real step in a process of its own: its peak memory minus that before the network was created.
CHILD = """
import json, sys
import torch
from medimageinsight.bench.memory import _sum_of, _PROCESS, peak_bytes
from medimageinsight.network.config import RELEASED, ModelConfig
from medimageinsight.network.model import UniCLModel
from medimageinsight.train.ema import WeightEMA
from medimageinsight.train.config import OptimizerConfig, ParallelConfig, StartConfig
from medimageinsight.train.batches import Batch
from medimageinsight.train.distributed import Processes
from medimageinsight.train.placement import parallelize
from medimageinsight.train.optim import build_optimizer
from medimageinsight.train.initialization import choose_trained
from medimageinsight.train.gradients import compute_gradients

given = json.loads(sys.argv[1])
torch.set_num_threads(1)
config = ModelConfig.from_dict(given["config"])
warm = UniCLModel(config).encode_image(torch.ones(1, 3, 32, 32)).sum().backward()  # loads code
before = _sum_of(_PROCESS / "status", ("VmRSS",))
model = UniCLModel(config)
trained = choose_trained(model, StartConfig(checkpoint="", learn=given["learn"]))
for name, parameter in model.named_parameters():
    parameter.requires_grad_(name in trained)
parallelize(model, ParallelConfig(checkpointing=given["checkpointing"]), Processes())
optimizer = build_optimizer(model, OptimizerConfig(learning_rate=1e-4), config, trained)
average = WeightEMA(model, trained)
count, tokens, side = given["images"], given["tokens"], config.image.image_size[0]
ids = torch.ones(count, tokens, dtype=torch.int64)
for step in range(2):
    batch = Batch(torch.randn(count, 3, side, side), ids, ids, torch.eye(count, dtype=torch.bool))
    optimizer.zero_grad(set_to_none=True)
    compute_gradients(model, batch, step, Processes(), seed=0)
    optimizer.step()
    average.update(step, 0.9)
print(peak_bytes() - before)
"""


def measure(*, learn: str, checkpointing: bool) -> int:
    """Return the peak bytes of a training step."""
    given = {
        "config": SMALL.to_dict(),
        "learn": learn,
        "checkpointing": checkpointing,
        "images": IMAGES,
        "tokens": TOKENS,
    }
    settings = {
        "PYTHONPATH": str(Path(medimageinsight.__file__).parent.parent),
        "MALLOC_MMAP_THRESHOLD_": "65536",  # return freed memory to the system at once
    }
    done = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(given)], env=os.environ | settings, check=True, capture_output=True
    )
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read from /proc")
@pytest.mark.parametrize(("learn", "checkpointing"), [("full", False), ("lora", True)])
def test_estimate_matches_a_measured_step_of_a_smaller_model(learn: str, checkpointing: bool) -> None:
    estimate = estimate_memory(
        SMALL,
        images=IMAGES,
        tokens=TOKENS,
        start=StartConfig(checkpoint="", learn=learn),
        checkpointing=checkpointing,
    )
    measured = measure(learn=learn, checkpointing=checkpointing)
    assert measured == pytest.approx(estimate.total, rel=0.2)


def test_released_size_fits_24_gb_with_lora_and_checkpointing() -> None:
    start = StartConfig(checkpoint="", learn="lora", rank=16)
    estimate = estimate_memory(RELEASED, images=8, start=start, precision="bf16", checkpointing=True)
    assert estimate.total + GPU_OVERHEAD < 24e9
    without = estimate_memory(RELEASED, images=8, start=start, precision="bf16")
    assert without.total + GPU_OVERHEAD > 24e9
    assert "total" in estimate.describe()


def test_memory_grows_with_images_and_shrinks_with_frozen_parameters() -> None:
    def total(**changes: object) -> int:
        return estimate_memory(**{"config": SMALL, "images": 4, "tokens": 8} | changes).total

    assert total(images=8) > total()
    assert total(start=StartConfig(checkpoint="", learn="last")) < total()
    assert total(checkpointing=True) < total()
    wider = replace(SMALL, image=replace(SMALL.image, image_size=(320, 320)))
    assert total(config=wider) > 1.5 * total()
