"""From a config to figures: ``mi2 train``, then ``mi2 evaluate`` with its bundle."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medimageinsight.bundle import EVALUATION_BEGIN, EVALUATION_END
from tests.train import sample_run

CONFIG = sample_run.CONFIG | {
    "stages": [{"steps": 2, "image_size": 32, "batch_size": 4}],
    "optimizer": {"learning_rate": 0.001},
    "evaluate_every": 2,
}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of images with two findings in three splits."""
    rng = np.random.default_rng(0)
    path = tmp_path / "table.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "caption", "modality", "anatomy", "finding", "label", "source", "split"])
        for index in range(24):
            finding = ("Bright Spot", "No Finding")[index % 2]
            pixels = rng.integers(0, 60, (36, 36, 3), dtype=np.uint8)
            pixels[10:20, 10:20] += np.uint8(180 * (1 - index % 2))
            Image.fromarray(pixels).save(tmp_path / f"{index}.png")
            split = ("train", "val", "test")[index // 8]
            caption = f"phantom box {finding}"
            writer.writerow([f"{index}.png", caption, "phantom", "box", finding, finding, "boxes", split])
    return path


def test_config_becomes_a_bundle_that_is_evaluated(mi2, table: Path, tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("torch")
    yaml = pytest.importorskip("yaml")
    (tmp_path / "speck.yaml").write_text(yaml.safe_dump(CONFIG))
    monkeypatch.chdir(tmp_path)
    trained = mi2("train", "speck.yaml", "--json")
    assert trained.code == 0
    assert trained.json == {"checkpoint": "runs/speck/best", "bundle": "runs/speck/bundle"}
    assert "2 steps" in trained.err
    assert mi2("info", "runs/speck/bundle", "--json").json["name"] == "speck"
    evaluated = mi2("evaluate", table, "--model", "runs/speck/bundle")
    assert evaluated.code == 0
    assert "speck on 8 images" in evaluated.out
    again = mi2("train", "speck.yaml", "--no-bundle")
    assert again.code == 0
    assert "resuming after step 2" in again.err


def test_data_of_a_config_are_evaluated_in_its_splits(mi2, table: Path, toy_bundle: Path) -> None:
    yaml = pytest.importorskip("yaml")
    rows = [line.rpartition(",")[0] for line in table.read_text().splitlines()]
    table.write_text("\n".join(rows) + "\n")  # a table without splits
    config = table.with_name("speck.yaml")
    data = {"table": table.name, "splits": {"train": 0.5, "val": 0.2, "test": 0.3}}
    config.write_text(yaml.safe_dump(CONFIG | {"data": data}))
    counts = []
    for split in data["splits"]:
        done = mi2("evaluate", config, "--split", split, "--model", toy_bundle, "--json")
        assert done.code == 0, done.err
        counts.append(done.json["images"])
    assert sum(counts) == 24
    assert min(counts) > 0
    config.write_text(yaml.safe_dump(CONFIG | {"dta": data}))
    failed = mi2("evaluate", config, "--model", toy_bundle)
    assert failed.code == 1
    assert "speck.yaml: config.dta: unknown" in failed.err


def best_label(image: dict) -> str:
    return max(image["probabilities"], key=image["probabilities"].get)


def test_classification_head_becomes_an_adapter_of_its_bundle(mi2, table: Path, tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("torch")
    yaml = pytest.importorskip("yaml")
    monkeypatch.chdir(tmp_path)
    Path("speck.yaml").write_text(yaml.safe_dump(CONFIG))
    assert mi2("train", "speck.yaml", "--no-bundle").code == 0
    further = {key: value for key, value in CONFIG.items() if key not in ("model", "tokenizer")}
    further |= {"name": "labels", "objective": "labels", "start": {"checkpoint": "runs/speck/best"}}
    further["stages"] = [{"steps": 20, "image_size": 32, "batch_size": 8}]
    further["optimizer"] = {"learning_rate": 0.01, "ema_decay": 0.5}
    Path("labels.yaml").write_text(yaml.safe_dump(further))
    made = mi2("finetune", "labels.yaml", "--json").json
    assert made["adapter"] == "runs/labels/adapter.json"
    with Path("runs/labels/curve.csv").open() as file:
        best = max(csv.DictReader(file), key=lambda row: float(row["val_label_auc"]))
    info = mi2("adapter", "info", made["adapter"], "--json").json
    assert info["figures"][0]["scored_on"] == "validation"
    assert info["figures"][0]["accuracy"]["value"] == pytest.approx(float(best["val_label_accuracy"]), abs=1e-4)
    assert info["training"]["selected_by"] == "val_label_auc"

    indices = range(8, 16)  # of the validation split
    predict = ("adapter", "predict", made["adapter"], *(f"{index}.png" for index in indices))
    done = mi2(*predict, "--model", made["bundle"], "--json")
    assert done.code == 0, done.err
    findings = [("Bright Spot", "No Finding")[index % 2] for index in indices]
    correct = [best_label(row) == finding for row, finding in zip(done.json, findings, strict=True)]
    assert np.mean(correct) == pytest.approx(float(best["val_label_accuracy"]), abs=1e-4)
    assert mi2(*predict, "--model", "mini").code == 1, "an adapter belongs to its own bundle"


def test_evaluate_writes_a_report_and_the_card(mi2, table: Path, toy_bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    bundle = Path(shutil.copytree(toy_bundle, tmp_path / "toy"))
    (bundle / "MODEL_CARD.md").write_text(f"# Toy\n{EVALUATION_BEGIN}\n{EVALUATION_END}\nend\n")
    report = tmp_path / "report"
    done = mi2("evaluate", table, "--model", bundle, "--out", report, "--update-card", "--json")
    assert done.code == 0
    assert done.json == json.loads((report / "report.json").read_text())
    assert done.json["command"] == f"mi2 evaluate {table} --split test --model {bundle} --out {report}"
    assert done.json["images"] == 8
    figure = done.json["modality_accuracy"]
    assert figure["low"] <= figure["value"] <= figure["high"]
    card = (bundle / "MODEL_CARD.md").read_text()
    assert card.startswith("# Toy\n")
    assert card.endswith("end\n")
    assert "Modality of the best prompt" in card


def test_evaluate_refuses_unknown_splits_and_missing_files(mi2, table: Path, tmp_path: Path) -> None:
    unknown = mi2("evaluate", table, "--split", "dev")
    assert unknown.code == 2
    assert "expected one of the table's splits (train, val, test), got 'dev'" in unknown.err
    assert mi2("evaluate", tmp_path / "no.csv").code == 1
    (tmp_path / "20.png").unlink()
    missing = mi2("evaluate", table)
    assert missing.code == 1
    assert missing.err.count("\n") == 1


def test_invalid_config_is_named(mi2, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("yaml")
    config = tmp_path / "bad.yaml"
    config.write_text("name: x\nsed: 1\n")
    done = mi2("train", config)
    assert done.code == 1
    assert done.err.startswith(f"error: {config}: config: missing data, ")
    assert "config.sed: unknown" in done.err


def test_problems_of_a_run_are_listed(mi2, table: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    yaml = pytest.importorskip("yaml")
    (tmp_path / "3.png").unlink()
    config = table.with_name("run.yaml")
    config.write_text(yaml.safe_dump(CONFIG | {"sed": 1, "seed": -1}))
    done = mi2("train", config, "--out", tmp_path / "run", "--json")
    assert done.code == 1
    first, *others = done.err.splitlines()
    assert first == "error: 3 problems with the data or their config; nothing was done:"
    assert [line.partition("]: ")[2].partition(" ")[0] for line in others] == ["config.sed", "config.seed", "3.png"]
    assert done.json["error"]["code"] == "dataset_problems"
