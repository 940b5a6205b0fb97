"""``mi2 evaluate`` in full: a report's folder, two models, groups, and a card from a run."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of bright and dark boxes in three splits, of women and men."""
    rng = np.random.default_rng(0)
    path = tmp_path / "table.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["path", "caption", "modality", "anatomy", "finding", "label", "source", "split", "sex", "ward"]
        )
        for index in range(96):
            finding = ("Bright Spot", "No Finding")[index % 2]
            pixels = rng.integers(0, 60, (24, 24, 3), dtype=np.uint8)
            pixels[6:16, 6:16] += np.uint8(150 * (1 - index % 2))
            Image.fromarray(pixels).save(tmp_path / f"{index}.png")
            split = ("train", "val", "test")[index // 32]
            caption = f"phantom box {finding}"
            sex, ward = "FM"[index // 2 % 2], "" if index % 8 == 0 else f"ward {index // 4 % 2}"
            writer.writerow([f"{index}.png", caption, "phantom", "box", finding, finding, "boxes", split, sex, ward])
    return path


def test_full_report(mi2, table: Path, tmp_path: Path, toy_bundle: Path) -> None:
    out = tmp_path / "report"
    done = mi2("evaluate", table, "--out", out, "--json")
    assert done.code == 0, done.err
    data = json.loads((out / "report.json").read_text())
    assert done.json == data
    assert set(data["methods"]) == {"zero-shot", "kNN", "linear probe"}
    assert data["methods"]["linear probe"]["mean_auc"]["value"] > 0.95
    assert {grouping["column"] for grouping in data["groups"]} == {"sex"}
    assert (out / "report.html").read_text().startswith("<!DOCTYPE html>")
    shown = mi2("evaluate", table, "--out", out, "--group", "ward", "--sensitivity", "0.8")
    assert shown.code == 0
    assert "linear probe" in shown.out
    assert "toy on 32 images" in shown.out
    again = json.loads((out / "report.json").read_text())
    assert again["command"] == (
        f"mi2 evaluate {table} --split test --model {toy_bundle} --out {out} --group ward --sensitivity 0.8"
    )
    assert again["criteria"] == ["youden", "sensitivity:0.8"]


def test_reads_tables_with_other_names_separators_and_folders(mi2, table: Path, tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    moved = tmp_path / "tables" / "german.csv"
    header, _, rows = table.read_text().replace(",", ";").partition("\n")
    moved.write_text(header.replace("path", "File name").replace("label", "Label") + "\n" + rows)
    expected = mi2("evaluate", table, "--json").json
    found = mi2("evaluate", moved, "--path-column", "file_name", "--root", tmp_path, "--json")
    assert found.code == 0, found.err
    assert found.json["sources"] == expected["sources"]


def test_prompts_come_from_a_template_or_a_file(mi2, table: Path, tmp_path: Path) -> None:
    plain = mi2("evaluate", table, "--json")
    assert plain.json["prompt_source"] == "the captions of the splits train and val"
    shown = mi2("evaluate", table, "--template", "phantom {}")
    assert shown.code == 0, shown.err
    assert "prompts: the template 'phantom {}'" in shown.err
    file = tmp_path / "prompts.json"
    file.write_text(json.dumps({"Bright Spot": ["a spot", "bright"], "No Finding": "nothing"}))
    done = mi2("evaluate", table, "--prompts", file, "--json")
    assert (done.json["prompts"], done.json["prompt_source"]) == (3, "a file of prompts")
    file.write_text(json.dumps({"Bright Spot": "a spot"}))
    assert "got none for 'No Finding'" in mi2("evaluate", table, "--prompts", file).err


def test_table_without_labels_is_refused(mi2, table: Path) -> None:
    table.write_text(table.read_text().replace(",label,", ",diagnosis,", 1))
    done = mi2("evaluate", table)
    assert done.code != 0
    assert "expected labels of the test split, got none" in done.err


def test_comparison_of_two_models(mi2, table: Path, toy_bundle: Path, tmp_path: Path) -> None:
    done = mi2("evaluate", table, "--against", toy_bundle, "--json")
    assert done.code == 0, done.err
    comparison = done.json["comparison"]
    assert (comparison["model"], comparison["against"]) == ("toy (model)", "toy (against)")
    assert {row["p"] for row in comparison["differences"]} == {1.0}
    shown = mi2("evaluate", table, "--against", toy_bundle, "--out", tmp_path / "both")
    assert shown.code == 0
    assert "Compared with toy (against)" in (tmp_path / "both" / "report.md").read_text()


def test_invalid_options_are_refused_before_the_run(mi2, table: Path, tmp_path: Path) -> None:
    unknown = mi2("evaluate", table, "--out", tmp_path / "r", "--group", "bed")
    assert unknown.code != 0
    assert "expected columns of the table to group by, got bed" in unknown.err
    assert not (tmp_path / "r").exists()
    occupied = mi2("evaluate", table, "--out", tmp_path)
    assert occupied.code == 2
    assert "choose another" in occupied.err
    assert mi2("evaluate", table, "--run", tmp_path).code == 2
    for unused in (("--group", "ward"), ("--sensitivity", "0.5")):
        done = mi2("evaluate", table, *unused)
        assert done.code == 2
        assert "with --out or --against" in done.err
    single = mi2("evaluate", table, "--out", tmp_path / "r", "--group", "path")
    assert "names images or patients" in single.err
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for name in ("report.json", "thesis.txt"):
        (mixed / name).write_text("{}")
    assert "choose another" in mi2("evaluate", table, "--out", mixed).err
    assert (mixed / "thesis.txt").is_file()
    assert mi2("evaluate", table, "--out", tmp_path / "r", "--split", "dev").code == 2


def test_card_is_composed_from_run_and_evaluation(mi2, table: Path, golden_bundle, tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    bundle = Path(shutil.copytree(golden_bundle.folder, tmp_path / "golden"))
    run = tmp_path / "run"
    missing = mi2("evaluate", table, "--model", bundle, "--update-card", "--run", run)
    assert missing.code == 2
    assert "expected a run's folder with a readable config.yaml" in missing.err
    run.mkdir()
    config = {
        "name": "golden",
        "seed": 7,
        "precision": "bf16",
        "data": {"table": "../private/table.csv"},
        "stages": [{"steps": 20, "image_size": 120, "batch_size": 4, "freeze": ["convs"]}],
        "optimizer": {"learning_rate": 0.001},
        "start": {"checkpoint": "/home/private/base", "learn": "lora"},
    }
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    points = "".join(f"{step},{1 / step:.3f}\n" for step in range(1, 31))
    (run / "curve.csv").write_text(f"step,loss\n{points}")
    done = mi2(
        "evaluate", table, "--model", bundle, "--out", tmp_path / "report", "--update-card", "--run", run, "--json"
    )
    assert done.code == 0, done.err
    card = (bundle / "MODEL_CARD.md").read_text()
    assert card.startswith("# ")
    assert "| Seed | 7 |" in card
    assert '| 1 | 20 | 120 | 4 | freeze ["convs"] |' in card
    assert "table.csv; trained on train, chosen on val" in card
    assert "| Start | checkpoint base, learn lora |" in card
    assert "private" not in card.split("Repeat with")[0]
    assert "12 of 30 points" in card
    assert "| 30 | 0.033 |" in card
    assert "| linear probe |" in card
    assert "converted from checkpoint" in card
    again = mi2("evaluate", table, "--model", bundle, "--update-card", "--json")
    assert again.code == 0, again.err
    assert "| Seed | 7 |" in (bundle / "MODEL_CARD.md").read_text()
