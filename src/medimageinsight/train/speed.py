"""How fast a run is: pictures a second, model FLOP utilisation (MFU), and how long it waits for data.

MFU is the model's own operations a second over what the device reaches in one large matrix product, measured at the
start in the run's precision. Counted are operations of the forward and the backward pass as the learned parameters
need them, without what checkpointing or parts of a batch compute again.
"""

from __future__ import annotations

import csv
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch.utils.flop_counter import FlopCounterMode

from medimageinsight.files.atomic import replace_file
from medimageinsight.network.checkpoint import meta_model
from medimageinsight.network.flops import image_flops, text_flops

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from torch import nn

    from medimageinsight.network.config import ModelConfig
    from medimageinsight.train.data import Batch

SIDES = {"cpu": 1024, "cuda": 8192}  # of the square matrices whose product shows a device's peak
COLUMNS = ("step", "loss", "images_per_second", "mfu", "waited_for_data")


def measure_peak(device: torch.device, dtype: torch.dtype, *, repeats: int = 5) -> float:
    """FLOP/s of one large square matrix product, the best of some."""
    side = SIDES.get(device.type, 1024)
    a = torch.ones(side, side, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(repeats + 1):  # the first one warms up
        start = time.perf_counter()
        (a @ a)[0, 0].item()  # waits for the device
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best


def flops_of_training(config: ModelConfig, size: int, tokens: int, model: nn.Module, *, texts: bool = True) -> float:
    """Of one picture and its text, forward and backward, given which parameters are learned.

    Args:
        config: The network's.
        size: The picture's side, pixels.
        tokens: The text's length.
        model: Whose ``requires_grad`` count; with low-rank updates, gradients flow through all that is frozen.
        texts: Whether the text encoder runs.
    """
    config = replace(config, image=replace(config.image, image_size=(size, size)))
    learned = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    updated = any(".lora." in name and learns for name, learns in learned.items())
    twin = meta_model(config)
    for name, parameter in twin.named_parameters():
        parameter.requires_grad_(learned.get(name, False))
    pixels = torch.zeros(1, 3, size, size, device="meta", requires_grad=updated)
    total = image_flops(config) * _backward_ratio(lambda: twin.encode_image(pixels).sum())
    if texts:
        ids = torch.zeros(1, tokens, dtype=torch.int64, device="meta")
        total += text_flops(config, tokens) * _backward_ratio(lambda: twin.encode_text(ids, ids).sum())
    return total


class Speedometer:
    """Counts pictures and time between log lines."""

    def __init__(self, peak: float, flops: float) -> None:
        self.peak, self.flops = peak, flops  # of this process, FLOP/s; of one picture with its text
        self.restart()

    def restart(self) -> None:
        """Counts from now."""
        self.start, self.waited, self.pictures = time.perf_counter(), 0.0, 0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What is done within the block is not training."""
        start = time.perf_counter()
        yield
        self.start += time.perf_counter() - start

    def timed(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The same batches; the time until each is there counts as waiting."""
        iterator = iter(batches)
        while True:
            start = time.perf_counter()
            batch = next(iterator, None)
            self.waited += time.perf_counter() - start
            if batch is None:
                return
            self.pictures += len(batch.pixel_values)
            yield batch

    def row(self, step: int, loss: float, world: int) -> dict[str, str]:
        """Of all processes since the last time, which starts anew."""
        seconds = time.perf_counter() - self.start
        rate = self.pictures / seconds
        row = {
            "step": str(step),
            "loss": f"{loss:.4f}",
            "images_per_second": f"{rate * world:.1f}",
            "mfu": f"{rate * self.flops / self.peak:.4f}",
            "waited_for_data": f"{self.waited / seconds:.4f}",
        }
        self.restart()
        return row


def describe(row: dict[str, str]) -> str:
    """One line of progress."""
    return (
        f"step {row['step']}  loss {row['loss']}  {float(row['images_per_second']):.0f} images/s  "
        f"MFU {float(row['mfu']):.1%}  waited for data {float(row['waited_for_data']):.1%}"
    )


def write_speed(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """The whole table, replaced in one move."""
    with replace_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def _backward_ratio(forward: object) -> float:
    """Operations of a forward and backward pass over those of the forward pass alone."""
    with FlopCounterMode(display=False) as counter:
        loss = forward()  # type: ignore[operator]
        ahead = counter.get_total_flops()
        if loss.requires_grad:
            loss.backward()
    ratio: float = counter.get_total_flops() / max(1, ahead)
    return ratio
