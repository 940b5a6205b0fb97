"""Each rewriting preserves the embeddings, alone and combined, in PyTorch and in its graph."""

from __future__ import annotations

import math

import numpy as np
import onnxruntime as ort
import pytest
import torch
import yaml

from medimageinsight.export import REWRITINGS, export_image_encoder, export_text_encoder, rewrite, rewriting
from medimageinsight.export.rewriting.attention import attend_in_steps, attention_operator
from medimageinsight.export.rewriting.window_attention import cut_windows
from medimageinsight.network import ImageEncoderConfig, ModelConfig, TextEncoderConfig, UniCLModel
from tests.golden.model import CONFIG, golden, golden_pixels, golden_weights

TOLERANCE = 1e-6
# Stages of 13 x 9, 7 x 5, 4 x 3 and 2 x 2 tokens: windows cut off on the right, at the bottom and in the corner, and
# larger than the whole grid.
UNEVEN = ModelConfig(
    image=ImageEncoderConfig(
        image_size=(52, 36),
        widths=(8, 16, 16, 24),
        depths=(1, 2, 1, 1),
        heads=(2, 4, 2, 3),
        groups=(2, 2, 4, 3),
        window=4,
    ),
    text=TextEncoderConfig(vocab_size=60, context_length=12, width=16, heads=4, layers=3),
    embedding_dim=8,
)


@pytest.fixture(scope="module")
def original():
    """Random weights and biases; with the zero biases of a new network, a missing bias would not be noticed."""
    torch.manual_seed(3)
    model = UniCLModel(UNEVEN).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("bias"):
                weight.normal_(std=0.5)
    return model


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(3, 3, 52, 36, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def tokens():
    """Texts of 12, 5 and 2 tokens, padded with the end token."""
    ids = torch.randint(0, 59, (3, 12), generator=torch.Generator().manual_seed(2))
    lengths = torch.tensor([12, 5, 2])
    inside = torch.arange(12) < lengths[:, None]
    ids[torch.arange(12) >= lengths[:, None] - 1] = 59
    return ids, inside.long()


def difference(first, second) -> float:
    return float((first - second).abs().max())


# The last two depend on earlier ones.
STEPS = [(step,) for step in REWRITINGS[:-2]] + [REWRITINGS[:count] for count in range(2, len(REWRITINGS) + 1)]


@pytest.mark.parametrize("steps", STEPS, ids=lambda steps: f"{len(steps)}: {steps[-1].__name__}")
def test_rewriting_gives_the_same_embeddings(original, pixels, tokens, steps):
    rewritten = rewrite(original, steps)
    with torch.inference_mode():
        assert difference(rewritten.encode_image(pixels), original.encode_image(pixels)) <= TOLERANCE
        assert difference(rewritten.encode_text(*tokens), original.encode_text(*tokens)) <= TOLERANCE


def test_original_is_unchanged_and_shares_weights_that_are_not_rewritten(original, pixels):
    before = {name: weight.clone() for name, weight in original.named_parameters()}
    rewritten = rewrite(original)
    assert all(torch.equal(weight, before[name]) for name, weight in original.named_parameters())
    assert rewritten.image_projection is original.image_projection
    assert all(weight.requires_grad for weight in original.parameters())


def test_graphs_of_all_rewritings_give_the_original_embeddings(original, pixels, tokens, tmp_path):
    rewritten = rewrite(original)
    export_image_encoder(rewritten, tmp_path / "image.onnx")
    export_text_encoder(rewritten, tmp_path / "text.onnx")
    image, text = (ort.InferenceSession(str(tmp_path / f"{encoder}.onnx")) for encoder in ("image", "text"))
    ids, mask = tokens
    with torch.inference_mode():
        expected = original.encode_image(pixels).numpy(), original.encode_text(ids, mask).numpy()
    actual = image.run(None, {"pixel_values": pixels.numpy()})[0]
    np.testing.assert_allclose(actual, expected[0], atol=TOLERANCE)
    inputs = {"input_ids": ids.numpy(), "attention_mask": mask.numpy()}
    np.testing.assert_allclose(text.run(None, inputs)[0], expected[1], atol=TOLERANCE)
    short = {name: value[1:2, :5] for name, value in inputs.items()}
    np.testing.assert_allclose(text.run(None, short)[0], expected[1][1:2], atol=TOLERANCE)


def test_rewritten_golden_network_gives_the_original_numbers():
    config = ModelConfig.from_release(yaml.safe_load(CONFIG.read_text()))
    model = UniCLModel(config)
    model.load_state_dict({name: torch.from_numpy(np.asarray(value)) for name, value in golden_weights().items()})
    with torch.inference_mode():
        embedding = rewrite(model).encode_image(torch.from_numpy(golden_pixels())).numpy()
    assert np.abs(embedding - golden()["image_embeddings"][:1]).max() <= 2e-6


def test_every_rewriting_is_documented_and_public():
    assert all(step.__doc__ for step in REWRITINGS)
    assert len({step.__name__ for step in REWRITINGS}) == len(REWRITINGS)
    assert all(getattr(rewriting, step.__name__) is step for step in REWRITINGS)


def test_windows_contain_every_token_once_in_the_order_of_the_regions():
    order, regions = cut_windows(5, 7, 4)
    assert sorted(order.tolist()) == list(range(35))
    assert [tuple(region) for region in regions] == [(16, 16, 0), (12, 12, 4), (4, 4, 12), (3, 3, 13)]
    assert order[:8].tolist() == [0, 1, 2, 3, 7, 8, 9, 10]
    assert order[-3:].tolist() == [32, 33, 34]


def test_whole_windows_are_one_region_and_a_small_grid_is_one_partial_window():
    assert [tuple(region) for region in cut_windows(8, 4, 4)[1]] == [(32, 16, 0)]
    assert [tuple(region) for region in cut_windows(2, 3, 4)[1]] == [(6, 6, 10)]


def test_many_equal_pads_weigh_as_one_key_with_their_logarithm():
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 1, 5, 8).unbind()
    zeros = torch.zeros(1, 11, 8)
    expected = attend_in_steps(q, torch.cat([k, zeros], 1), torch.cat([v, zeros], 1), 2)
    mask = torch.zeros(5, 6)
    mask[:, -1] = math.log(11)
    zero = zeros[:, :1]
    for attend in (attend_in_steps, attention_operator):
        actual = attend(q, torch.cat([k, zero], 1), torch.cat([v, zero], 1), 2, mask)
        assert difference(actual, expected) <= TOLERANCE
