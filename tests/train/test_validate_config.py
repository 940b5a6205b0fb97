"""Checks before the first step, and runs on data with few attributes."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from PIL import Image

torch = pytest.importorskip("torch")
yaml = pytest.importorskip("yaml")
pytest.importorskip("safetensors")

from medimageinsight.datasets import DatasetProblems, Sample, Table
from medimageinsight.errors import ConfigError, ModelError
from medimageinsight.train import train
from medimageinsight.train.config import TrainConfig
from medimageinsight.train.config_file import read_config_as
from medimageinsight.train.distributed import Processes
from medimageinsight.train.validation_metrics import limit_captions
from tests.train.sample_run import CONFIG, make_table, quiet

if TYPE_CHECKING:
    from pathlib import Path

STAGE = {"steps": 2, "image_size": 32, "batch_size": 4}
SHORT = CONFIG | {"stages": [STAGE], "evaluate_every": 1, "checkpoint_every": 1}


def write_config(folder: Path, config: dict[str, object]) -> Path:
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def rewrite(table: Path, keep: list[str], **columns: object) -> None:
    """Replace the table by some of its columns and new ones, whose values are functions of the row number."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*keep, *columns])
        writer.writeheader()
        for number, row in enumerate(rows):
            new = {name: value(number) for name, value in columns.items()}  # type: ignore[operator]
            writer.writerow({name: row[name] for name in keep} | new)


INVALID = [
    ({"stages": [STAGE | {"freeze": ["("]}]}, r"stages\[0\]\.freeze \(expected a regular expression, got"),
    ({"stages": [STAGE | {"logit_scale": 0.0}]}, r"stages\[0\]\.logit_scale \(expected a number above 0, got 0\.0\)"),
    ({"stages": [STAGE | {"sources_per_batch": 0}]}, r"stages\[0\]\.sources_per_batch"),
    ({"stages": [STAGE | {"batch_size": 1, "steps": 0}]}, r"stages\[0\]\.steps.*stages\[0\]\.batch_size"),
    ({"data": {"table": "table.csv", "source_weights": {"boxs": 2.0}}}, r"source_weights\.boxs \(expected a source"),
    ({"data": {"table": "table.csv", "on_disk": True}}, r"config\.images \(expected none"),
    ({"pixels": {"trivial": True}}, r"config\.pixels \(expected none"),
    ({"data": {"table": "table.csv", "val_split": "test"}}, r"config\.data\.val_split .*train, val"),
    ({"data": {"table": "table.csv", "splits": {"train": 0.5}}}, r"data\.splits"),
    ({"data": {"table": "gone.csv"}}, r"\[table_invalid\]: data\.table"),
    ({"captions": {"drop_view": 1.5}}, r"captions\.drop_view"),
    ({"seed": -1}, r"config\.seed"),
    ({"name": " "}, r"config\.name"),
    (
        {"stages": [STAGE, STAGE | {"image_size": 10**6}]},
        r"stages\[1\]\.image_size \(expected 32 to 4096, got 1000000\)",
    ),
    ({"optimizer": {"learning_rate": float("inf")}}, r"learning_rate \(expected a number above 0"),
    ({"data": {"table": "table.csv", "splits": {"train": float("nan"), "val": 0.2}}}, r"data\.splits"),
    ({"data": {"sources": [{"kind": "shards", "path": "**x/*.tar"}]}}, r"Invalid pattern"),
    ({"optimizer": {"learning_rate": -1.0, "ema_decay": 1.0}}, r"learning_rate.*ema_decay"),
]


@pytest.mark.parametrize(("change", "message"), INVALID)
def test_reports_invalid_values(tmp_path: Path, change: dict[str, object], message: str) -> None:
    make_table(tmp_path)
    with pytest.raises(DatasetProblems, match=message):
        train(write_config(tmp_path, SHORT | change), tmp_path / "run", log=quiet)
    assert not (tmp_path / "run").exists()


def test_reports_problems_of_config_and_data_together(tmp_path: Path) -> None:
    table = make_table(tmp_path)
    rewrite(table, ["path", "caption", "split"], patient_id=lambda number: f"p{number // 2 if number != 12 else 0}")
    (tmp_path / "3.png").unlink()
    (tmp_path / "4.png").write_bytes(b"not an image")
    change = {"sed": 1, "data": {"table": "table.csv", "wrkers": 2}, "evaluate_every": 0}
    with pytest.raises(DatasetProblems) as caught:
        train(write_config(tmp_path, SHORT | change), tmp_path / "run", log=quiet)
    assert caught.value.counts == {
        "config_key_unknown": 2,
        "config_value_invalid": 1,
        "image_missing": 1,
        "image_broken": 1,
        "patient_in_two_splits": 1,
    }
    messages = r"config\.sed: unknown; .*wrkers: unknown; .*evaluate_every: expected at least 1, got 0"
    with pytest.raises(ConfigError, match=messages):
        read_config_as(tmp_path / "run.yaml", TrainConfig)


def test_reports_config_that_does_not_fit_the_network_and_accepts_the_corrected_one(tmp_path: Path) -> None:
    make_table(tmp_path)
    vocabulary = {"tokenizer": {"vocab_size": 531}, "model": CONFIG["model"]}
    vocabulary["model"] = CONFIG["model"] | {"text": CONFIG["model"]["text"] | {"vocab_size": 531}}
    wrong = {"stages": [{"steps": 1, "image_size": 64, "batch_size": 4, "freeze": ["blok", "."]}]} | vocabulary
    with pytest.raises(ConfigError) as caught:
        train(write_config(tmp_path, SHORT | wrong), tmp_path / "run", log=quiet)
    assert caught.value.code == "config_misfits_model"
    for text in ("'blok' matches no parameter", "no parameter is left to train", "own image_size, 32, got 64"):
        assert text in caught.value.message
    assert train(write_config(tmp_path, SHORT), tmp_path / "run", log=quiet).is_dir()


def test_best_model_is_selected_by_captions_without_findings(tmp_path: Path) -> None:
    rewrite(make_table(tmp_path), ["path", "caption", "split"])
    best = train(write_config(tmp_path, SHORT), tmp_path / "run", log=quiet)
    with (tmp_path / "run" / "curve.csv").open() as file:
        values = {int(row["step"]): float(row["val_caption_auc"]) for row in csv.DictReader(file)}
    selected = json.loads((best / "model.json").read_text())["provenance"]
    assert selected["selected_by"] == "val_caption_auc"
    assert selected["val_caption_auc"] == max(values.values()) == values[selected["steps"]]
    rewrite(tmp_path / "table.csv", ["path", "split"], caption=lambda _: "the same")
    with pytest.raises(DatasetProblems, match="two captions or more"):
        train(tmp_path / "run.yaml", tmp_path / "same", log=quiet)


def test_validation_limits_captions_and_covers_every_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def create_sample(number: int, split: str, finding: str) -> Sample:
        text = f"{finding} seen in report {number}"
        modality = "x-ray" if number % 2 else "MRI"
        return Sample(path=tmp_path, caption=text, label=finding, finding=finding, modality=modality, split=split)

    splits = ["val" if number % 3 == 0 else "train" for number in range(60)]
    samples = tuple(create_sample(number, split, "AB"[number % 5 == 0]) for number, split in enumerate(splits))
    table = Table(samples=samples, root=tmp_path)
    assert limit_captions(table, "val") is table
    monkeypatch.setattr("medimageinsight.train.validation_metrics.MAX_CAPTIONS", 12)
    limited = limit_captions(table, "val")
    assert len({sample.caption for sample in limited}) == 12
    assert limited.splits["val"] == 20
    validation = [sample for sample in table if sample.split == "val"]
    for after, before in zip((sample for sample in limited if sample.split == "val"), validation, strict=True):
        assert replace(after, caption="") == replace(before, caption=""), "only the caption changes"
        assert after.caption.startswith(after.finding)
        assert (after.modality == "x-ray") == bool(int(after.caption.split()[-1]) % 2), "a caption of its own class"


def test_checks_drawn_splits_for_leaks(tmp_path: Path) -> None:
    table = make_table(tmp_path)
    rewrite(table, ["path", "caption"])
    for number in range(1, 16):
        Image.open(tmp_path / "0.png").save(tmp_path / f"{number}.png")
    change = {"data": {"table": "table.csv", "splits": {"train": 0.5, "val": 0.5}}}
    with pytest.raises(DatasetProblems) as caught:
        train(write_config(tmp_path, SHORT | change), tmp_path / "run", log=quiet)
    assert caught.value.counts["picture_in_two_splits"] == 1


def test_drawn_splits_are_independent_of_the_seed(tmp_path: Path) -> None:
    rewrite(make_table(tmp_path), ["path"], caption=lambda number: f"phantom {number}")
    data = {"table": "table.csv", "splits": {"train": 0.7, "val": 0.3}}
    path = write_config(tmp_path, SHORT | {"data": data})
    for seed in (1, 2):
        train(path, tmp_path / str(seed), seed=seed, log=quiet)
    write_config(tmp_path, SHORT | {"data": data | {"split_seed": 1}})
    train(path, tmp_path / "other", log=quiet)
    first, second, other = (
        json.loads((tmp_path / name / "run.json").read_text())["data"] for name in ("1", "2", "other")
    )
    assert first == second
    assert first["sha256"] != other["sha256"]


def test_rejects_resuming_with_other_data(tmp_path: Path) -> None:
    table = make_table(tmp_path)
    path = write_config(tmp_path, SHORT)
    train(path, tmp_path / "run", log=quiet)
    table.write_text(table.read_text().replace("phantom box Bright Spot", "phantom box Dark Spot", 1))
    with pytest.raises(ConfigError) as caught:
        train(path, tmp_path / "run", log=quiet)
    assert caught.value.code == "data_changed"


def test_repeating_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    make_table(tmp_path)
    path = write_config(
        tmp_path, SHORT | {"objective": "labels", "stages": [STAGE | {"steps": 41}], "evaluate_every": 41}
    )
    train(path, tmp_path / "run", log=quiet)

    def outputs() -> dict[str, bytes]:
        names = ("last/head.json", "last/model.safetensors", "best/head.json", "curve.csv", "speed.csv")
        return {name: (tmp_path / "run" / name).read_bytes() for name in names}

    before = outputs()
    assert json.loads(before["last/head.json"])["figures"] is not None
    assert before["speed.csv"].count(b"\n") == 3
    train(path, tmp_path / "run", log=quiet)
    assert outputs() == before


def test_reports_missing_labels(tmp_path: Path) -> None:
    table = make_table(tmp_path)
    rewrite(table, ["path", "caption", "split"], label=lambda number: "" if number == 5 else f"l{number % 2}")
    with pytest.raises(DatasetProblems, match="got 1 images without a label"):
        train(write_config(tmp_path, SHORT | {"objective": "labels"}), tmp_path / "run", log=quiet)
    rewrite(table, ["path", "caption", "split"], label=lambda number: f"l{number % 2}{number > 11}")
    with pytest.raises(DatasetProblems, match=r"data\.val_split .*also occur in the training split, got none"):
        train(tmp_path / "run.yaml", tmp_path / "run", log=quiet)


def test_reports_unusable_folder_and_missing_gpu(tmp_path: Path) -> None:
    table = make_table(tmp_path)
    with pytest.raises(ConfigError) as caught:
        train(write_config(tmp_path, SHORT), table, log=quiet)
    assert caught.value.code == "out_unusable"
    assert str(tmp_path) not in caught.value.message
    change = {"parallel": {"device": "cuda"}}
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="got 0") as caught:
            train(write_config(tmp_path, SHORT | change), tmp_path / "run", log=quiet)
        assert caught.value.code == "gpu_missing"


@pytest.mark.parametrize("name", ["tokenizer.json", "config.yaml", "bundle"])
def test_folder_without_a_run_is_not_modified(tmp_path: Path, name: str) -> None:
    make_table(tmp_path)
    out = tmp_path / "mine"
    out.mkdir()
    (out / name).write_text("mine")
    with pytest.raises(ConfigError, match=name) as caught:
        train(write_config(tmp_path, SHORT), out, log=quiet)
    assert caught.value.code == "out_in_use"
    assert [(file.name, file.read_text()) for file in out.iterdir()] == [(name, "mine")]
    (out / name).rename(out / "notes.txt")
    assert train(write_config(tmp_path, SHORT), out, log=quiet).is_dir(), "other files do not conflict with a run"


def test_rejects_folder_that_is_not_shared_by_all_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_table(tmp_path)
    monkeypatch.setattr(Processes, "broadcast", lambda _self, _value: 1.0)  # the main process has a state
    with pytest.raises(ConfigError) as caught:
        train(write_config(tmp_path, SHORT), tmp_path / "run", log=quiet)
    assert caught.value.code == "out_not_shared"


def test_diverging_run_fails(tmp_path: Path) -> None:
    make_table(tmp_path)
    change = {"optimizer": {"learning_rate": 1e30}, "stages": [STAGE | {"steps": 30}], "evaluate_every": 30}
    with pytest.raises(ModelError) as caught:
        train(write_config(tmp_path, SHORT | change), tmp_path / "run", log=quiet)
    assert caught.value.code == "training_diverged"
