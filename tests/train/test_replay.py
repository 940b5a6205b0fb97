"""A frozen image encoder is replaced by its own stored features, which are checked first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

torch = pytest.importorskip("torch")
yaml = pytest.importorskip("yaml")
safetensors_torch = pytest.importorskip("safetensors.torch")

from medimageinsight.datasets import DatasetProblems
from medimageinsight.errors import ConfigError
from medimageinsight.network.checkpoint import load_model
from medimageinsight.network.config import ModelConfig
from medimageinsight.train import TeacherOutput, finetune, images_on_disk, train, write_targets
from medimageinsight.train.initialization import IMAGENET_MEAN, IMAGENET_STD
from tests.train.sample_run import CONFIG, make_table, quiet

if TYPE_CHECKING:
    from pathlib import Path

FREEZE = [r"^image_encoder\."]
FINETUNE = {
    "name": "further",
    "seed": 5,
    "start": {"checkpoint": "base/best", "drop_path": 0.0},
    "data": {"table": "table.csv", "on_disk": True, "workers": 1},
    "stages": [{"steps": 3, "image_size": 32, "batch_size": 4, "freeze": FREEZE}],
    "optimizer": {"learning_rate": 0.001},
    "distill": {"targets": "targets.safetensors", "features": 1.0, "probabilities": 0, "texts": 0, "replay": True},
    "evaluate_every": 3,
    "checkpoint_every": 2,
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained model and the features of its image encoder as targets."""
    folder = tmp_path_factory.mktemp("replay")
    make_table(folder)
    (folder / "base.yaml").write_text(yaml.safe_dump(CONFIG | {"stages": CONFIG["stages"][:1]}))
    train(folder / "base.yaml", folder / "base", log=quiet)
    architecture = ModelConfig.from_dict(CONFIG["model"])
    model = load_model(folder / "base" / "best" / "model.safetensors", architecture)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))

    @torch.inference_mode()
    def teach(pixels: np.ndarray) -> TeacherOutput:
        scaled = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
        return TeacherOutput(features=model.image_encoder((scaled - mean) / std).numpy())

    (folder / "run.yaml").write_text(yaml.safe_dump(FINETUNE))
    write_targets(folder / "run.yaml", teach, copies=2, log=quiet)
    return folder


def run(base: Path, out: Path, **changes: object) -> dict[str, torch.Tensor]:
    config = base / f"{out.name}.yaml"
    config.write_text(yaml.safe_dump(FINETUNE | changes))
    finetune(config, out, log=quiet)
    weights: dict[str, torch.Tensor] = safetensors_torch.load_file(out / "last" / "model.safetensors")
    return weights


@pytest.mark.parametrize("micro_batch", [None, 2])
def test_result_is_that_of_the_encoder_without_decoding(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, micro_batch: int | None
) -> None:
    parallel = {"micro_batch": micro_batch}
    decoded: list[int] = []
    load = images_on_disk.TaughtImages._load_all

    def count(self: images_on_disk.TaughtImages, rows: np.ndarray, copies: np.ndarray) -> torch.Tensor:
        decoded.append(len(rows))
        return load(self, rows, copies)

    monkeypatch.setattr(images_on_disk.TaughtImages, "_load_all", count)
    replayed = run(base, tmp_path / "replayed", parallel=parallel)
    assert decoded == [8], "images of the check alone"
    encoded = run(base, tmp_path / "encoded", distill=FINETUNE["distill"] | {"replay": False}, parallel=parallel)
    for name, value in encoded.items():
        assert torch.allclose(replayed[name], value, atol=2e-3), name
    assert not torch.equal(
        replayed["image_projection"],
        safetensors_torch.load_file(base / "base" / "best" / "model.safetensors")["image_projection"],
    )


def test_features_of_another_encoder_are_refused(base: Path, tmp_path: Path) -> None:
    other = {"targets": "other.safetensors", **{key: FINETUNE["distill"][key] for key in ("features", "replay")}}
    (base / "write.yaml").write_text(yaml.safe_dump(FINETUNE | {"distill": other}))
    rng = np.random.default_rng(0)
    for width in (8, 5):
        write_targets(
            base / "write.yaml",
            lambda pixels, width=width: TeacherOutput(features=rng.standard_normal((len(pixels), width))),
            copies=2,
            log=quiet,
        )
        with pytest.raises(ConfigError, match="features of the image encoder itself") as caught:
            run(base, tmp_path / f"other{width}", distill=other)
        assert caught.value.code == "replay_misfit"


def test_encoder_must_be_frozen_and_every_image_have_a_caption(base: Path, tmp_path: Path) -> None:
    stages = [FINETUNE["stages"][0] | {"freeze": [r"^image_encoder\.convs"]}]
    with pytest.raises(ConfigError, match=r"stages\[0\].freeze: expected the whole image encoder with distill.replay"):
        run(base, tmp_path / "thawed", stages=stages)
    source = {"kind": "table", "path": "table.csv"}
    further = {"unlabelled": [source], "unlabelled_per_batch": 2}
    with pytest.raises(DatasetProblems, match=r"distill\.replay"):
        run(base, tmp_path / "unlabelled", distill=FINETUNE["distill"] | further)
