"""Groups of parameters, their rates, and clipping."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from medimageinsight.errors import ModelError
from medimageinsight.train.average import Average
from medimageinsight.train.config import OptimizerConfig
from medimageinsight.train.optim import blocks_after, build_optimizer
from medimageinsight.train.step import LossScale
from tests.train.gloo import MODEL, model


def test_decay_spares_vectors_filters_and_embeddings() -> None:
    one = model()
    names = {id(parameter): name for name, parameter in one.named_parameters()}
    optimizer = build_optimizer(one, OptimizerConfig(learning_rate=1, weight_decay=0.1), MODEL, set(names.values()))
    decayed, spared = [{names[id(one)] for one in group["params"]} for group in optimizer.param_groups]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    assert [group["scale"] for group in optimizer.param_groups] == [1.0, 1.0]
    assert len(decayed) + len(spared) == len(names)
    assert {"image_projection", "image_encoder.convs.0.proj.weight"} <= decayed
    assert spared >= {"logit_scale", "image_encoder.norms.weight", "lang_encoder.positional_embedding"}
    assert "image_encoder.blocks.0.0.spatial_block.conv1.fn.dw.weight" in spared
    assert not any(name.endswith("bias") for name in decayed)


def test_patterns_say_rates_and_decays_of_their_own() -> None:
    one = model()
    names = {id(parameter): name for name, parameter in one.named_parameters()}
    settings = OptimizerConfig(
        learning_rate=1,
        weight_decay=0.1,
        layer_decay=0.5,
        rate_factors={"^lang_encoder": 0.1, "resblocks": 7.0},
        weight_decays={"bias$": 0.3},
    )
    found = {
        names[id(parameter)]: (group["scale"], group["weight_decay"])
        for group in build_optimizer(one, settings, MODEL, set(names.values())).param_groups
        for parameter in group["params"]
    }
    assert found["lang_encoder.resblocks.1.mlp.c_fc.weight"] == (0.05, 0.1), "the first pattern, and the layer's decay"
    assert found["image_encoder.norms.bias"] == (1.0, 0.3)
    assert found["image_encoder.norms.weight"] == (1.0, 0.0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("image_encoder.convs.0.proj.weight", 4),
        ("image_encoder.blocks.0.0.spatial_block.ffn.norm.weight", 4),
        ("image_encoder.blocks.3.0.channel_block.ffn.norm.weight", 1),
        ("image_encoder.norms.weight", 0),
        ("image_projection", 0),
        ("lang_encoder.token_embedding.weight", 3),
        ("lang_encoder.resblocks.0.ln_1.weight", 2),
        ("lang_encoder.resblocks.1.ln_1.weight", 1),
        ("lang_encoder.ln_final.weight", 0),
        ("logit_scale", 0),
    ],
)
def test_how_far_a_parameter_is_from_the_output(name: str, expected: int) -> None:
    assert blocks_after(name, MODEL) == expected
    one = model()
    optimizer = build_optimizer(one, OptimizerConfig(learning_rate=1, layer_decay=0.5), MODEL, {name})
    assert [group["scale"] for group in optimizer.param_groups] == [0.5**expected]


def test_averaged_weights_are_in_place_for_a_block_and_gone_after_it() -> None:
    one = model()
    average = Average(one, {"logit_scale"})
    own = one.logit_scale.item()
    with torch.no_grad():
        one.logit_scale.add_(1)
    average.update(1000, 0.9)
    with average.in_place():
        assert one.logit_scale.item() == pytest.approx(own + 0.1)
    assert one.logit_scale.item() == pytest.approx(own + 1)


def test_a_gradient_that_is_not_finite_skips_a_step_and_halves_the_factor() -> None:
    scale = LossScale(enabled=True)
    first = scale.value
    assert scale.goes_on(3.0)
    assert not scale.goes_on(float("inf"))
    assert not scale.goes_on(float("nan"))
    assert scale.value == first / 4
    assert all(scale.goes_on(1.0) for _ in range(LossScale.GROWTH_STEPS))
    assert scale.value == first / 2
    with pytest.raises(ModelError) as caught:
        [scale.goes_on(float("inf")) for _ in range(60)]
    assert caught.value.code == "training_diverged"
    plain = LossScale(enabled=False)
    assert (plain.value, plain.goes_on(3.0)) == (1, True)
    with pytest.raises(ModelError, match="not a finite number"):
        plain.goes_on(float("nan"))
