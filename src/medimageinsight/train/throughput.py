"""Training speed: images per second, model FLOP utilisation (MFU), and the time spent waiting for data.

MFU is the rate of the model's own operations divided by the rate that the device reaches in one large matrix product,
measured at the start in the run's precision. The operations of the forward and backward pass that the trained
parameters need are counted, without those repeated for checkpointing or micro-batches.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch.utils.flop_counter import FlopCounterMode

from medimageinsight.network.checkpoint import create_meta_model
from medimageinsight.network.flops import image_flops, text_flops

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import Tensor, nn

    from medimageinsight.network.config import ModelConfig
    from medimageinsight.train.batches import Batch


def measure_peak(device: torch.device, dtype: torch.dtype, *, repeats: int = 5) -> float:
    """Measure the FLOP/s of one large square matrix product, the best of several."""
    size = 8192 if device.type == "cuda" else 1024
    a = torch.ones(size, size, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(repeats + 1):  # the first is a warm-up
        start = time.perf_counter()
        (a @ a)[0, 0].item()  # waits for the device
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def count_training_flops(
    config: ModelConfig, image_size: int, tokens: int, model: nn.Module, *, texts: bool = True
) -> float:
    """Count the operations of one image and its text, forward and backward, for the parameters that are trained.

    These are the model's parameters with ``requires_grad``; with low-rank updates, gradients also flow through frozen
    layers. With ``texts=False`` the text encoder does not run.
    """
    config = replace(config, image=replace(config.image, image_size=(image_size, image_size)))
    trained = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    low_rank = any(".lora." in name and requires_grad for name, requires_grad in trained.items())
    meta_model = create_meta_model(config)
    for name, parameter in meta_model.named_parameters():
        parameter.requires_grad_(trained.get(name, False))
    pixels = torch.zeros(1, 3, image_size, image_size, device="meta", requires_grad=low_rank)
    total = image_flops(config) * _backward_ratio(lambda: meta_model.encode_image(pixels).sum())
    if texts:
        ids = torch.zeros(1, tokens, dtype=torch.int64, device="meta")
        total += text_flops(config, tokens) * _backward_ratio(lambda: meta_model.encode_text(ids, ids).sum())
    return total


class ThroughputMeter:
    """Counts images and time between two rows of ``speed.csv``."""

    def __init__(self, peak: float, flops: float) -> None:
        self.peak, self.flops = peak, flops  # of this process, FLOP/s; of one image with its text
        self.restart()

    def restart(self) -> None:
        """Count from now."""
        self.start, self.waited, self.images = time.perf_counter(), 0.0, 0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Exclude the time of the block."""
        start = time.perf_counter()
        yield
        self.start += time.perf_counter() - start

    def timed(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield the batches; the time until each is available counts as waiting."""
        iterator = iter(batches)
        while True:
            start = time.perf_counter()
            batch = next(iterator, None)
            self.waited += time.perf_counter() - start
            if batch is None:
                return
            self.images += len(batch.pixel_values)
            yield batch

    def row(self, step: int, loss: float, world_size: int) -> dict[str, str]:
        """Return the speed of all processes since the previous row as `history.SPEED_COLUMNS`, and restart."""
        seconds = time.perf_counter() - self.start
        rate = self.images / seconds
        row = {
            "step": str(step),
            "loss": f"{loss:.4f}",
            "images_per_second": f"{rate * world_size:.1f}",
            "mfu": f"{rate * self.flops / self.peak:.4f}",
            "waited_for_data": f"{self.waited / seconds:.4f}",
        }
        self.restart()
        return row


def describe_speed(row: dict[str, str]) -> str:
    """Return one line of progress."""
    return (
        f"step {row['step']}  loss {row['loss']}  {float(row['images_per_second']):.0f} images/s  "
        f"MFU {float(row['mfu']):.1%}  waited for data {float(row['waited_for_data']):.1%}"
    )


def _backward_ratio(forward: Callable[[], Tensor]) -> float:
    """Return the operations of a forward and backward pass relative to the forward pass alone."""
    with FlopCounterMode(display=False) as counter:
        loss = forward()
        forward_flops = counter.get_total_flops()
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
    ratio: float = counter.get_total_flops() / max(1, forward_flops)
    return ratio
