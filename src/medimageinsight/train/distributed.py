"""The processes that train one model, and their communication.

Every process computes the loss of the whole batch from the embeddings of all processes, and the gradient of a weight is
the mean over processes. For this mean to equal the gradient of one process with the whole batch, the gradient of an
embedding is summed over processes in the backward pass: the embedding is part of the loss of each.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from medimageinsight.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

LONG_TIMEOUT = timedelta(hours=12)  # before the first step the others wait while the main process checks every image
BUCKET_SIZE = 1 << 24  # gradients reduced at once: 64 MiB of float32


@dataclass(frozen=True, kw_only=True)
class Processes:
    """This process and the number of those that train together."""

    rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    long_timeout_group: dist.ProcessGroup | None = None  # the same processes, with `LONG_TIMEOUT`

    @property
    def is_main(self) -> bool:
        """True for the process that writes files and logs."""
        return self.rank == 0

    def wait(self) -> None:
        """Block until all processes have called this.

        Raises:
            ConfigError: Another process ended instead (``process_ended``).
        """
        if self.world_size > 1:
            try:
                dist.barrier(self.long_timeout_group)
            except RuntimeError:
                raise ConfigError("another process ended: see its output", code="process_ended") from None

    def broadcast(self, value: float) -> float:
        """Return the main process's value on all processes."""
        if self.world_size == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.broadcast(shared, 0)
        return float(shared.item())

    def any(self, value: bool) -> bool:
        """Return whether the value is true on at least one process: they receive a signal at different times."""
        if self.world_size == 1:
            return value
        shared = torch.tensor(float(value), device=self.device)
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        return bool(shared.item())

    def gather(self, rows: Tensor) -> Tensor:
        """Concatenate the rows (N, D) of all processes by rank: (world_size * N, D), with gradients."""
        return rows if self.world_size == 1 else _Gather.apply(rows, self.rank, self.world_size)  # type: ignore[no-untyped-call]

    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace each gradient by its mean over processes. FSDP does this itself for sharded parameters."""
        if self.world_size == 1:
            return
        whole = [parameter for parameter in parameters if not isinstance(parameter, DTensor)]
        self.average([parameter.grad for parameter in whole if parameter.grad is not None])

    def average(self, tensors: list[Tensor]) -> None:
        """Replace each tensor by its mean over processes."""
        if self.world_size == 1:
            return
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.flatten() for tensor in bucket])
            dist.all_reduce(flat)
            flat /= self.world_size
            means = torch.split(flat, [tensor.numel() for tensor in bucket])
            for tensor, mean in zip(bucket, means, strict=True):
                tensor.copy_(mean.view_as(tensor))


def join_processes(device: Literal["auto", "cpu", "cuda"] = "auto") -> Processes:
    """Join the processes that ``torchrun`` started; without it, return a single process.

    Raises:
        ConfigError: A GPU is requested and there is none for this process (``gpu_missing``).
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    if cuda and local_rank >= torch.cuda.device_count():
        raise ConfigError(
            f"config.parallel.device: expected {local_rank + 1} or more GPUs for cuda, got {torch.cuda.device_count()}:"
            " use cpu, start fewer processes, or install a PyTorch for your GPU",
            code="gpu_missing",
        )
    own_device = torch.device("cuda", local_rank) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(own_device)
    if world_size > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if cuda else "gloo")
    group = dist.new_group(backend="gloo", timeout=LONG_TIMEOUT) if world_size > 1 else None
    return Processes(rank=rank, world_size=world_size, device=own_device, long_timeout_group=group)


def leave_processes() -> None:
    """Undo `join_processes`."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def local_shard(tensor: Tensor) -> Tensor:
    """Return this process's part, or all of a tensor that is not sharded. Memory is shared."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def full_tensor(tensor: Tensor) -> Tensor:
    """Return the whole tensor, detached, on every process; a collective call."""
    tensor = tensor.detach()
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def shard_like(value: Tensor, like: Tensor) -> Tensor:
    """Return a whole tensor on the device, and with the shards, of `like`."""
    if isinstance(like, DTensor):
        return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)
    return value.to(like.device)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, rank: int, world_size: int) -> Tensor:  # noqa: ANN401 - torch's own type
        ctx.rank, ctx.count = rank, len(rows)
        parts = [torch.empty_like(rows) for _ in range(world_size)]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        summed = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed[ctx.rank * ctx.count : (ctx.rank + 1) * ctx.count], None, None


def _buckets(gradients: list[Tensor]) -> Iterable[list[Tensor]]:
    """Group the gradients in order, about `BUCKET_SIZE` numbers per group."""
    bucket: list[Tensor] = []
    for gradient in gradients:
        bucket.append(gradient)
        if sum(member.numel() for member in bucket) >= BUCKET_SIZE:
            yield bucket
            bucket = []
    if bucket:
        yield bucket
