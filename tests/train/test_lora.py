"""Low-rank updates: nothing at first, learned alone, and the same model once they are merged."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from medimageinsight.errors import ConfigError
from medimageinsight.train.config import StartConfig
from medimageinsight.train.lora import add_updates, merged_state
from medimageinsight.train.start import choose_trained
from tests.train.gloo import batch, model


def embed(one: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    given = batch()
    with torch.no_grad():
        return one.encode_image(given.pixel_values), one.encode_text(given.input_ids, given.attention_mask)


def test_updates_change_nothing_at_first_and_merge_into_the_weights() -> None:
    one = model().eval()
    before = embed(one)
    names = add_updates(one, 3, 6.0)
    assert {name.rpartition(".")[2] for name in names} == {
        *("qkv", "proj", "fc1", "fc2"),
        *("attn", "out_proj", "c_fc", "c_proj"),
    }
    assert all(torch.equal(left, right) for left, right in zip(before, embed(one), strict=True))
    with torch.no_grad():
        for name, parameter in one.named_parameters():
            if name.endswith("lora.b"):
                parameter.normal_(std=0.02)
    learned = embed(one)
    merged = model().eval()
    merged.load_state_dict(merged_state(one, one.state_dict()))
    for was, apart, together in zip(before, learned, embed(merged), strict=True):
        assert (was - apart).abs().max() > 1e-3
        assert (apart - together).abs().max() < 1e-5  # this network is narrow: its norms enlarge what is rounded


def test_merged_and_apart_are_the_same_function() -> None:
    one, merged = model().double().eval(), model().double().eval()
    add_updates(one, 2, 8.0)
    one.double()
    with torch.no_grad():
        for name, parameter in one.named_parameters():
            if name.endswith("lora.b"):
                parameter.normal_(std=0.1)
    merged.load_state_dict(merged_state(one, one.state_dict()))
    given, pixels = batch(), batch().pixel_values.double()
    with torch.no_grad():
        apart, together = (each.encode_text(given.input_ids, given.attention_mask) for each in (one, merged))
        assert (apart - together).abs().max() < 1e-6
        grids = [
            each.image_encoder.blocks[0](each.image_encoder.convs[0](pixels.permute(0, 2, 3, 1)))
            for each in (one, merged)
        ]
        assert (grids[0] - grids[1]).abs().max() < 1e-6


def test_what_is_learned() -> None:
    every = {name for name, _ in model().named_parameters()}
    assert choose_trained(model(), StartConfig(checkpoint="")) == every
    updates = choose_trained(model(), StartConfig(checkpoint="", learn="lora", rank=2))
    assert {name.rpartition("lora.")[2] for name in updates} == {"a", "b", "logit_scale"}
    two = choose_trained(model(), StartConfig(checkpoint="", learn="last", blocks=2))
    assert {name for name in two if ".convs." in name} == {name for name in every if ".convs.3." in name}
    last = choose_trained(model(), StartConfig(checkpoint="", learn="last", blocks=1))
    assert last >= {"image_projection", "lang_projection", "logit_scale", "image_encoder.norms.weight"}
    assert "lang_encoder.resblocks.1.ln_1.weight" in last
    assert not any(name.startswith(("image_encoder.convs", "lang_encoder.resblocks.0")) for name in last)
    assert {name.split(".")[2] for name in last if name.startswith("image_encoder.blocks")} == {"3"}


def test_a_pattern_that_finds_no_layer_is_an_error() -> None:
    with pytest.raises(ConfigError, match="none") as caught:
        add_updates(model(), 2, 2.0, "nowhere")
    assert caught.value.code == "lora_no_layer"
