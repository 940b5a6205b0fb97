from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medimageinsight import MedImageInsight
from medimageinsight.cli.compare import is_image
from medimageinsight.tasks import Text


def test_image_and_itself_have_similarity_1(mi2, image_files: list[Path]) -> None:
    result = mi2("compare", image_files[0], image_files[0])
    assert (result.code, result.out) == (0, "similarity 1.0000\n")


def test_compares_image_and_text(mi2, image_files: list[Path]) -> None:
    result = mi2("compare", image_files[0], "x-ray chest", "--json")
    assert list(result.json) == ["similarity"]
    assert -1 <= result.json["similarity"] < 1
    assert result.json == mi2("compare", "x-ray chest", image_files[0], "--json").json


def test_compares_two_texts(mi2) -> None:
    assert mi2("compare", "--text", "x-ray", "--text", "x-ray", "--json").json["similarity"] == pytest.approx(1)


def test_words_are_texts_only_next_to_an_image(mi2, image_files: list[Path]) -> None:
    misspelled = mi2("compare", "scan_1", "scan_2", "--json")
    assert (misspelled.code, misspelled.json["error"]["code"]) == (2, "compare_no_image")
    assert "--text" in misspelled.err
    as_word = mi2("compare", image_files[0], "x-ray", "--json").json
    assert mi2("compare", image_files[0], "--text", "x-ray", "--json").json == as_word
    three = mi2("compare", image_files[0], image_files[1], "--text", "x-ray", "--json").json
    assert three["items"] == [str(image_files[0]), str(image_files[1]), "x-ray"]


def test_reads_standard_input(mi2, image_files: list[Path]) -> None:
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
def test_is_image_recognizes_paths_and_texts(word: str, image: bool) -> None:
    assert is_image(word) is image


def test_existing_file_without_ending_is_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("IM0001").touch()
    assert is_image("IM0001")


def test_names_missing_file(mi2) -> None:
    result = mi2("compare", "nosuch.png", "x-ray", "--json")
    assert result.code == 1
    assert result.err.startswith("error: nosuch.png: expected the path of an image file")
    assert result.json["source"] == "nosuch.png"


def test_several_items_give_a_matrix(mi2, image_files: list[Path], toy_bundle: Path) -> None:
    result = mi2("compare", *image_files, "x-ray chest", "--json")
    assert (result.code, result.err) == (0, "")
    assert result.json["items"] == [*map(str, image_files), "x-ray chest"]
    with MedImageInsight.load(toy_bundle) as model:
        expected = model.compare([*image_files, Text("x-ray chest")])
        single = model.compare(image_files[0], Text("x-ray chest"))
    assert expected.shape == (4, 4)
    np.testing.assert_allclose(result.json["similarity"], expected, atol=1e-5)
    assert float(single) == pytest.approx(float(expected[0, 3]), abs=1e-5)
    printed = mi2("compare", *image_files)
    assert printed.out.count("1.000") == 3


def test_compares_studies(mi2, image_files: list[Path]) -> None:
    words = ("compare", "--prior", *image_files[1:], "--current", image_files[1], image_files[0])
    result = mi2(*words, "--json")
    assert (result.code, result.err) == (0, "")
    assert -1 <= result.json["similarity"] <= 1
    same, new = result.json["current"]
    assert list(same) == ["source", "nearest", "similarity", "novelty"]
    assert (same["source"], same["nearest"]) == (str(image_files[1]), str(image_files[1]))
    assert (same["similarity"], same["novelty"]) == (pytest.approx(1), pytest.approx(0, abs=1e-5))
    assert new["nearest"] in map(str, image_files[1:])
    assert new["novelty"] == pytest.approx(1 - new["similarity"], abs=1e-5)
    assert "novelty" in mi2(*words).out


def test_failed_image_of_a_study_ends_the_call(mi2, image_files: list[Path], tmp_path: Path) -> None:
    missing = tmp_path / "missing.png"
    result = mi2("compare", "--current", image_files[0], "--prior", image_files[1], missing, "--json")
    assert (result.code, result.json["source"]) == (1, str(missing))


def test_rejects_invalid_items(mi2, image_files: list[Path]) -> None:
    for words in (
        (),
        (image_files[0],),
        ("--prior", image_files[0]),
        (image_files[1], "--prior", image_files[0], "--current", image_files[1]),
    ):
        result = mi2("compare", *words, "--json")
        assert (result.code, result.json["error"]["code"]) == (2, "compare_invalid")
