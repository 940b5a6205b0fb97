from __future__ import annotations

import json
from dataclasses import replace

import pytest
from PIL import Image

from medimageinsight.bench import (
    Bench,
    BenchSettings,
    Case,
    ColdStart,
    Files,
    Memory,
    Peak,
    Result,
    Skipped,
    to_json,
    to_markdown,
    write_report,
)
from medimageinsight.bench.timings import compare_timings
from medimageinsight.errors import InputError

PEAK = Peak(size=1000, samples={"onnxruntime": (0.02, 0.02), "numpy": (0.04, 0.04)})  # 100 GFLOP/s
BENCH = Bench(
    model="tiny",
    precision="fp32",
    command="mi2 bench --rounds 2",
    settings=BenchSettings(rounds=2),
    machine={"processor": "A|B", "cores": 2, "threads": 1},
    results=(
        Result(
            case=Case(encoder="image", batch=8),
            flops=10**10,
            peak=PEAK,
            timings=compare_timings({"bundle": [0.2, 0.2], "eager": [0.5, 0.5]}, floor=0.1),
        ),
        Result(
            case=Case(encoder="text", tokens=12, length=77),
            flops=10**8,
            peak=PEAK,
            timings=compare_timings({"bundle": [0.004, 0.004]}, floor=0.001),
        ),
    ),
    memory=(
        Memory(candidate="bundle", encoder="image", peak=3 << 20, private=2 << 20),
        Memory(candidate="eager", encoder="image", peak=None, private=None),
    ),
    cold_start=ColdStart(opened=(0.5,), first_embedding=(1.25,)),
    files=Files(images=4, failed=1, batch=8, seconds=(2.0,), network_seconds=(1.0,)),
    skipped=(
        Skipped(candidate="plain", encoder="image", reason="needs the extra 'export'"),
        Skipped(candidate="plain", encoder="text", reason="needs the extra 'export'"),
    ),
)


def test_markdown_contains_the_results():
    text = to_markdown(BENCH)
    assert "| eager | 8 | 500.00 | 16.00 | 5.00 | 2.50 |" in text
    assert "| bundle | 12 padded to 77 | 4.00 | 250.00 | 4.00 | 1.00 |" in text
    assert "| float32 matrix product, onnxruntime | 100 GFLOP/s |" in text
    assert "| fresh process to first image's vector | 1.25 s |" in text
    assert "| of the network's rate at batch 8 | 25.0% |" in text
    assert "| bundle | image | 3 | 2 |" in text
    assert "| eager | image | – | – |" in text
    assert "Not measured: plain (image and text): needs the extra 'export'." in text
    assert "random weights" in text
    assert "mi2 bench --rounds 2" in text
    assert "not quiet" not in text


def test_a_busy_machine_is_reported():
    busy = replace(PEAK, samples={"onnxruntime": (0.02, 0.05)})
    results = tuple(replace(result, peak=busy) for result in BENCH.results)
    assert "not quiet: its slowest matrix product took 2.5 times" in to_markdown(replace(BENCH, results=results))


def test_json_is_strict_and_complete():
    data = json.loads(to_json(BENCH))
    result = data["results"][0]
    assert result["case"] == {"side": "image", "batch": 8, "tokens": 0, "length": 0}
    assert result["timings"][1]["samples"] == [0.5, 0.5]
    assert result["timings"][1]["per_second"] == 16.0
    assert result["timings"][0]["peak_fraction"] == 0.5
    assert data["peak"]["flops_per_second"] == pytest.approx(1e11)
    assert data["settings"]["rounds"] == 2
    assert data["files"]["fraction"] == 0.25
    assert data["skipped"][0]["candidate"] == "plain"


def test_a_folder_is_written_completely_and_replaces_an_earlier_report(tmp_path):
    pytest.importorskip("matplotlib", reason="needs the extra evaluate")
    folder = write_report(BENCH, tmp_path / "deep" / "report")
    names = {"report.json", "report.md", "speed.png"}
    assert {file.name for file in folder.iterdir()} == names
    assert "(speed.png)" in (folder / "report.md").read_text(encoding="utf-8")
    with Image.open(folder / "speed.png") as plot:
        assert len(plot.convert("RGB").getcolors(1 << 20)) > 3
    write_report(replace(BENCH, model="other"), folder)
    assert json.loads((folder / "report.json").read_text(encoding="utf-8"))["model"] == "other"
    assert [file.name for file in folder.parent.iterdir()] == ["report"]


def test_a_folder_with_other_files_is_not_changed(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="choose another") as caught:
        write_report(BENCH, tmp_path)
    assert caught.value.code == "report_folder_occupied"
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_failed_write_preserves_the_earlier_report(tmp_path, monkeypatch):
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "report.json").write_text("earlier")

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr("medimageinsight.bench.report.draw_plot", fail)
    with pytest.raises(OSError, match="disk full"):
        write_report(BENCH, folder)
    assert (folder / "report.json").read_text() == "earlier"
    assert [file.name for file in tmp_path.iterdir()] == ["report"]
