"""EfficientNet-Lite as the image encoder: its architecture as data, its features, and its norms in training."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medimageinsight.errors import CheckpointError, ConfigError
from medimageinsight.network import EfficientNetConfig, ModelConfig, image_flops

torch = pytest.importorskip("torch")

from medimageinsight.network import UniCLModel
from medimageinsight.network.checkpoint import load_model
from medimageinsight.network.efficientnet import EfficientNet
from tests.golden.efficientnet import SMALL, SMALL_MODEL, small_features, small_pixels, small_tensors

ROOT = Path(__file__).parents[2]
TEACHER = ROOT / "runs" / "mini2" / "teacher.safetensors"


@pytest.fixture
def encoder() -> EfficientNet:
    network = EfficientNet(SMALL)
    network.load_state_dict(small_tensors({name: tuple(value.shape) for name, value in network.state_dict().items()}))
    return network.eval()


def test_features_are_those_of_a_public_implementation(encoder: EfficientNet) -> None:
    with torch.inference_mode():
        features = encoder(small_pixels()).numpy()
    assert abs(features - small_features()).max() < 1e-5


def test_network_of_the_package_has_the_same_features() -> None:
    """With the weights of a trained teacher, if there are any."""
    package = pytest.importorskip("efficientnet_lite_pytorch", reason="the package of the teacher is not installed")
    from safetensors.torch import load_file

    start = load_tool("student_from_teacher")
    theirs = package.EfficientNet.from_name("efficientnet-lite0").eval()
    if TEACHER.exists():
        tensors = {name.removeprefix("network."): value.float() for name, value in load_file(TEACHER).items()}
        known = theirs.state_dict()
        theirs.load_state_dict({name: value for name, value in tensors.items() if name in known}, strict=False)
    ours = EfficientNet(start.LITE0).eval()
    ours.load_state_dict(start.teacher_weights(theirs.state_dict()))
    pixels = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = theirs.extract_features(pixels).mean(dim=(2, 3))
        assert float((ours(pixels) - expected).abs().max()) < 1e-5 * max(1.0, float(expected.abs().max()))


def load_tool(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / "mini" / f"{name}.py")
    assert spec is not None and spec.loader is not None  # noqa: PT018
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_json_names_the_kind_of_the_encoder_and_davit_has_none() -> None:
    plain = json.loads(json.dumps(SMALL_MODEL.to_dict()))
    assert plain["image"]["kind"] == "efficientnet"
    assert ModelConfig.from_dict(plain) == SMALL_MODEL
    davit = {"image_size": [32, 32], **dict.fromkeys(("widths", "depths", "heads", "groups"), [8] * 4), "window": 4}
    assert "kind" not in ModelConfig.from_dict(plain | {"image": davit}).to_dict()["image"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "resnet"}, "architecture.image.kind: expected no such key or efficientnet|efficientnet or no such"),
        ({"kind": ["efficientnet"]}, "architecture.image.kind"),
        ({"depths": [1]}, "depths: expected an entry for each stage, as in widths, got 1"),
        ({"widths": []}, "widths: expected an entry for each stage"),
        ({"strides": [1, 0, 2, 1]}, "strides: expected numbers of at least 1, got 0"),
        ({"kernels": [3, 4, 3, 3]}, "kernels: expected odd numbers, got 4"),
        ({"head": 0}, "stem, head: expected numbers of at least 1"),
        ({"drop_path": 1.0}, "drop_path"),
        ({"window": 4}, "architecture.image: unknown window"),
    ],
)
def test_names_the_invalid_value(change: dict[str, object], message: str) -> None:
    plain = SMALL_MODEL.to_dict()
    with pytest.raises(ConfigError, match=message):
        ModelConfig.from_dict(plain | {"image": plain["image"] | change})


def test_missing_and_mistaken_sections_are_config_errors() -> None:
    plain = SMALL_MODEL.to_dict()
    with pytest.raises(ConfigError, match=r"architecture\.image: expected a mapping, got list"):
        ModelConfig.from_dict(plain | {"image": []})
    with pytest.raises(ConfigError, match="missing widths"):
        ModelConfig.from_dict(
            plain | {"image": {name: value for name, value in plain["image"].items() if name != "widths"}}
        )


def test_operations_are_those_that_pytorch_counts() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        UniCLModel(SMALL_MODEL).encode_image(small_pixels()[:1])
    assert image_flops(SMALL_MODEL) == counter.get_total_flops()


def test_grids_are_the_sizes_after_each_stage(encoder: EfficientNet) -> None:
    x = encoder.stem(small_pixels())
    sizes = [tuple(x.shape[2:])]
    for stage in encoder.blocks:
        x = stage(x)
        sizes.append(tuple(x.shape[2:]))
    assert tuple(sizes) == SMALL.grids


def test_only_norms_that_are_trained_use_the_statistics_of_the_batch(encoder: EfficientNet) -> None:
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    expected = encoder(small_pixels()).detach()
    encoder.requires_grad_(requires_grad=False).train()
    assert torch.equal(encoder(small_pixels()), expected)
    encoder.head.requires_grad_()
    assert not torch.allclose(encoder(small_pixels()), expected)
    changed = {name for name, value in encoder.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"head.norm.running_mean", "head.norm.running_var"}


def test_frozen_encoder_records_no_graph(encoder: EfficientNet) -> None:
    assert not encoder.train().requires_grad_(requires_grad=False)(small_pixels()).requires_grad


def test_stochastic_depth_drops_residual_branches_in_training_only() -> None:
    config = replace(SMALL, drop_path=0.9)
    torch.manual_seed(0)
    network = EfficientNet(config).requires_grad_(requires_grad=False).train()
    pixels = small_pixels()[:1].expand(16, -1, -1, -1)
    assert len(torch.unique(network(pixels), dim=0)) > 1
    rows = network.eval()(pixels)
    assert torch.allclose(rows, rows[:1], atol=1e-6)


def test_checkpoint_is_loaded_strictly(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    weights = UniCLModel(SMALL_MODEL).state_dict()
    save_file(weights, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors", SMALL_MODEL)
    assert all(torch.equal(value, weights[name]) for name, value in loaded.state_dict().items())
    del weights["image_encoder.stem.norm.running_var"]
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"missing image_encoder\.stem\.norm\.running_var"):
        load_model(tmp_path / "model.safetensors", SMALL_MODEL)


def test_other_sizes_and_depths_are_possible() -> None:
    config = EfficientNetConfig(
        image_size=(33, 33), widths=(8,), depths=(2,), kernels=(7,), strides=(3,), expansions=(2,), stem=4, head=6
    )
    assert EfficientNet(config).eval()(torch.zeros(1, 3, 50, 33)).shape == (1, config.features)
