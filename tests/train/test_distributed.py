"""Several real processes against one: the loss, the gradients of every weight, and shards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from medimageinsight.train.distributed import Processes
from medimageinsight.train.optim import clip_gradients
from medimageinsight.train.step import StepSettings, compute_gradients
from tests.train.gloo import BATCH, batch, compare_loss, compare_model, compare_shards, gradients, model, spawn

if TYPE_CHECKING:
    from pathlib import Path


def reference(images: torch.Tensor, texts: torch.Tensor, log_scale: torch.Tensor, positives: torch.Tensor):
    """Equations 2 to 4 of the UniCL paper, term by term, in float64."""

    def one_way(queries, keys, matches):
        total = torch.zeros((), dtype=torch.float64)
        for query, row in zip(queries, matches, strict=True):
            scores = [(log_scale.exp() * (query * key).sum()).exp() for key in keys]
            terms = [(score / sum(scores)).log() for score, match in zip(scores, row, strict=True) if match]
            total = total - sum(terms) / len(terms)
        return total / len(queries)

    return (one_way(images, texts, positives) + one_way(texts, images, positives.T)) / 2


@pytest.fixture(scope="module")
def alone() -> tuple[dict[str, torch.Tensor], float]:
    """Gradients of one process with the whole batch, and their norm."""
    one = model()
    compute_gradients(one, batch(), 0, StepSettings(seed=0), Processes())
    found = {name: value.clone() for name, value in gradients(one).items()}
    return found, float(clip_gradients(list(one.parameters()), 1e9))


@pytest.mark.parametrize("world", [1, 2, 4])
def test_the_gathered_loss_is_the_reference_gradients_included(world: int, monkeypatch) -> None:
    rng = np.random.default_rng(world)
    vectors = rng.standard_normal((2, BATCH, 6))
    images, texts = (torch.tensor(one / np.linalg.norm(one, axis=1, keepdims=True)) for one in vectors)
    # Captions 0 and 1 have no class: each is one of its own. The others are classes of two sources.
    classes = torch.tensor([10, 11, 0, 1, 0, 2, 3, 2])
    positives = classes[:, None] == classes[None, :]
    x, y = images.clone().requires_grad_(), texts.clone().requires_grad_()
    scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    loss = reference(x, y, scale, positives)
    loss.backward()
    expected = {"loss": loss.item(), "scale": scale.grad.item(), "images": x.grad, "texts": y.grad}
    if world == 1:
        compare_loss(Processes(), images, texts, positives, expected)
    else:
        spawn(compare_loss, world, images, texts, positives, expected)


def test_parts_of_a_batch_give_its_gradients_with_the_same_chance() -> None:
    whole_batch = model(drop=0.3)
    whole_batch.eval()  # no chance: parts draw theirs apart
    one = model(drop=0.3).eval()
    compute_gradients(whole_batch, batch(), 0, StepSettings(seed=0), Processes())
    compute_gradients(one, batch(), 0, StepSettings(seed=0, micro_batch=3), Processes())
    for name, value in gradients(whole_batch).items():
        assert (gradients(one)[name] - value).abs().max() < 1e-5 * value.abs().max(), name

    def drawn() -> dict[str, torch.Tensor]:
        chance = model(drop=0.3).train()
        compute_gradients(chance, batch(), 4, StepSettings(seed=0, micro_batch=3), Processes())
        return gradients(chance)

    first, second = drawn(), drawn()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("world", [2, 4])
def test_every_weight_has_the_gradient_of_one_process_with_the_whole_batch(world: int, alone) -> None:
    spawn(compare_model, world, alone[0])


def test_shards_have_the_gradients_too_and_resume_to_the_same_bits(alone, tmp_path: Path) -> None:
    spawn(compare_shards, 2, alone[0], alone[1], tmp_path)
