from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PIL import Image

from medimageinsight.cli.contact_sheet import Card, draw_sheet
from medimageinsight.cli.examples import EXAMPLES, PROMPTS, example_path

if TYPE_CHECKING:
    from pathlib import Path


def test_the_demo_shows_a_table_and_writes_an_image(mi2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = mi2("demo")
    assert done.code == 0
    assert all(example.description in done.out for example in EXAMPLES)
    assert done.out.count("not for diagnosis or treatment") == 1
    with Image.open(tmp_path / "medimageinsight-demo.png") as sheet:
        assert sheet.format == "PNG"
        assert sheet.width > 800


def test_the_demo_as_json(mi2, tmp_path: Path) -> None:
    done = mi2("demo", "--out", tmp_path / "sheet.png", "--json")
    assert done.json["contact_sheet"] == str(tmp_path / "sheet.png")
    for one in done.json["images"]:
        assert list(one["probabilities"]) == list(PROMPTS)
        assert sum(one["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_a_place_that_cannot_be_written(mi2, tmp_path: Path) -> None:
    done = mi2("demo", "--out", tmp_path / "no" / "sheet.png")
    assert done.code == 1
    assert done.err.count("\n") == 1


def test_every_example_is_in_the_package_of_pydicom() -> None:
    assert all(example_path(example.file) for example in EXAMPLES)
    assert example_path("nosuch.dcm") is None


def test_bars_are_as_long_as_their_probability() -> None:
    black = Image.new("RGB", (9, 9))
    prompts = [("a prompt much longer than the card is wide, with more words than anyone would read", 1.0), ("b", 0.0)]
    full = draw_sheet([Card(image=black, title="t", prompts=prompts)], title="t")
    half = draw_sheet([Card(image=black, title="t", prompts=[("a", 0.5), ("b", 0.0)])], title="t")
    accent = (0x4F, 0xB3, 0xA9)
    lengths = [sum(pixel == accent for pixel in sheet.get_flattened_data()) for sheet in (full, half)]
    assert lengths[1] == pytest.approx(lengths[0] / 2, rel=0.05)
