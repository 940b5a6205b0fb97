"""Several real processes against one: the loss, the gradients of every weight, and shards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from medimageinsight.train.distributed import Processes
from medimageinsight.train.gradients import compute_gradients
from medimageinsight.train.optim import clip_gradients
from tests.train.gloo_processes import (
    BATCH_SIZE,
    compare_loss,
    compare_model,
    compare_shards,
    create_batch,
    create_model,
    full_gradients,
    spawn,
)

if TYPE_CHECKING:
    from pathlib import Path


def reference(images: torch.Tensor, texts: torch.Tensor, log_scale: torch.Tensor, positives: torch.Tensor):
    """Compute equations 2 to 4 of the UniCL paper term by term, in float64."""

    def direction(queries, keys, matches):
        total = torch.zeros((), dtype=torch.float64)
        for query, row in zip(queries, matches, strict=True):
            scores = [(log_scale.exp() * (query * key).sum()).exp() for key in keys]
            terms = [(score / sum(scores)).log() for score, match in zip(scores, row, strict=True) if match]
            total = total - sum(terms) / len(terms)
        return total / len(queries)

    return (direction(images, texts, positives) + direction(texts, images, positives.T)) / 2


@pytest.fixture(scope="module")
def single_process() -> tuple[dict[str, torch.Tensor], float]:
    """Gradients of one process with the whole batch, and their norm."""
    model = create_model()
    compute_gradients(model, create_batch(), 0, Processes(), seed=0)
    gradients = {name: value.clone() for name, value in full_gradients(model).items()}
    return gradients, float(clip_gradients(list(model.parameters()), 1e9))


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_gathered_loss_and_gradients_equal_the_reference(world_size: int) -> None:
    rng = np.random.default_rng(world_size)
    vectors = rng.standard_normal((2, BATCH_SIZE, 6))
    images, texts = torch.tensor(vectors / np.linalg.norm(vectors, axis=2, keepdims=True))
    # Captions 0 and 1 have no class: each is a class of its own. The others are classes of two sources.
    classes = torch.tensor([10, 11, 0, 1, 0, 2, 3, 2])
    positives = classes[:, None] == classes[None, :]
    x, y = images.clone().requires_grad_(), texts.clone().requires_grad_()
    scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    loss = reference(x, y, scale, positives)
    loss.backward()
    expected = {"loss": loss.item(), "scale": scale.grad.item(), "images": x.grad, "texts": y.grad}
    if world_size == 1:
        compare_loss(Processes(), images, texts, positives, expected)
    else:
        spawn(compare_loss, world_size, images, texts, positives, expected)


def test_micro_batches_give_the_gradients_of_the_batch_with_repeatable_randomness() -> None:
    whole_batch = create_model(drop=0.3).eval()  # no randomness, which differs between chunks
    in_chunks = create_model(drop=0.3).eval()
    compute_gradients(whole_batch, create_batch(), 0, Processes(), seed=0)
    compute_gradients(in_chunks, create_batch(), 0, Processes(), seed=0, micro_batch=3)
    for name, value in full_gradients(whole_batch).items():
        assert (full_gradients(in_chunks)[name] - value).abs().max() < 1e-5 * value.abs().max(), name

    def random_gradients() -> dict[str, torch.Tensor]:
        model = create_model(drop=0.3).train()
        compute_gradients(model, create_batch(), 4, Processes(), seed=0, micro_batch=3)
        return full_gradients(model)

    first, second = random_gradients(), random_gradients()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("world_size", [2, 4])
def test_every_weight_has_the_gradient_of_a_single_process(world_size: int, single_process) -> None:
    spawn(compare_model, world_size, single_process[0])


def test_shards_have_the_same_gradients_and_resume_exactly(single_process, tmp_path: Path) -> None:
    spawn(compare_shards, 2, single_process[0], single_process[1], tmp_path)
