"""Real processes that communicate over gloo, and the work of each of them in the tests."""

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
from medimageinsight.train.batches import Batch, own_slice
from medimageinsight.train.checkpoint import load_state, save_state
from medimageinsight.train.config import OptimizerConfig, ParallelConfig
from medimageinsight.train.distributed import Processes, full_tensor
from medimageinsight.train.ema import WeightEMA
from medimageinsight.train.gradients import compute_gradients
from medimageinsight.train.loss import unicl_loss
from medimageinsight.train.optim import build_optimizer, clip_gradients
from medimageinsight.train.placement import parallelize

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BATCH_SIZE = 8

# Without stochastic depth and dropout, so that several processes compute the same as one.
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


def spawn(work: Callable[..., None], world_size: int, *arguments: Any) -> None:
    """Run ``work(processes, *arguments)`` in several processes; an error in one of them is raised here."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    mp.spawn(_enter, (work, world_size, port, arguments), nprocs=world_size)


def _enter(rank: int, work: Callable[..., None], world_size: int, port: int, arguments: tuple[Any, ...]) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=world_size)
    work(Processes(rank=rank, world_size=world_size), *arguments)
    dist.barrier()  # no process exits while another still communicates with it
    dist.destroy_process_group()
    os._exit(0)  # torch's threads can abort an interpreter that exits normally; an error was raised before


def create_batch() -> Batch:
    """Return a whole batch of three classes."""
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(1, 38, (BATCH_SIZE, 12), generator=generator)
    ids[:, 9] = 39  # end of text
    classes = torch.tensor([0, 1, 2, 0, 1, 2, 2, 1])
    pixels = torch.randn(BATCH_SIZE, 3, 32, 32, generator=generator)
    return Batch(
        pixel_values=pixels.contiguous(memory_format=torch.channels_last),
        input_ids=ids,
        attention_mask=(torch.arange(12) < 10).long().expand(BATCH_SIZE, -1),
        positives=classes[:, None] == classes[None, :],
    )


def own_part(processes: Processes) -> Batch:
    """Return a process's part of the batch."""
    batch, own = create_batch(), own_slice(BATCH_SIZE, processes.rank, processes.world_size)
    return replace(
        batch,
        pixel_values=batch.pixel_values[own],
        input_ids=batch.input_ids[own],
        attention_mask=batch.attention_mask[own],
    )


def create_model(*, drop: float = 0.0) -> UniCLModel:
    """Return a network with the same weights for every call."""
    torch.manual_seed(1)
    image, text = replace(MODEL.image, drop_path=drop), replace(MODEL.text, dropout=drop)
    return UniCLModel(replace(MODEL, image=image, text=text))


def full_gradients(model: UniCLModel) -> dict[str, torch.Tensor]:
    """Return the full gradients by name."""
    parameters = model.named_parameters()
    return {name: full_tensor(parameter.grad) for name, parameter in parameters if parameter.grad is not None}


def compare_loss(
    processes: Processes, images: torch.Tensor, texts: torch.Tensor, positives: torch.Tensor, expected: dict[str, Any]
) -> None:
    """Compare the gathered loss, and the mean of its gradients over processes, with the reference."""
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        own = own_slice(len(images), processes.rank, processes.world_size)
        x, y = (vectors[own].to(dtype).requires_grad_() for vectors in (images, texts))
        scale = torch.tensor(2.0, dtype=dtype, requires_grad=True)
        loss = unicl_loss(processes.gather(x), processes.gather(y), scale, positives)
        loss.backward()
        processes.average_gradients([scale])
        assert abs(loss.item() - expected["loss"]) < tolerance
        assert abs(scale.grad.item() - expected["scale"]) < tolerance
        # The mean over processes divides each embedding's gradient by their number.
        for vectors, gradient in ((x, expected["images"]), (y, expected["texts"])):
            assert (vectors.grad.double() / processes.world_size - gradient[own]).abs().max() < tolerance


def compare_model(processes: Processes, expected: dict[str, torch.Tensor]) -> None:
    """Compare the gradients of all weights, with and without micro-batches, with those of one process."""
    for micro_batch in (None, 1):
        model = create_model()
        compute_gradients(model, own_part(processes), 0, processes, seed=0, micro_batch=micro_batch)
        processes.average_gradients(list(model.parameters()))
        _compare_gradients(full_gradients(model), expected)


def compare_shards(processes: Processes, expected: dict[str, torch.Tensor], norm: float, folder: Path) -> None:
    """With FSDP, compare gradients, their norm, a step, and a state that is saved and loaded."""
    trained = {name for name, _ in create_model().named_parameters()}

    def create() -> tuple[UniCLModel, torch.optim.Optimizer, WeightEMA]:
        model = parallelize(create_model(), ParallelConfig(strategy="shard", checkpointing=True), processes)
        optimizer_config = OptimizerConfig(learning_rate=1e-3, layer_decay=0.9)
        return model, build_optimizer(model, optimizer_config, MODEL, trained), WeightEMA(model, trained)

    def step(model: UniCLModel, optimizer: torch.optim.Optimizer, average: WeightEMA) -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        compute_gradients(model, own_part(processes), 0, processes, seed=0, micro_batch=2)
        processes.average_gradients(list(model.parameters()))
        if not optimizer.state_dict()["state"]:
            _compare_gradients(full_gradients(model), expected)
        before = clip_gradients(list(model.parameters()), 0.5)
        optimizer.step()
        average.update(0, 0.9)
        return before

    model, optimizer, average = create()
    assert abs(float(step(model, optimizer, average)) - norm) < 1e-5 * norm
    save_state(folder, model, optimizer, average.values, {"done": 1}, write=processes.is_main)
    processes.wait()
    resumed_model, resumed_optimizer, resumed_average = create()
    assert load_state(folder, resumed_model, resumed_optimizer, resumed_average.values) == {"done": 1}
    step(model, optimizer, average)
    step(resumed_model, resumed_optimizer, resumed_average)
    for name, value in model.state_dict().items():
        assert torch.equal(full_tensor(value), full_tensor(resumed_model.state_dict()[name])), name
    for name, value in average.values.items():
        assert torch.equal(full_tensor(value), full_tensor(resumed_average.values[name])), name


def _compare_gradients(gradients: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert gradients.keys() == expected.keys()
    errors = {
        name: float((gradients[name] - value).abs().max() / value.abs().max()) for name, value in expected.items()
    }
    # Rounding of float32 reaches 1e-4 of a gradient whose parts cancel; a missing part would be off by far more.
    assert max(errors.values()) < 1e-3, errors
