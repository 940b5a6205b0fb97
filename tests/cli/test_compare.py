from __future__ import annotations

from pathlib import Path

import pytest

from medimageinsight.cli.compare import is_image


def test_an_image_and_itself(mi2, pictures: list[Path]) -> None:
    done = mi2("compare", pictures[0], pictures[0])
    assert (done.code, done.out) == (0, "similarity 1.0000\n")


def test_json_for_an_image_and_a_text(mi2, pictures: list[Path]) -> None:
    done = mi2("compare", pictures[0], "x-ray chest", "--json")
    assert list(done.json) == ["similarity"]
    assert -1 <= done.json["similarity"] < 1
    assert done.json == mi2("compare", "x-ray chest", pictures[0], "--json").json


def test_two_texts(mi2) -> None:
    assert mi2("compare", "x-ray", "x-ray", "--json").json["similarity"] == pytest.approx(1)


def test_standard_input(mi2, pictures: list[Path]) -> None:
    assert mi2("compare", "-", pictures[0], stdin=pictures[0].read_bytes()).out == "similarity 1.0000\n"


@pytest.mark.parametrize(
    ("word", "image"),
    [
        ("x-ray chest AP/PA", False),
        ("pneumonia", False),
        ("no such.png", True),
        ("folder/scan", True),
        ("data:image/png;base64,AAAA", True),
        ("-", True),
        ("a" * 5000, False),
        ("nul\0", False),
    ],
)
def test_what_is_meant_as_an_image(word: str, image: bool) -> None:
    assert is_image(word) is image


def test_a_file_without_an_ending_is_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("IM0001").touch()
    assert is_image("IM0001")


def test_a_missing_file_is_named(mi2) -> None:
    done = mi2("compare", "nosuch.png", "x-ray", "--json")
    assert done.code == 1
    assert done.err.startswith("error: nosuch.png: expected the path of an image file")
    assert done.json["source"] == "nosuch.png"
