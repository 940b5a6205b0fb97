"""Several processes that train one model: who they are, and what they tell each other.

Every process computes the loss of the whole batch from everybody's embeddings, and the gradient of a weight is the mean
over processes. For that mean to be the gradient of one process with the whole batch, an embedding's gradient is summed
over processes on its way back: each of them saw it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor

from medimageinsight.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

PATIENCE = timedelta(hours=12)  # before the first step: the main process looks at every picture
BUCKET = 1 << 24  # gradients sent at once: 64 MiB of float32


@dataclass(frozen=True, kw_only=True)
class Processes:
    """This process among those that train together."""

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    patient: dist.ProcessGroup | None = None  # the same processes, who wait for each other for hours

    @property
    def is_main(self) -> bool:
        """Whether it is the one that writes and talks."""
        return self.rank == 0

    def wait(self) -> None:
        """Returns when all have come here.

        Raises:
            ConfigError: One has ended instead (``process_ended``).
        """
        if self.world > 1:
            try:
                dist.barrier(self.patient)
            except RuntimeError:
                raise ConfigError("another process ended: see what it says", code="process_ended") from None

    def agree(self, value: float) -> float:
        """The main process's value, in all."""
        if self.world == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.broadcast(shared, 0)
        return float(shared.item())

    def mean(self, value: float) -> float:
        """Over processes."""
        if self.world == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(shared)
        return float(shared.item()) / self.world

    def gather(self, rows: Tensor) -> Tensor:
        """Everybody's rows (N, D) in the order of ranks (world * N, D), with gradients."""
        return rows if self.world == 1 else _Gather.apply(rows, self.rank, self.world)  # type: ignore[no-untyped-call]

    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Each gradient becomes its mean over processes. Sharded parameters have theirs from FSDP already."""
        if self.world == 1:
            return
        gradients = [one.grad for one in parameters if one.grad is not None and not is_sharded(one)]
        for bucket in _buckets(gradients):
            flat = torch.cat([one.flatten() for one in bucket])
            dist.all_reduce(flat)
            flat /= self.world
            for one, mean in zip(bucket, torch.split(flat, [one.numel() for one in bucket]), strict=True):
                one.copy_(mean.view_as(one))


def join_processes(device: Literal["auto", "cpu", "cuda"] = "auto") -> Processes:
    """Meets the other processes where ``torchrun`` started this one; alone otherwise.

    Raises:
        ConfigError: There is no GPU where one is asked for (``gpu_missing``).
    """
    world, rank, local = (
        int(os.environ.get(name, default))
        for name, default in (("WORLD_SIZE", "1"), ("RANK", "0"), ("LOCAL_RANK", "0"))
    )
    cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    if cuda and local >= torch.cuda.device_count():
        raise ConfigError(
            f"config.parallel.device: expected {local + 1} or more GPUs for cuda, got {torch.cuda.device_count()}: use "
            "cpu, start fewer processes, or install a PyTorch for your GPU",
            code="gpu_missing",
        )
    place = torch.device("cuda", local) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(place)
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if cuda else "gloo")
    patient = dist.new_group(backend="gloo", timeout=PATIENCE) if world > 1 else None
    return Processes(rank=rank, world=world, device=place, patient=patient)


def leave_processes() -> None:
    """The end of `join_processes`."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def is_sharded(tensor: Tensor) -> bool:
    """Whether each process holds a part of it."""
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


def own_shard(tensor: Tensor) -> Tensor:
    """The part of this process; all of it where it is not sharded. Shares its memory."""
    from torch.distributed.tensor import DTensor

    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of it, on every process; all have to call."""
    from torch.distributed.tensor import DTensor

    tensor = tensor.detach()
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def sharded_as(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor as `like` lies: on its device, in its shards."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if isinstance(like, DTensor):
        return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)
    return value.to(like.device)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, rank: int, world: int) -> Tensor:  # noqa: ANN401 - torch's own type
        ctx.rank, ctx.count = rank, len(rows)
        parts = [torch.empty_like(rows) for _ in range(world)]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        summed = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed[ctx.rank * ctx.count : (ctx.rank + 1) * ctx.count], None, None


def _buckets(gradients: list[Tensor]) -> Iterable[list[Tensor]]:
    """In order, of about `BUCKET` numbers each."""
    bucket: list[Tensor] = []
    for one in gradients:
        bucket.append(one)
        if sum(each.numel() for each in bucket) >= BUCKET:
            yield bucket
            bucket = []
    if bucket:
        yield bucket
