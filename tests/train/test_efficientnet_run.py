"""Training and fine-tuning with the other image encoder: its running statistics are trained, saved and frozen."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

torch = pytest.importorskip("torch")
yaml = pytest.importorskip("yaml")
safetensors_torch = pytest.importorskip("safetensors.torch")

from medimageinsight.network.checkpoint import load_model
from medimageinsight.network.config import ModelConfig
from medimageinsight.train import StartConfig, estimate_memory, finetune, train
from medimageinsight.train.initialization import choose_trained
from medimageinsight.train.optim import blocks_after
from tests.golden.efficientnet import SMALL_MODEL
from tests.train.sample_run import CONFIG, make_table, quiet

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = {
    "kind": "efficientnet",
    "image_size": [32, 32],
    "widths": [8, 8],
    "depths": [1, 2],
    "kernels": [3, 5],
    "strides": [1, 2],
    "expansions": [1, 2],
    "stem": 8,
    "head": 16,
    "drop_path": 0.2,
}
RUN = CONFIG | {
    "model": CONFIG["model"] | {"image": IMAGE},
    "stages": [
        {"steps": 2, "image_size": 32, "batch_size": 4},
        {"steps": 2, "image_size": 32, "batch_size": 4, "freeze": [r"^image_encoder\.(stem|blocks)"]},
    ],
}
FROZEN = {
    "name": "further",
    "seed": 5,
    "start": {"checkpoint": "base/best"},
    "data": {"table": "table.csv"},
    "stages": [{"steps": 3, "image_size": 32, "batch_size": 4, "freeze": [r"^image_encoder\."]}],
    "optimizer": {"learning_rate": 0.01},
    "evaluate_every": 3,
    "checkpoint_every": 2,
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lite")
    make_table(folder)
    (folder / "base.yaml").write_text(yaml.safe_dump(RUN))
    train(folder / "base.yaml", folder / "base", log=quiet)
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors_torch.load_file(folder / "model.safetensors")


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_training_learns_statistics_and_its_model_loads(base: Path) -> None:
    best = base / "base" / "best"
    architecture = ModelConfig.from_dict(json.loads((best / "model.json").read_text())["architecture"])
    state = load_model(best / "model.safetensors", architecture).state_dict()
    means = {name: value for name, value in state.items() if name.endswith("running_mean")}
    assert len(means) == 1 + 2 + 2 * 3 + 1
    assert all(bool(value.any()) for value in means.values())


def test_resuming_is_exact_in_the_statistics_too(base: Path, tmp_path: Path) -> None:
    def stop(line: str) -> None:
        if line.startswith("step 3 "):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(base / "base.yaml", tmp_path / "cut", log=stop)
    train(base / "base.yaml", tmp_path / "cut", log=quiet)
    assert not changed(weights(base / "base" / "last"), weights(tmp_path / "cut" / "last"))


@pytest.mark.parametrize("micro_batch", [None, 2])
def test_frozen_encoder_does_not_change_at_all(base: Path, tmp_path: Path, micro_batch: int | None) -> None:
    (base / "frozen.yaml").write_text(yaml.safe_dump(FROZEN | {"parallel": {"micro_batch": micro_batch}}))
    finetune(base / "frozen.yaml", tmp_path / "frozen", log=quiet)
    names = changed(weights(base / "base" / "best"), weights(tmp_path / "frozen" / "last"))
    assert not any(name.startswith("image_encoder.") for name in names)
    assert {"image_projection", "lang_projection", "lang_encoder.token_embedding.weight"} <= names


def test_last_blocks_and_the_head_are_trained_alone(base: Path, tmp_path: Path) -> None:
    start = {"checkpoint": "base/best", "learn": "last"}
    stages = [{"steps": 2, "image_size": 32, "batch_size": 4}]
    (base / "last.yaml").write_text(yaml.safe_dump(FROZEN | {"start": start, "stages": stages}))
    finetune(base / "last.yaml", tmp_path / "last", log=quiet)
    names = changed(weights(base / "base" / "best"), weights(tmp_path / "last" / "last"))
    trained = ("image_encoder.blocks.1.1.", "image_encoder.head.")
    assert {name for name in names if name.startswith("image_encoder.")}
    assert all(name.startswith(trained) for name in names if name.startswith("image_encoder."))
    assert "image_encoder.head.norm.running_var" in names


def test_low_rank_updates_are_of_the_text_encoder() -> None:
    with torch.device("meta"):
        from medimageinsight.network import UniCLModel

        names = choose_trained(UniCLModel(SMALL_MODEL), StartConfig(checkpoint="", learn="lora", rank=2))
    assert all(name.startswith("lang_encoder.") or name == "logit_scale" for name in names)


def test_rates_decay_with_the_distance_from_the_output() -> None:
    names = (
        "image_encoder.stem.conv.weight",
        "image_encoder.blocks.3.0.dw.conv.weight",
        "image_encoder.head.conv.weight",
    )
    assert [blocks_after(name, SMALL_MODEL) for name in names] == [6, 1, 0]


def test_memory_of_a_frozen_part_is_less() -> None:
    memory = {
        learn: estimate_memory(SMALL_MODEL, images=4, tokens=8, start=StartConfig(checkpoint="", learn=learn))
        for learn in ("full", "last")
    }
    assert memory["last"].activations < memory["full"].activations
    assert memory["last"].gradients < memory["full"].gradients
