from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from medimageinsight import MedImageInsight

if TYPE_CHECKING:
    from pathlib import Path


def test_json_has_every_label_of_every_image(mi2, toy_bundle: Path, pictures: list[Path]) -> None:
    done = mi2("classify", *pictures, "--labels", "normal", "big heart", "--json")
    assert done.code == 0
    assert [one["source"] for one in done.json] == list(map(str, pictures))
    found = [list(one["probabilities"].values()) for one in done.json]
    assert list(done.json[0]["probabilities"]) == ["normal", "big heart"]
    with MedImageInsight.load(toy_bundle) as model:
        np.testing.assert_allclose(found, model.classify(pictures, ["normal", "big heart"]), atol=1e-5)


def test_labels_may_also_come_one_by_one(mi2, pictures: list[Path]) -> None:
    together = mi2("classify", pictures[0], "--labels", "a", "b", "--json")
    apart = mi2("classify", pictures[0], "--labels", "a", "--labels=b", "--json")
    assert together.out == apart.out


def test_fields_fill_the_template_or_make_one(mi2, toy_bundle: Path, pictures: list[Path]) -> None:
    labels, fields = ["--labels", "a", "b"], ["--modality", "x-ray", "--anatomy", "chest"]
    own = mi2("classify", pictures[0], *fields, *labels, "--json")
    given = mi2("classify", pictures[0], *fields, "--template", "{modality} {anatomy} {}", *labels, "--json")
    bare = mi2("classify", pictures[0], *labels, "--json")
    assert own.out == given.out != bare.out
    with MedImageInsight.load(toy_bundle) as model:
        expected = model.classify(pictures[0], ["a", "b"], template="x-ray chest {}")
    np.testing.assert_allclose(list(own.json[0]["probabilities"].values()), expected, atol=1e-5)


def test_the_table_shows_the_best_labels(mi2, pictures: list[Path]) -> None:
    labels = [f"label{number}" for number in range(9)]
    done = mi2("classify", pictures[0], pictures[1], "--top", 3, "--labels", *labels)
    assert done.code == 0
    assert done.out.count("label") == 2 * 3 + 1  # and the column's name
    assert done.out.count("%") == 2 * 3


def test_a_failed_image_leaves_the_others(mi2, pictures: list[Path], tmp_path: Path) -> None:
    missing = tmp_path / "missing.png"
    done = mi2("classify", pictures[0], missing, pictures[1], "--labels", "a", "b", "--json")
    assert done.code == 1
    assert [("error" in one) for one in done.json] == [False, True, False]
    table = mi2("classify", missing, pictures[0], "--labels", "a", "b")
    assert table.code == 1
    assert str(pictures[0]) in table.out
    assert str(missing) in table.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["x.png"], "expected labels, got none"),
        (["--labels", "a", "b"], "expected image files, got none: name them before --labels"),
        (["x.png", "--labels", "a", "a"], "expected every label once"),
        (["x.png", "--labels", " "], "expected a text for every label"),
        (["x.png", "--template", "no place", "--labels", "a"], "expected {} in the template"),
        (["x.png", "--template", "{modality} {}", "--labels", "a"], "got none for modality"),
    ],
)
def test_wrong_calls(mi2, words: list[str], message: str) -> None:
    done = mi2("classify", *words)
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1
    assert done.out == ""
