"""A whole run on a small table of made-up pictures: what it leaves, and that going on is exact."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
yaml = pytest.importorskip("yaml")
safetensors_torch = pytest.importorskip("safetensors.torch")

from medimageinsight.datasets.table import Sample
from medimageinsight.errors import ConfigError, DatasetError
from medimageinsight.train.config import DataConfig, OptimizerConfig, read_config
from medimageinsight.train.data import sampling_weights
from medimageinsight.train.loop import train
from medimageinsight.train.optim import Schedule

CONFIG = {
    "name": "speck",
    "seed": 3,
    "model": {
        "embedding_dim": 8,
        "image": {
            "image_size": [32, 32],
            "widths": [8, 8, 8, 8],
            "depths": [1, 1, 1, 1],
            "heads": [1, 1, 1, 1],
            "groups": [1, 1, 1, 1],
            "window": 4,
            "drop_path": 0.2,
        },
        "text": {"vocab_size": 530, "context_length": 16, "width": 8, "heads": 2, "layers": 1, "dropout": 0.1},
    },
    "tokenizer": {"vocab_size": 530},
    "data": {"table": "table.csv"},
    "stages": [
        {"steps": 4, "image_size": 32, "batch_size": 4, "freeze": ["^lang_encoder"]},
        {"steps": 2, "image_size": 32, "batch_size": 6, "logit_scale": 30.0, "freeze": ["convs.[01]"]},
        {"steps": 2, "image_size": 32, "batch_size": 6, "freeze": ["convs.[01]"], "learning_rate": 0.0005},
    ],
    "optimizer": {"learning_rate": 0.001, "warmup_steps": 2, "weight_decay": 0.1},
    "images": {"rotation": 10, "scale": [0.8, 1.0], "noise": 0.02, "erase": 0.5},
    "captions": {"drop_finding": 0.3, "shuffle": 0.5},
    "evaluate_every": 3,
    "checkpoint_every": 2,
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config beside a table of 16 pictures of two kinds."""
    rng = np.random.default_rng(0)
    with (tmp_path / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "caption", "modality", "anatomy", "finding", "label", "source", "split"])
        for i in range(16):
            finding = ("Bright Spot", "No Finding")[i % 2]
            pixels = rng.integers(0, 60, (40, 48, 3), dtype=np.uint8)
            pixels[10:20, 10:20] += np.uint8(180 * (1 - i % 2))
            Image.fromarray(pixels).save(tmp_path / f"{i}.png")
            split = "train" if i < 12 else "val"
            writer.writerow([f"{i}.png", f"phantom box {finding}", "phantom", "box", finding, finding, "boxes", split])
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    return path


def quiet(line: str) -> None:
    """Drops a line of progress."""


def test_a_run_leaves_its_config_curve_and_best_model(config: Path, tmp_path: Path) -> None:
    best = train(config, tmp_path / "run", log=quiet)
    assert {file.name for file in best.iterdir()} == {"model.safetensors", "model.json", "tokenizer.json"}
    with (tmp_path / "run" / "curve.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["3", "4", "6", "8"]
    with Image.open(tmp_path / "run" / "curve.png") as curve:
        assert curve.width > 500
    assert (tmp_path / "run" / "config.yaml").read_text() == config.read_text()


def test_what_a_stage_freezes_stays_as_it_is_and_its_scale_is_where_it_begins(config: Path, tmp_path: Path) -> None:
    states = []

    def keep(line: str) -> None:
        if line.startswith(("step 3 ", "step 4 ", "step 6 ")):  # validations; the state is the last one saved
            file = tmp_path / "run" / "state.safetensors"
            states.append(safetensors_torch.load_file(file) if file.exists() else {})

    train(config, tmp_path / "run", log=keep)
    after_2, _, after_4 = states
    end = safetensors_torch.load_file(tmp_path / "run" / "state.safetensors")

    def changed(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> set[str]:
        return {key for key in one if key.startswith("model.") and not torch.equal(one[key], other[key])}

    first, second = changed(after_2, after_4), changed(after_4, end)
    assert not any("lang_encoder" in key for key in first)
    assert any("convs.0" in key for key in first)
    assert not any("convs.0" in key or "convs.1" in key for key in second)
    assert any("lang_encoder" in key for key in second)
    assert end["model.logit_scale"].exp().item() == pytest.approx(30, rel=0.05)


def test_a_stage_with_a_rate_of_its_own_has_a_schedule_of_its_own(config: Path, tmp_path: Path) -> None:
    train(config, tmp_path / "run", log=quiet)
    with (tmp_path / "run" / "curve.csv").open() as file:
        rates = {int(row["step"]): float(row["learning_rate"]) for row in csv.DictReader(file)}
    assert rates[6] == 0, "the run's own schedule ends where the stage begins"
    own = Schedule(6, 2, OptimizerConfig(learning_rate=0.0005))
    assert [own.learning_rate(step) for step in (6, 7, 8)] == pytest.approx([0.0005, 0.00025, 0])
    content = yaml.safe_load(config.read_text())
    content["stages"].append({"steps": 1, "image_size": 32, "batch_size": 4})
    config.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match="of their own"):
        read_config(config)


def test_a_run_cut_off_at_any_moment_goes_on_to_the_same_bits(config: Path, tmp_path: Path) -> None:
    train(config, tmp_path / "whole", log=quiet)
    whole = safetensors_torch.load_file(tmp_path / "whole" / "state.safetensors")
    for number, moment in enumerate(["step 3 ", "step 4 ", "step 6 "]):
        cut = tmp_path / f"cut{number}"

        def stop(line: str, moment: str = moment) -> None:
            if line.startswith(moment):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(config, cut, log=stop)
        train(config, cut, log=quiet)
        resumed = safetensors_torch.load_file(cut / "state.safetensors")
        assert resumed.keys() == whole.keys()
        assert all(torch.equal(resumed[key], whole[key]) for key in whole)
        assert (cut / "curve.csv").read_text() == (tmp_path / "whole" / "curve.csv").read_text()


def test_a_folder_with_another_run_is_refused(config: Path, tmp_path: Path) -> None:
    train(config, tmp_path / "run", log=quiet)
    config.write_text(config.read_text().replace("seed: 3", "seed: 4"))
    with pytest.raises(ConfigError) as caught:
        train(config, tmp_path / "run", log=quiet)
    assert caught.value.code == "config_changed"


def test_broken_pictures_stop_a_run_before_its_first_step_all_named(config: Path, tmp_path: Path) -> None:
    (tmp_path / "2.png").write_bytes(b"")
    (tmp_path / "5.png").unlink()
    with pytest.raises(DatasetError, match=r"2 pictures.*2\.png.*5\.png"):
        train(config, tmp_path / "run", log=quiet)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sed": 1}, "config: unknown sed"),
        ({"seed": "one"}, "config.seed: expected int, got str"),
        ({"model": {}}, "config.model: missing"),
        ({"stages": []}, "config.stages"),
        ({"precision": "fp8"}, "config.precision: expected one of fp32, bf16"),
    ],
)
def test_a_wrong_config_names_the_key(config: Path, change: dict[str, object], message: str) -> None:
    config.write_text(yaml.safe_dump(CONFIG | change))
    with pytest.raises(ConfigError, match=message):
        read_config(config)


def test_a_config_with_a_tag_is_refused(config: Path) -> None:
    config.write_text("name: !!python/object/apply:os.system ['true']")
    with pytest.raises(ConfigError, match="not valid YAML"):
        read_config(config)


def test_a_vocabulary_larger_than_the_captions_give_is_refused_before_the_first_step(
    config: Path, tmp_path: Path
) -> None:
    config.write_text(config.read_text().replace("530", "5000"))
    with pytest.raises(ConfigError, match=r"expected at most the \d+ tokens") as caught:
        train(config, tmp_path / "run", log=quiet)
    assert caught.value.code == "vocabulary_too_large"


def test_sampling_powers() -> None:
    samples = [Sample(path=Path("x.png"), caption="x", label=label) for label in "xxxxxxxxyy"]
    plain = sampling_weights(samples, DataConfig(table=""))
    assert plain == pytest.approx(np.full(10, 0.1))
    even = sampling_weights(samples, DataConfig(table="", class_power=0))
    assert even[:8].sum() == pytest.approx(0.5)
