from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medimageinsight import MedImageInsight
from medimageinsight.tagging import load_tagger, tag_prompts, term_probabilities, vocabulary
from tests.cli.labelled_images import write_image, write_table

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(tmp_path / "set", count=120, together=True)


@pytest.fixture
def fit(mi2, table: Path, tmp_path: Path):
    """``mi2 tag fit`` on the table, with more words; the tagger's file is ``t.json``."""

    def run(*words: object):
        given = ("--label-column", "kind", "--separator", "|", "--out", tmp_path / "t.json")
        return mi2("tag", "fit", table, *given, *words)

    return run


@pytest.mark.parametrize("name", ["modality", "anatomy", "view"])
def test_a_vocabulary_gives_probabilities(mi2, toy_bundle: Path, image_files: list[Path], name: str) -> None:
    done = mi2("tag", *image_files, "--vocabulary", name, "--threshold", "0.1", "--json")
    assert done.code == 0
    assert [one["source"] for one in done.json] == list(map(str, image_files))
    with MedImageInsight.load(toy_bundle) as model:
        expected = term_probabilities(
            model.embed_images(image_files), vocabulary(name), model.embed_texts, model.logit_scale
        )
    found = [[tag["score"] for tag in one["tags"].values()] for one in done.json]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for one in done.json:
        assert list(one["tags"]) == list(vocabulary(name))
        assert all(tag["present"] == (tag["score"] >= tag["threshold"] == 0.1) for tag in one["tags"].values())


def test_options_may_come_first(mi2, image_files: list[Path]) -> None:
    first = mi2("tag", "--vocabulary", "modality", image_files[0], "--json")
    last = mi2("tag", image_files[0], "--vocabulary", "modality", "--json")
    assert first.code == 0
    assert first.out == last.out


def test_the_built_in_model_knows_a_modality(mi2, tmp_path: Path) -> None:
    from pydicom.data import get_testdata_file

    path = get_testdata_file("CT_small.dcm", download=False)
    (one,) = mi2("tag", path, "--vocabulary", "modality", "--model", "mini", "--json").json
    assert sum(tag["score"] for tag in one["tags"].values()) == pytest.approx(1, abs=1e-4)
    assert sum(tag["present"] for tag in one["tags"].values()) <= 1


def test_fit_then_tag(mi2, fit, tmp_path: Path) -> None:
    made = fit("--criterion", "sensitivity:0.9", "--template", "x-ray {}", "--negative", "x-ray", "--json")
    assert made.code == 0
    assert [tag["name"] for tag in made.json["tags"]] == ["left", "right"]
    for tag in made.json["tags"]:
        assert tag["prompts"] == {"positive": [f"x-ray {tag['name']}"], "negative": ["x-ray"]}
        operation = tag["validation"]["operation"]
        assert operation["sensitivity"]["value"] >= 0.9
        assert operation["sensitivity"]["low"] < operation["sensitivity"]["value"] <= operation["sensitivity"]["high"]
        assert operation["positives"] + operation["negatives"] == 30
        assert tag["test"]["operation"]["positives"] > 0
    image = write_image(tmp_path / "n.png", "left", 7)
    (one,) = mi2("tag", image, "--tagger", tmp_path / "t.json", "--json").json
    assert set(one["tags"]) == {"left", "right"}
    for tag, kept in zip(one["tags"].values(), made.json["tags"], strict=True):
        assert tag["threshold"] == kept["threshold"]
        assert tag["present"] == (tag["score"] >= tag["threshold"])


def test_the_verb_gives_what_the_functions_give(
    mi2, fit, toy_bundle: Path, image_files: list[Path], tmp_path: Path
) -> None:
    assert fit().code == 0
    found = mi2("tag", *image_files, "--tagger", tmp_path / "t.json", "--json").json
    tagger = load_tagger(tmp_path / "t.json")
    with MedImageInsight.load(toy_bundle) as model:
        expected = tagger.scores(model.embed_images(image_files), model.embed_texts, model.logit_scale)
    np.testing.assert_allclose([[tag["score"] for tag in one["tags"].values()] for one in found], expected, atol=1e-5)


def test_an_adapter_gives_the_scores(mi2, fit, table: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "a.adapter"
    words = ("--label-column", "kind", "--separator", "|", "--kind", "mlp", "--out", adapter)
    assert mi2("adapter", "train", table, *words).code == 0
    made = fit("--adapter", adapter, "--json")
    assert made.code == 0
    assert all(tag["test"]["operation"]["sensitivity"]["value"] > 0.8 for tag in made.json["tags"])
    adapter.unlink()  # the tagger has it
    whole = write_image(tmp_path / "n.png", "whole", 7)
    (one,) = mi2("tag", whole, "--tagger", tmp_path / "t.json", "--json").json
    assert [tag["present"] for tag in one["tags"].values()] == [True, True]


def test_prompts_from_a_file(fit, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.json"
    prompts.write_text(json.dumps({"left": {"positive": ["port"], "negative": ["no"]}, "right": ["one", "two"]}))
    made = fit("--prompts", prompts, "--json")
    assert [tag["prompts"] for tag in made.json["tags"]] == [
        {"positive": ["port"], "negative": ["no"]},
        {"positive": ["one", "two"], "negative": []},
    ]


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"a": {"negative": ["b"]}}', '{"a": {"positive": "b", "c": 1}}', "{1"]
)
def test_prompts_that_cannot_be_read(fit, tmp_path: Path, content: str) -> None:
    prompts = tmp_path / "prompts.json"
    prompts.write_text(content)
    done = fit("--prompts", prompts)
    assert done.code == 2
    assert "expected JSON of tags" in done.err


def test_tables_for_a_person(mi2, fit, image_files: list[Path], tmp_path: Path) -> None:
    made = fit("--criterion", "f1")
    assert made.out.count("thresholds by f1") == 2
    assert "sensitivity" in made.out
    shown = mi2("tag", *image_files, "--tagger", tmp_path / "t.json")
    assert shown.code == 0
    assert all(str(path) in shown.out for path in image_files)


def test_a_failed_image_leaves_the_others(mi2, fit, image_files: list[Path], tmp_path: Path) -> None:
    fit()
    missing = tmp_path / "missing.png"
    for words in (("--vocabulary", "view"), ("--tagger", tmp_path / "t.json")):
        done = mi2("tag", image_files[0], missing, image_files[1], *words, "--json")
        assert done.code == 1
        assert [list(one)[1] for one in done.json] == ["tags", "error", "tags"]
        assert done.json[1]["source"] == str(missing)
        only = mi2("tag", missing, *words)
        assert (only.code, only.out) == (1, "")


def test_another_model_is_refused(mi2, fit, image_files: list[Path], tmp_path: Path) -> None:
    fit()
    done = mi2("tag", image_files[0], "--tagger", tmp_path / "t.json", "--model", "mini", "--json")
    assert done.code == 1
    assert done.json["error"]["code"] == "adapter_other_model"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["x.png"], "expected one of --tagger, --vocabulary and --labels"),
        (
            ["x.png", "--vocabulary", "modality", "--tagger", "t.json"],
            "expected one of --tagger, --vocabulary and --labels",
        ),
        (["x.png", "--vocabulary", "modality", "--labels", "a"], "expected one of --tagger, --vocabulary and --labels"),
        (["x.png", "--vocabulary", "modality", "--negative", "a"], "expected --template and --negative with --labels"),
        (["x.png", "--vocabulary", "modality", "--threshold", "-0.5"], "expected a threshold from 0 to 1"),
        (["x.png", "--labels", "a", "--negative", " "], "expected texts as negative prompts"),
        (["x.png", "--labels", " ", "--threshold", "0"], "expected a text for every label"),
        (["x.png", "--labels", "a", "a", "--threshold", "0"], "expected every label once"),
        (["--vocabulary", "modality"], "expected image files, got none"),
        (["x.png", "--vocabulary", "organ"], "expected one of the vocabularies modality, anatomy, view"),
        (["x.png", "--tagger", "t.json", "--threshold", "0.5"], "expected --threshold and --preprocessing with"),
        (["fit", "x.csv", "--out", "t.json", "--criterion", "roc"], "expected the criterion youden, f1 or"),
        (["fit", "x.csv", "--out", "t.json", "--adapter", "a", "--negative", "b"], "expected prompts or an adapter"),
    ],
)
def test_wrong_calls(mi2, words: list[str], message: str) -> None:
    done = mi2("tag", *words)
    assert done.code == 2
    assert message in done.err
    assert done.out == ""


def test_a_tag_that_validation_cannot_judge(fit, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.json"
    prompts.write_text('{"left": "left", "nowhere": "nowhere"}')
    done = fit("--prompts", prompts)
    assert done.code == 2
    assert "tag 'nowhere': expected validation images with the tag, got none" in done.err
    assert not (tmp_path / "t.json").exists()


def test_a_split_that_is_not_there(fit) -> None:
    done = fit("--validation-split", "dev")
    assert done.code == 2
    assert "expected one of the splits test, train, val, got 'dev'" in done.err


def test_labels_of_ones_own(mi2, toy_bundle: Path, image_files: list[Path]) -> None:
    words = ("--template", "x-ray {}", "--negative", "x-ray", "--negative", "nothing", "--json")
    done = mi2("tag", *image_files, "--labels", "big heart", "fluid", *words)
    assert (done.code, done.err) == (0, "")
    prompts = tag_prompts(["big heart", "fluid"], template="x-ray {}", negative=["x-ray", "nothing"])
    with MedImageInsight.load(toy_bundle) as model:
        expected = model.tag(image_files, prompts)
    for one, tags in zip(done.json, expected, strict=True):
        assert list(one["tags"]) == ["big heart", "fluid"]
        for name, tag in one["tags"].items():
            assert tag["score"] == pytest.approx(tags[name].score, abs=1e-5)
            assert tag["threshold"] == 0.5
            assert tag["present"] == (tag["score"] >= 0.5)


def test_cosines_need_a_threshold(mi2, image_files: list[Path]) -> None:
    refused = mi2("tag", image_files[0], "--labels", "a", "b", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (2, "threshold_missing")
    assert "negative prompts for every tag" in refused.err
    assert "mi2 tag fit" in refused.err
    (one,) = mi2("tag", image_files[0], "--labels", "a", "b", "--threshold", "-1", "--json").json
    assert all(tag["present"] and -1 <= tag["score"] <= 1 for tag in one["tags"].values())


def test_help_names_both_verbs(mi2) -> None:
    done = mi2("tag", "--help")
    assert done.code == 0
    assert "apply" in done.out
    assert "fit" in done.out
