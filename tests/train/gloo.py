"""Real processes that meet over gloo, and what each of them does in the tests of several processes."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from medimageinsight.network.config import ImageEncoderConfig, ModelConfig, TextEncoderConfig
from medimageinsight.network.model import UniCLModel
from medimageinsight.train.average import Average
from medimageinsight.train.checkpoint import load_state, save_state
from medimageinsight.train.config import OptimizerConfig, ParallelConfig
from medimageinsight.train.data import Batch
from medimageinsight.train.distributed import Processes, whole
from medimageinsight.train.layout import lay_out
from medimageinsight.train.loss import unicl_loss
from medimageinsight.train.optim import build_optimizer, clip_gradients
from medimageinsight.train.step import StepSettings, compute_gradients

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BATCH = 8

# No chance in it, so that several processes compute what one does.
MODEL = ModelConfig(
    embedding_dim=8,
    image=ImageEncoderConfig(
        image_size=(32, 32),
        widths=(8, 8, 8, 16),
        depths=(1, 1, 1, 1),
        heads=(1, 1, 1, 2),
        groups=(1, 1, 1, 2),
        window=4,
    ),
    text=TextEncoderConfig(vocab_size=40, context_length=12, width=8, heads=2, layers=2),
)


def spawn(work: Callable[..., None], world: int, *arguments: Any) -> None:
    """Runs ``work(processes, *arguments)`` in so many processes; an error in one is raised here."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_enter, (work, world, port, arguments), nprocs=world)


def _enter(rank: int, work: Callable[..., None], world: int, port: int, arguments: tuple[Any, ...]) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=world)
    work(Processes(rank=rank, world=world), *arguments)
    dist.barrier()  # none goes while another still speaks to it
    dist.destroy_process_group()
    os._exit(0)  # torch's threads may abort an interpreter that ends in the usual way; an error was raised before


def batch() -> Batch:
    """A whole batch, of three classes."""
    chance = torch.Generator().manual_seed(5)
    ids = torch.randint(1, 38, (BATCH, 12), generator=chance)
    ids[:, 9] = 39  # end of text
    classes = torch.tensor([0, 1, 2, 0, 1, 2, 2, 1])
    return Batch(
        pixel_values=torch.randn(BATCH, 3, 32, 32, generator=chance).contiguous(memory_format=torch.channels_last),
        input_ids=ids,
        attention_mask=(torch.arange(12) < 10).long().expand(BATCH, -1),
        positives=classes[:, None] == classes[None, :],
    )


def own(part: Batch, processes: Processes) -> Batch:
    """A process's part of it."""
    count = BATCH // processes.world
    mine = slice(processes.rank * count, (processes.rank + 1) * count)
    return replace(
        part,
        pixel_values=part.pixel_values[mine],
        input_ids=part.input_ids[mine],
        attention_mask=part.attention_mask[mine],
    )


def model(*, drop: float = 0.0) -> UniCLModel:
    """The same weights every time."""
    torch.manual_seed(1)
    image, text = replace(MODEL.image, drop_path=drop), replace(MODEL.text, dropout=drop)
    return UniCLModel(replace(MODEL, image=image, text=text))


def gradients(one: UniCLModel) -> dict[str, torch.Tensor]:
    """Whole ones, by name."""
    return {name: whole(parameter.grad) for name, parameter in one.named_parameters() if parameter.grad is not None}


def compare_loss(
    processes: Processes, images: torch.Tensor, texts: torch.Tensor, positives: torch.Tensor, expected: dict[str, Any]
) -> None:
    """The gathered loss and the mean over processes of its gradients, against the reference's."""
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        count = len(images) // processes.world
        mine = slice(processes.rank * count, (processes.rank + 1) * count)
        x, y = (all_of[mine].to(dtype).requires_grad_() for all_of in (images, texts))
        scale = torch.tensor(2.0, dtype=dtype, requires_grad=True)
        loss = unicl_loss(processes.gather(x), processes.gather(y), scale, positives)
        loss.backward()
        processes.average_gradients([scale])
        assert abs(loss.item() - expected["loss"]) < tolerance
        assert abs(scale.grad.item() - expected["scale"]) < tolerance
        for one, all_of in ((x, expected["images"]), (y, expected["texts"])):  # in the mean, 1 / world of each counts
            assert (one.grad.double() / processes.world - all_of[mine]).abs().max() < tolerance


def compare_model(processes: Processes, expected: dict[str, torch.Tensor]) -> None:
    """Gradients of all weights, replicated and in parts, against one process's with the whole batch."""
    for micro_batch in (None, 1):
        one = model()
        settings = StepSettings(seed=0, micro_batch=micro_batch)
        compute_gradients(one, own(batch(), processes), 0, settings, processes)
        processes.average_gradients(list(one.parameters()))
        _check(gradients(one), expected)


def compare_shards(processes: Processes, expected: dict[str, torch.Tensor], norm: float, folder: Path) -> None:
    """With FSDP: gradients, their norm, a step, and a state that is saved and loaded."""
    settings = StepSettings(seed=0, micro_batch=2)
    trained = {name for name, _ in model().named_parameters()}

    def begin() -> tuple[UniCLModel, torch.optim.Optimizer, Average]:
        laid = lay_out(model(), ParallelConfig(strategy="shard", checkpointing=True), processes)
        rates = OptimizerConfig(learning_rate=1e-3, layer_decay=0.9)
        return laid, build_optimizer(laid, rates, MODEL, trained), Average(laid, trained)

    def step(one: UniCLModel, optimizer: torch.optim.Optimizer, average: Average) -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        compute_gradients(one, own(batch(), processes), 0, settings, processes)
        processes.average_gradients(list(one.parameters()))
        if not optimizer.state_dict()["state"]:
            _check(gradients(one), expected)
        before = clip_gradients(list(one.parameters()), 0.5)
        optimizer.step()
        average.update(0, 0.9)
        return before

    one, optimizer, average = begin()
    assert abs(float(step(one, optimizer, average)) - norm) < 1e-5 * norm
    save_state(folder, one, optimizer, average.values, {"done": 1}, write=processes.is_main)
    processes.wait()
    again, other, other_average = begin()
    assert load_state(folder, again, other, other_average.values) == {"done": 1}
    step(one, optimizer, average)
    step(again, other, other_average)
    for name, value in one.state_dict().items():
        assert torch.equal(whole(value), whole(again.state_dict()[name])), name
    for name, value in average.values.items():
        assert torch.equal(whole(value), whole(other_average.values[name])), name


def _check(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    off = {name: float((found[name] - value).abs().max() / value.abs().max()) for name, value in expected.items()}
    assert max(off.values()) < 1e-5, off
