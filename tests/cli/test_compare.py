from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medimageinsight import MedImageInsight
from medimageinsight.cli.compare import is_image
from medimageinsight.tasks import Text


def test_an_image_and_itself(mi2, image_files: list[Path]) -> None:
    done = mi2("compare", image_files[0], image_files[0])
    assert (done.code, done.out) == (0, "similarity 1.0000\n")


def test_json_for_an_image_and_a_text(mi2, image_files: list[Path]) -> None:
    done = mi2("compare", image_files[0], "x-ray chest", "--json")
    assert list(done.json) == ["similarity"]
    assert -1 <= done.json["similarity"] < 1
    assert done.json == mi2("compare", "x-ray chest", image_files[0], "--json").json


def test_two_texts(mi2) -> None:
    assert mi2("compare", "x-ray", "x-ray", "--json").json["similarity"] == pytest.approx(1)


def test_standard_input(mi2, image_files: list[Path]) -> None:
    assert mi2("compare", "-", image_files[0], stdin=image_files[0].read_bytes()).out == "similarity 1.0000\n"


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


def test_several_give_a_matrix(mi2, image_files: list[Path], toy_bundle: Path) -> None:
    done = mi2("compare", *image_files, "x-ray chest", "--json")
    assert (done.code, done.err) == (0, "")
    assert done.json["items"] == [*map(str, image_files), "x-ray chest"]
    with MedImageInsight.load(toy_bundle) as model:
        expected = model.compare([*image_files, Text("x-ray chest")])
        one = model.compare(image_files[0], Text("x-ray chest"))
    assert expected.shape == (4, 4)
    np.testing.assert_allclose(done.json["similarity"], expected, atol=1e-5)
    assert float(one) == pytest.approx(float(expected[0, 3]), abs=1e-5)
    shown = mi2("compare", *image_files)
    assert shown.out.count("1.000") == 3


def test_studies(mi2, image_files: list[Path]) -> None:
    words = ("compare", "--prior", *image_files[1:], "--current", image_files[1], image_files[0])
    done = mi2(*words, "--json")
    assert (done.code, done.err) == (0, "")
    assert -1 <= done.json["similarity"] <= 1
    same, new = done.json["current"]
    assert list(same) == ["source", "nearest", "similarity", "novelty"]
    assert (same["source"], same["nearest"]) == (str(image_files[1]), str(image_files[1]))
    assert (same["similarity"], same["novelty"]) == (pytest.approx(1), pytest.approx(0, abs=1e-5))
    assert new["nearest"] in map(str, image_files[1:])
    assert new["novelty"] == pytest.approx(1 - new["similarity"], abs=1e-5)
    assert "novelty" in mi2(*words).out


def test_a_study_with_a_broken_image_is_none(mi2, image_files: list[Path], tmp_path: Path) -> None:
    missing = tmp_path / "missing.png"
    done = mi2("compare", "--current", image_files[0], "--prior", image_files[1], missing, "--json")
    assert (done.code, done.json["source"]) == (1, str(missing))


def test_wrong_calls(mi2, image_files: list[Path]) -> None:
    for words in (
        (),
        (image_files[0],),
        ("--prior", image_files[0]),
        (image_files[1], "--prior", image_files[0], "--current", image_files[1]),
    ):
        done = mi2("compare", *words, "--json")
        assert (done.code, done.json["error"]["code"]) == (2, "compare_invalid")
