"""Parameter groups and their learning rates, weight averaging, loss scaling."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from medimageinsight.errors import ModelError
from medimageinsight.train.config import OptimizerConfig
from medimageinsight.train.ema import WeightEMA
from medimageinsight.train.loss_scale import LossScale
from medimageinsight.train.optim import blocks_after, build_optimizer
from tests.train.gloo_processes import MODEL, create_model


def test_vectors_filters_and_embeddings_have_no_weight_decay() -> None:
    model = create_model()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    optimizer = build_optimizer(model, OptimizerConfig(learning_rate=1, weight_decay=0.1), MODEL, set(names.values()))
    decayed, not_decayed = [{names[id(parameter)] for parameter in group["params"]} for group in optimizer.param_groups]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    assert [group["scale"] for group in optimizer.param_groups] == [1.0, 1.0]
    assert len(decayed) + len(not_decayed) == len(names)
    assert {"image_projection", "image_encoder.convs.0.proj.weight"} <= decayed
    assert not_decayed >= {"logit_scale", "image_encoder.norms.weight", "lang_encoder.positional_embedding"}
    assert "image_encoder.blocks.0.0.spatial_block.conv1.fn.dw.weight" in not_decayed
    assert not any(name.endswith("bias") for name in decayed)


def test_rates_and_decays_by_pattern() -> None:
    model = create_model()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    settings = OptimizerConfig(
        learning_rate=1,
        weight_decay=0.1,
        layer_decay=0.5,
        rate_factors={"^lang_encoder": 0.1, "resblocks": 7.0},
        weight_decays={"bias$": 0.3},
    )
    found = {
        names[id(parameter)]: (group["scale"], group["weight_decay"])
        for group in build_optimizer(model, settings, MODEL, set(names.values())).param_groups
        for parameter in group["params"]
    }
    assert found["lang_encoder.resblocks.1.mlp.c_fc.weight"] == (0.05, 0.1), (
        "the first pattern and the layer decay apply"
    )
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
def test_number_of_blocks_to_the_output(name: str, expected: int) -> None:
    assert blocks_after(name, MODEL) == expected
    model = create_model()
    optimizer = build_optimizer(model, OptimizerConfig(learning_rate=1, layer_decay=0.5), MODEL, {name})
    assert [group["scale"] for group in optimizer.param_groups] == [0.5**expected]


def test_averaged_weights_are_applied_within_the_block_only() -> None:
    model = create_model()
    average = WeightEMA(model, {"logit_scale"})
    own = model.logit_scale.item()
    with torch.no_grad():
        model.logit_scale.add_(1)
    average.update(1000, 0.9)
    with average.applied():
        assert model.logit_scale.item() == pytest.approx(own + 0.1)
    assert model.logit_scale.item() == pytest.approx(own + 1)


def test_loss_scale_is_halved_and_step_skipped_if_gradients_are_not_finite() -> None:
    scale = LossScale(enabled=True)
    first = scale.value
    assert scale.update(3.0)
    assert not scale.update(float("inf"))
    assert not scale.update(float("nan"))
    assert scale.value == first / 4
    assert all(scale.update(1.0) for _ in range(LossScale.GROWTH_STEPS))
    assert scale.value == first / 2
    with pytest.raises(ModelError) as caught:
        [scale.update(float("inf")) for _ in range(60)]
    assert caught.value.code == "training_diverged"
    disabled = LossScale(enabled=False)
    assert (disabled.value, disabled.update(3.0)) == (1, True)
    with pytest.raises(ModelError, match="expected finite gradients, got a norm of nan"):
        disabled.update(float("nan"))
