from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PIL import Image

from medimageinsight.cli.contact_sheet import Card, draw_sheet
from medimageinsight.cli.examples import EXAMPLES, PROMPTS, example_path

if TYPE_CHECKING:
    from pathlib import Path


def test_demo_prints_a_table_and_writes_an_image(mi2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = mi2("demo")
    assert result.code == 0
    assert all(example.description in result.out for example in EXAMPLES)
    assert result.out.count("not for diagnosis or treatment") == 1
    with Image.open(tmp_path / "medimageinsight-demo.png") as sheet:
        assert sheet.format == "PNG"
        assert sheet.width > 800


def test_demo_prints_json(mi2, tmp_path: Path) -> None:
    result = mi2("demo", "--out", tmp_path / "sheet.png", "--json")
    assert result.json["contact_sheet"] == str(tmp_path / "sheet.png")
    for entry in result.json["images"]:
        assert list(entry["probabilities"]) == list(PROMPTS)
        assert sum(entry["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_reports_unwritable_output_in_one_line(mi2, tmp_path: Path) -> None:
    result = mi2("demo", "--out", tmp_path / "no" / "sheet.png")
    assert result.code == 1
    assert result.err.count("\n") == 1


def test_every_example_is_shipped_with_pydicom() -> None:
    assert all(example_path(example.file) for example in EXAMPLES)
    assert example_path("nosuch.dcm") is None


def test_bar_length_is_proportional_to_probability() -> None:
    black = Image.new("RGB", (9, 9))
    prompts = [("a prompt much longer than the card is wide, with more words than anyone would read", 1.0), ("b", 0.0)]
    full = draw_sheet([Card(image=black, title="t", prompts=prompts)], title="t")
    half = draw_sheet([Card(image=black, title="t", prompts=[("a", 0.5), ("b", 0.0)])], title="t")
    accent = (0x4F, 0xB3, 0xA9)
    lengths = [sum(pixel == accent for pixel in sheet.get_flattened_data()) for sheet in (full, half)]
    assert lengths[1] == pytest.approx(lengths[0] / 2, rel=0.05)
