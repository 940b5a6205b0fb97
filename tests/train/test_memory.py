"""The calculated memory of a step against that of real ones."""

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
from medimageinsight.train.memory import OVERHEAD, estimate_memory

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
PICTURES, TOKENS = 12, 40

# One real step in a process of its own: the peak of its memory above what it had before the network was built.
CHILD = """
import json, sys
import torch
from medimageinsight.bench.memory import _sum_of, _PROCESS, peak_bytes
from medimageinsight.network.config import RELEASED, ModelConfig
from medimageinsight.network.model import UniCLModel
from medimageinsight.train.average import Average
from medimageinsight.train.config import OptimizerConfig, ParallelConfig, StartConfig
from medimageinsight.train.data import Batch
from medimageinsight.train.distributed import Processes
from medimageinsight.train.layout import lay_out
from medimageinsight.train.optim import build_optimizer
from medimageinsight.train.start import choose_trained
from medimageinsight.train.step import StepSettings, compute_gradients

given = json.loads(sys.argv[1])
torch.set_num_threads(1)
config = ModelConfig.from_dict(given["config"])
warm = UniCLModel(config).encode_image(torch.ones(1, 3, 32, 32)).sum().backward()  # code is loaded where it is used
before = _sum_of(_PROCESS / "status", ("VmRSS",))
model = UniCLModel(config)
trained = choose_trained(model, StartConfig(checkpoint="", learn=given["learn"]))
for name, parameter in model.named_parameters():
    parameter.requires_grad_(name in trained)
lay_out(model, ParallelConfig(checkpointing=given["checkpointing"]), Processes())
optimizer = build_optimizer(model, OptimizerConfig(learning_rate=1e-4), config, trained)
average = Average(model, trained)
count, tokens, side = given["pictures"], given["tokens"], config.image.image_size[0]
ids = torch.ones(count, tokens, dtype=torch.int64)
for step in range(2):
    batch = Batch(torch.randn(count, 3, side, side), ids, ids, torch.eye(count, dtype=torch.bool))
    optimizer.zero_grad(set_to_none=True)
    compute_gradients(model, batch, step, StepSettings(seed=0), Processes())
    optimizer.step()
    average.update(step, 0.9)
print(peak_bytes() - before)
"""


def measure(*, learn: str, checkpointing: bool) -> int:
    """Bytes."""
    given = {
        "config": SMALL.to_dict(),
        "learn": learn,
        "checkpointing": checkpointing,
        "pictures": PICTURES,
        "tokens": TOKENS,
    }
    settings = {
        "PYTHONPATH": str(Path(medimageinsight.__file__).parent.parent),
        "MALLOC_MMAP_THRESHOLD_": "65536",  # what is freed goes back at once
    }
    done = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(given)], env=os.environ | settings, check=True, capture_output=True
    )
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak of a process's memory is Linux's to tell")
@pytest.mark.parametrize(("learn", "checkpointing"), [("full", False), ("lora", True)])
def test_a_smaller_size_needs_what_was_calculated(learn: str, checkpointing: bool) -> None:
    estimate = estimate_memory(
        SMALL,
        pictures=PICTURES,
        tokens=TOKENS,
        learn=StartConfig(checkpoint="", learn=learn),
        checkpointing=checkpointing,
    )
    measured = measure(learn=learn, checkpointing=checkpointing)
    assert measured == pytest.approx(estimate.total, rel=0.2)


def test_the_released_size_fits_a_gpu_of_24_gb_with_updates_and_checkpointing() -> None:
    learn = StartConfig(checkpoint="", learn="lora", rank=16)
    estimate = estimate_memory(RELEASED, pictures=8, learn=learn, precision="bf16", checkpointing=True)
    assert estimate.total + OVERHEAD < 24e9
    without = estimate_memory(RELEASED, pictures=8, learn=learn, precision="bf16")
    assert without.total + OVERHEAD > 24e9
    assert "total" in estimate.describe()


def test_memory_grows_with_pictures_and_falls_with_what_is_frozen() -> None:
    def total(**changes: object) -> int:
        return estimate_memory(**{"config": SMALL, "pictures": 4, "tokens": 8} | changes).total

    assert total(pictures=8) > total()
    assert total(learn=StartConfig(checkpoint="", learn="last")) < total()
    assert total(checkpointing=True) < total()
    wider = replace(SMALL, image=replace(SMALL.image, image_size=(320, 320)))
    assert total(config=wider) > 1.5 * total()
