"""Low-rank updates: initially zero, the only trained parameters, and equivalent after merging."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from medimageinsight.errors import ConfigError
from medimageinsight.train.config import StartConfig
from medimageinsight.train.initialization import choose_trained
from medimageinsight.train.lora import add_updates, merged_state
from tests.train.gloo_processes import create_batch, create_model


def embed(model: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    batch = create_batch()
    with torch.no_grad():
        return model.encode_image(batch.pixel_values), model.encode_text(batch.input_ids, batch.attention_mask)


def test_updates_are_initially_zero_and_merge_into_the_weights() -> None:
    model = create_model().eval()
    before = embed(model)
    names = add_updates(model, 3, 6.0)
    assert {name.rpartition(".")[2] for name in names} == {
        *("qkv", "proj", "fc1", "fc2"),
        *("attn", "out_proj", "c_fc", "c_proj"),
    }
    assert all(torch.equal(a, b) for a, b in zip(before, embed(model), strict=True))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("lora.b"):
                parameter.normal_(std=0.02)
    trained = embed(model)
    merged_model = create_model().eval()
    merged_model.load_state_dict(merged_state(model, model.state_dict()))
    for initial, separate, merged in zip(before, trained, embed(merged_model), strict=True):
        assert (initial - separate).abs().max() > 1e-3
        assert (separate - merged).abs().max() < 1e-5  # the norms of this narrow network amplify rounding errors


def test_merged_and_separate_updates_are_the_same_function() -> None:
    model, merged = create_model().double().eval(), create_model().double().eval()
    add_updates(model, 2, 8.0)
    model.double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("lora.b"):
                parameter.normal_(std=0.1)
    merged.load_state_dict(merged_state(model, model.state_dict()))
    batch = create_batch()
    pixels = batch.pixel_values.double().permute(0, 2, 3, 1)
    with torch.no_grad():
        texts = [network.encode_text(batch.input_ids, batch.attention_mask) for network in (model, merged)]
        assert (texts[0] - texts[1]).abs().max() < 1e-6
        encoders = (model.image_encoder, merged.image_encoder)
        grids = [encoder.blocks[0](encoder.convs[0](pixels)) for encoder in encoders]
        assert (grids[0] - grids[1]).abs().max() < 1e-6


def test_trained_parameters_by_setting() -> None:
    names = {name for name, _ in create_model().named_parameters()}
    assert choose_trained(create_model(), StartConfig(checkpoint="")) == names
    updates = choose_trained(create_model(), StartConfig(checkpoint="", learn="lora", rank=2))
    assert {name.rpartition("lora.")[2] for name in updates} == {"a", "b", "logit_scale"}
    two = choose_trained(create_model(), StartConfig(checkpoint="", learn="last", blocks=2))
    assert {name for name in two if ".convs." in name} == {name for name in names if ".convs.3." in name}
    last = choose_trained(create_model(), StartConfig(checkpoint="", learn="last", blocks=1))
    assert last >= {"image_projection", "lang_projection", "logit_scale", "image_encoder.norms.weight"}
    assert "lang_encoder.resblocks.1.ln_1.weight" in last
    assert not any(name.startswith(("image_encoder.convs", "lang_encoder.resblocks.0")) for name in last)
    assert {name.split(".")[2] for name in last if name.startswith("image_encoder.blocks")} == {"3"}


def test_rejects_pattern_that_matches_no_layer() -> None:
    with pytest.raises(ConfigError, match="none") as caught:
        add_updates(create_model(), 2, 2.0, "nowhere")
    assert caught.value.code == "lora_no_layer"
