"""Distillation: targets are stored and checked, their losses fall, unlabelled images take part, resuming is exact."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
yaml = pytest.importorskip("yaml")
safetensors_numpy = pytest.importorskip("safetensors.numpy")
safetensors_torch = pytest.importorskip("safetensors.torch")

from medimageinsight.errors import ConfigError, DatasetError
from medimageinsight.train import TargetGroup, TeacherOutput, read_config, read_samples, train, write_targets
from medimageinsight.train.distillation import divergence, feature_loss
from medimageinsight.train.images_on_disk import TaughtImages
from medimageinsight.train.teaching import read_taught, read_unlabelled
from tests.train.sample_run import CONFIG, make_table, quiet

if TYPE_CHECKING:
    from pathlib import Path

    from medimageinsight.train.targets import StoredTargets

GROUP = TargetGroup(name="spot", texts=("phantom box Bright Spot", "phantom box No Finding"), sources=("boxes",))


def teach(pixels: np.ndarray) -> TeacherOutput:
    """Teach from the brightest part of an image alone."""
    assert pixels.dtype == np.uint8
    bright = pixels.reshape(len(pixels), -1).max(axis=1) / 255
    features = np.stack([bright, 1 - bright, np.full_like(bright, 0.1)], axis=1)
    certain = np.clip((bright - 0.5) * 4, -3, 3)
    positive = 1 / (1 + np.exp(-certain))
    return TeacherOutput(features=features, probabilities={"spot": np.stack([positive, 1 - positive], axis=1)})


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config with distillation, its table, and three images without captions."""
    make_table(tmp_path)
    rng = np.random.default_rng(1)
    with (tmp_path / "more.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "source"])
        for number in range(3):
            Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(tmp_path / f"more{number}.png")
            writer.writerow([f"more{number}.png", "more"])
    content = {key: value for key, value in CONFIG.items() if key != "images"}
    content["data"] = {"table": "table.csv", "on_disk": True, "workers": 1}
    content["pixels"] = {"crop_area": [0.5, 1.0], "trivial": True, "coarse": 0.5, "coarse_side": [8, 24]}
    content["distill"] = {
        "targets": "targets.safetensors",
        "unlabelled": [{"kind": "table", "path": "more.csv"}],
        "unlabelled_per_batch": 2,
    }
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def change(config: Path, **values: object) -> None:
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | values))


def write(config: Path, **options: object) -> Path:
    return write_targets(config, teach, [GROUP], copies=3, log=quiet, **options)


def read(config: Path) -> StoredTargets:
    settings = read_config(config)
    training = read_samples(settings.data, config.parent, check=False, log=quiet).of_split("train")
    taught = read_taught(settings, config.parent, training, read_unlabelled(settings, config.parent))
    assert taught is not None
    return taught.stored


def loss_curve(folder: Path) -> list[float]:
    with (folder / "curve.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def rewrite(file: Path, change: object) -> None:
    """Change the tensors and the metadata of a file of targets."""
    with safetensors_numpy.safe_open(file, framework="numpy") as opened:
        metadata = opened.metadata()
    tensors = dict(safetensors_numpy.load_file(file))
    change(tensors, metadata)
    safetensors_numpy.save_file(tensors, file, metadata)


def test_network_sees_the_pixels_that_the_teacher_saw(config: Path) -> None:
    seen = []

    def remember(pixels: np.ndarray) -> TeacherOutput:
        seen.append(pixels)
        return teach(pixels)

    write_targets(config, remember, [GROUP], copies=3, log=quiet)
    settings = read_config(config)
    training = read_samples(settings.data, config.parent, check=False, log=quiet).of_split("train")
    taught = read_taught(settings, config.parent, training, read_unlabelled(settings, config.parent))
    assert len(taught.table) == 15, "12 of the training split, 3 without captions"
    loader = TaughtImages(taught.table, 32, taught.stored, labelled=12, unlabelled_per_batch=2, workers=1)
    pixels, targets = loader.load_taught(np.array([4, 0, 11]), slice(0, 3), np.random.default_rng(5))
    views = np.concatenate(seen).reshape(15, 3, 32, 32, 3)
    found = []
    for number, image in enumerate(pixels):
        as_stored = (image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        row, copy = next((row, copy) for row in range(15) for copy in range(3) if (views[row, copy] == as_stored).all())
        found.append(row)
        expected = teach(views[row, copy][None])
        np.testing.assert_allclose(targets.features[number], expected.features[0], atol=1e-3)
    assert found[:3] == [4, 0, 11]
    assert all(row >= 12 for row in found[3:]), "further images are those without captions"
    assert targets.positions[0].tolist() == [0, 1, 2], "the group applies to the source `boxes` alone"
    loader.close()


def test_copies_differ_by_size_only_in_sharpness(config: Path) -> None:
    sides = []

    def remember(pixels: np.ndarray) -> TeacherOutput:
        sides.append(pixels)
        return teach(pixels)

    change(config, pixels={"crop_area": [0.5, 1.0], "trivial": True, "flips": {"*": ["horizontal"]}})
    for size in (32, 64):
        write_targets(config, remember, [GROUP], copies=3, image_size=size, log=quiet)
    small, large = (np.concatenate(sides[start : start + 1]) for start in (0, 1))
    assert large.shape == (45, 64, 64, 3)
    reduced = large.reshape(45, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    assert abs(reduced - small).mean() < 6, "the same crops, changes and flips"


def test_losses_fall_on_the_targets(config: Path, tmp_path: Path) -> None:
    write(config)
    change(
        config,
        stages=[{"steps": 60, "image_size": 32, "batch_size": 8}],
        optimizer={"learning_rate": 0.003},
        evaluate_every=20,
        pixels=yaml.safe_load(config.read_text())["pixels"],
    )
    losses = {}
    for key in ("features", "probabilities", "texts"):
        weights = {name: float(name == key) for name in ("features", "probabilities", "texts")}
        change(config, distill=yaml.safe_load(config.read_text())["distill"] | weights)
        train(config, tmp_path / key, log=quiet)
        losses[key] = loss_curve(tmp_path / key)
    distill = yaml.safe_load(config.read_text())
    del distill["distill"]
    config.write_text(yaml.safe_dump(distill))
    train(config, tmp_path / "alone", log=quiet)
    alone = loss_curve(tmp_path / "alone")
    for key, values in losses.items():
        first, last = values[0] - alone[0], values[-1] - alone[-1]
        assert last < first, f"{key}: {first} to {last}"
    saved = safetensors_torch.load_file(tmp_path / "features" / "best" / "model.safetensors")
    assert not any("distill" in name for name in saved), "the maps to the teacher are no part of the model"
    assert "targets" in json.loads((tmp_path / "features" / "run.json").read_text())["inputs"]


def test_interrupted_run_resumes_exactly(config: Path, tmp_path: Path) -> None:
    write(config)
    train(config, tmp_path / "whole", log=quiet)

    def stop(line: str) -> None:
        if line.startswith("step 4 "):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "cut", log=stop)
    train(config, tmp_path / "cut", log=quiet)
    whole, cut = (safetensors_torch.load_file(tmp_path / name / "state.safetensors") for name in ("whole", "cut"))
    assert any(name.startswith("model.distillation.") for name in whole)
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_run_does_not_resume_with_other_targets(config: Path, tmp_path: Path) -> None:
    write(config)
    train(config, tmp_path / "run", log=quiet)
    write(config)
    train(config, tmp_path / "run", log=quiet)  # the same targets, written again
    write(config, teacher="another")
    with pytest.raises(ConfigError, match="targets and free texts that the run began with"):
        train(config, tmp_path / "run", log=quiet)


def test_micro_batches_give_the_same_loss(config: Path, tmp_path: Path) -> None:
    write(config)
    content = yaml.safe_load(config.read_text())
    content["model"]["image"]["drop_path"] = 0.0
    content["model"]["text"]["dropout"] = 0.0
    change(config, model=content["model"], stages=[{"steps": 3, "image_size": 32, "batch_size": 4}])
    train(config, tmp_path / "whole", log=quiet)
    change(config, parallel={"micro_batch": 2})
    train(config, tmp_path / "parts", log=quiet)
    assert loss_curve(tmp_path / "parts") == pytest.approx(loss_curve(tmp_path / "whole"), abs=1e-3)


def test_writing_continues_after_an_interruption(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medimageinsight.train.teaching._PART", 4)
    whole = safetensors_numpy.load_file(write(config))
    calls = []

    def stop(pixels: np.ndarray) -> TeacherOutput:
        calls.append(len(pixels))
        if len(calls) > 2:
            raise KeyboardInterrupt
        return teach(pixels)

    with pytest.raises(KeyboardInterrupt):
        write_targets(config, stop, [GROUP], copies=3, log=quiet)
    seen = []
    write_targets(config, lambda pixels: (seen.append(len(pixels)), teach(pixels))[1], [GROUP], copies=3, log=quiet)
    assert sum(seen) == 3 * 7, "the first two parts, of four images each, were complete"
    continued = safetensors_numpy.load_file(config.parent / "targets.safetensors")
    assert continued.keys() == whole.keys()
    assert all((continued[name] == whole[name]).all() for name in whole)
    assert not list(config.parent.glob("*.parts"))


def test_targets_of_missing_and_other_images_are_refused(config: Path, tmp_path: Path) -> None:
    write(config)
    pixels = np.asarray(Image.open(tmp_path / "3.png")).copy()
    original = (tmp_path / "3.png").read_bytes()
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(tmp_path / "3.png")
    with pytest.raises(DatasetError, match="those of other files for 1: boxes 3") as caught:
        read(config)
    assert caught.value.code == "targets_other_images"
    (tmp_path / "3.png").write_bytes(original)
    text = (tmp_path / "table.csv").read_text()
    (tmp_path / "table.csv").write_text(text.replace(",val", ",train", 1))
    with pytest.raises(DatasetError, match="expected targets of all 16 images, got none of 1: boxes 12") as caught:
        read(config)
    assert caught.value.code == "targets_incomplete"


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("nan", "not finite"),
        ("width", r"probabilities of 'spot' \(12, 3, 3\) instead of \(12, 3, 2\)"),
        ("rows", r"features \(14, 3, 3\) for 15 images"),
        ("sum", "another sum than 1"),
        ("negative", "negative"),
        ("name", "tensors of other names"),
        ("format", "a file of the format 'other'"),
        ("header", "while reading it"),
        ("twice", "an image twice"),
    ],
)
def test_damaged_targets_are_refused(config: Path, key: str, expected: str) -> None:
    def damage(tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
        probabilities = tensors["probabilities.spot"]
        if key == "nan":
            tensors["features"][2, 1, 0] = np.nan
        elif key == "width":
            tensors["probabilities.spot"] = np.ascontiguousarray(np.repeat(probabilities, 2, axis=2)[..., :3])
        elif key == "rows":
            tensors["features"] = tensors["features"][:-1]
        elif key == "sum":
            probabilities[0, 0, 0] += np.float16(0.1)
        elif key == "negative":
            probabilities[0, 0] = (-1, 2)
        elif key == "name":
            tensors["extra"] = probabilities
        elif key == "format":
            metadata["format"] = "other"
        elif key == "header":
            metadata["targets"] = json.dumps(json.loads(metadata["targets"]) | {"copies": "three"})
        else:
            ids = json.loads(metadata["ids"])
            metadata["ids"] = json.dumps([ids[0], *ids[:-1]])

    rewrite(write(config), damage)
    with pytest.raises(DatasetError, match=expected) as caught:
        read(config)
    assert caught.value.code == "targets_invalid"


def test_file_that_is_none_is_refused(config: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such file"):
        read(config)
    (tmp_path / "targets.safetensors").write_bytes(b"\x80\x04K\x01.")  # a pickle is never loaded
    with pytest.raises(DatasetError, match="while reading it"):
        read(config)


def test_other_augmentation_is_refused(config: Path) -> None:
    write(config)
    change(config, pixels={"crop_area": [0.6, 1.0], "trivial": True, "coarse": 0.5, "coarse_side": [8, 24]})
    with pytest.raises(ConfigError, match="a change of crop_area:") as caught:
        read(config)
    assert caught.value.code == "targets_misfit"


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (TeacherOutput(features=np.zeros((1, 4))), "features"),
        (TeacherOutput(), "probabilities of other groups"),
        (TeacherOutput(probabilities={"spot": np.zeros((45, 3))}), r"'spot' \(45, 3\)"),
    ],
)
def test_outputs_of_wrong_shapes_are_refused(config: Path, output: TeacherOutput, expected: str) -> None:
    with pytest.raises(DatasetError, match=expected):
        write_targets(config, lambda _: output, [GROUP], copies=3, batch_size=45, log=quiet)


@pytest.mark.parametrize(
    ("change_of", "expected"),
    [
        ({"temperature": 0}, "distill.temperature"),
        ({"features": -1}, "distill.features"),
        ({"features": 0, "probabilities": 0, "texts": 0}, "a loss with a weight above 0"),
        ({"unlabelled_per_batch": 0}, "distill.unlabelled_per_batch"),
        ({"unlabelled": []}, "distill.unlabelled_per_batch"),
    ],
)
def test_invalid_settings_are_named(config: Path, change_of: dict[str, object], expected: str) -> None:
    change(config, distill=yaml.safe_load(config.read_text())["distill"] | change_of)
    with pytest.raises(ConfigError, match=expected):
        read_config(config)


def test_needs_images_that_can_be_augmented_again(config: Path) -> None:
    change(config, data={"table": "table.csv"}, pixels={})
    with pytest.raises(ConfigError, match="images in memory"):
        read_config(config)


def test_losses_equal_their_formulas() -> None:
    rng = np.random.default_rng(0)
    logits, teacher = rng.standard_normal((5, 4)), rng.dirichlet(np.ones(4), 5)
    soft = teacher ** (1 / 3)
    soft /= soft.sum(axis=1, keepdims=True)
    ours = np.exp(logits / 3)
    ours /= ours.sum(axis=1, keepdims=True)
    expected = 9 * (soft * (np.log(soft) - np.log(ours))).sum(axis=1).mean()
    assert divergence(torch.tensor(logits), torch.tensor(teacher), 3.0).item() == pytest.approx(expected, rel=1e-5)
    assert divergence(torch.tensor(teacher).log(), torch.tensor(teacher)).item() == pytest.approx(0, abs=1e-6)
    a, b = torch.tensor([[3.0, 0.0], [0.0, 2.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert feature_loss(a, b).item() == pytest.approx(0.5)
