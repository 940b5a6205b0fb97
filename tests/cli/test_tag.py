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
    """Return a function that runs ``mi2 tag fit`` on the table and writes ``t.json``."""

    def run(*words: object):
        options = ("--label-column", "kind", "--separator", "|", "--out", tmp_path / "t.json")
        return mi2("tag", "fit", table, *options, *words)

    return run


@pytest.mark.parametrize("name", ["modality", "anatomy", "view"])
def test_vocabulary_gives_probabilities(mi2, toy_bundle: Path, image_files: list[Path], name: str) -> None:
    result = mi2("tag", *image_files, "--vocabulary", name, "--threshold", "0.1", "--json")
    assert result.code == 0
    assert [entry["source"] for entry in result.json] == list(map(str, image_files))
    with MedImageInsight.load(toy_bundle) as model:
        expected = term_probabilities(
            model.embed_images(image_files), vocabulary(name), model.embed_texts, model.logit_scale
        )
    actual = [[tag["score"] for tag in entry["tags"].values()] for entry in result.json]
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    for entry in result.json:
        assert list(entry["tags"]) == list(vocabulary(name))
        assert all(tag["present"] == (tag["score"] >= tag["threshold"] == 0.1) for tag in entry["tags"].values())


def test_options_may_come_first(mi2, image_files: list[Path]) -> None:
    first = mi2("tag", "--vocabulary", "modality", image_files[0], "--json")
    last = mi2("tag", image_files[0], "--vocabulary", "modality", "--json")
    assert first.code == 0
    assert first.out == last.out


def test_built_in_model_tags_the_modality(mi2, tmp_path: Path) -> None:
    from pydicom.data import get_testdata_file

    path = get_testdata_file("CT_small.dcm", download=False)
    (entry,) = mi2("tag", path, "--vocabulary", "modality", "--model", "mini", "--json").json
    assert sum(tag["score"] for tag in entry["tags"].values()) == pytest.approx(1, abs=1e-4)
    assert sum(tag["present"] for tag in entry["tags"].values()) <= 1


def test_fitted_tagger_tags_images(mi2, fit, tmp_path: Path) -> None:
    fitted = fit("--criterion", "sensitivity:0.9", "--template", "x-ray {}", "--negative", "x-ray", "--json")
    assert fitted.code == 0
    assert [tag["name"] for tag in fitted.json["tags"]] == ["left", "right"]
    for tag in fitted.json["tags"]:
        assert tag["prompts"] == {"positive": [f"x-ray {tag['name']}"], "negative": ["x-ray"]}
        operation = tag["validation"]["operation"]
        assert operation["sensitivity"]["value"] >= 0.9
        assert operation["sensitivity"]["low"] < operation["sensitivity"]["value"] <= operation["sensitivity"]["high"]
        assert operation["positives"] + operation["negatives"] == 30
        assert tag["test"]["operation"]["positives"] > 0
    image = write_image(tmp_path / "n.png", "left", 7)
    (entry,) = mi2("tag", image, "--tagger", tmp_path / "t.json", "--json").json
    assert set(entry["tags"]) == {"left", "right"}
    for tag, stored in zip(entry["tags"].values(), fitted.json["tags"], strict=True):
        assert tag["threshold"] == stored["threshold"]
        assert tag["present"] == (tag["score"] >= tag["threshold"])


def test_verb_and_function_give_the_same_scores(
    mi2, fit, toy_bundle: Path, image_files: list[Path], tmp_path: Path
) -> None:
    assert fit().code == 0
    actual = mi2("tag", *image_files, "--tagger", tmp_path / "t.json", "--json").json
    tagger = load_tagger(tmp_path / "t.json")
    with MedImageInsight.load(toy_bundle) as model:
        expected = tagger.scores(model.embed_images(image_files), model.embed_texts, model.logit_scale)
    np.testing.assert_allclose(
        [[tag["score"] for tag in entry["tags"].values()] for entry in actual], expected, atol=1e-5
    )


def test_fits_thresholds_to_an_adapter(mi2, fit, table: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "a.adapter"
    words = ("--label-column", "kind", "--separator", "|", "--kind", "mlp", "--out", adapter)
    assert mi2("adapter", "train", table, *words).code == 0
    fitted = fit("--adapter", adapter, "--json")
    assert fitted.code == 0
    assert all(tag["test"]["operation"]["sensitivity"]["value"] > 0.8 for tag in fitted.json["tags"])
    adapter.unlink()  # the tagger contains it
    whole = write_image(tmp_path / "n.png", "whole", 7)
    (entry,) = mi2("tag", whole, "--tagger", tmp_path / "t.json", "--json").json
    assert [tag["present"] for tag in entry["tags"].values()] == [True, True]


def test_reads_prompts_from_a_file(fit, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.json"
    prompts.write_text(json.dumps({"left": {"positive": ["port"], "negative": ["no"]}, "right": ["one", "two"]}))
    fitted = fit("--prompts", prompts, "--json")
    assert [tag["prompts"] for tag in fitted.json["tags"]] == [
        {"positive": ["port"], "negative": ["no"]},
        {"positive": ["one", "two"], "negative": []},
    ]


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"a": {"negative": ["b"]}}', '{"a": {"positive": "b", "c": 1}}', "{1"]
)
def test_rejects_invalid_prompts_file(fit, tmp_path: Path, content: str) -> None:
    prompts = tmp_path / "prompts.json"
    prompts.write_text(content)
    result = fit("--prompts", prompts)
    assert result.code == 2
    assert "expected JSON of tags" in result.err


def test_prints_tables(mi2, fit, image_files: list[Path], tmp_path: Path) -> None:
    fitted = fit("--criterion", "f1")
    assert fitted.out.count("thresholds by f1") == 2
    assert "sensitivity" in fitted.out
    printed = mi2("tag", *image_files, "--tagger", tmp_path / "t.json")
    assert printed.code == 0
    assert all(str(path) in printed.out for path in image_files)


def test_failed_image_does_not_stop_the_others(mi2, fit, image_files: list[Path], tmp_path: Path) -> None:
    fit()
    missing = tmp_path / "missing.png"
    for words in (("--vocabulary", "view"), ("--tagger", tmp_path / "t.json")):
        result = mi2("tag", image_files[0], missing, image_files[1], *words, "--json")
        assert result.code == 1
        assert [list(entry)[1] for entry in result.json] == ["tags", "error", "tags"]
        assert result.json[1]["source"] == str(missing)
        only = mi2("tag", missing, *words)
        assert (only.code, only.out) == (1, "")


def test_rejects_another_model(mi2, fit, image_files: list[Path], tmp_path: Path) -> None:
    fit()
    result = mi2("tag", image_files[0], "--tagger", tmp_path / "t.json", "--model", "mini", "--json")
    assert result.code == 1
    assert result.json["error"]["code"] == "adapter_other_model"


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
        (
            ["x.png", "--tagger", "t.json", "--threshold", "0.5"],
            "expected --threshold, --preprocessing and --window with",
        ),
        (["fit", "x.csv", "--out", "t.json", "--criterion", "roc"], "expected the criterion youden, f1 or"),
        (
            ["fit", "x.csv", "--out", "t.json", "--adapter", "a", "--negative", "b"],
            "expected an adapter, which prepares",
        ),
    ],
)
def test_rejects_invalid_options(mi2, words: list[str], message: str) -> None:
    result = mi2("tag", *words)
    assert result.code == 2
    assert message in result.err
    assert result.out == ""


def test_rejects_tag_without_validation_images(fit, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.json"
    prompts.write_text('{"left": "left", "nowhere": "nowhere"}')
    result = fit("--prompts", prompts)
    assert result.code == 2
    assert "tag 'nowhere': expected validation images with the tag, got none" in result.err
    assert not (tmp_path / "t.json").exists()


def test_rejects_unknown_split(fit) -> None:
    result = fit("--validation-split", "dev")
    assert result.code == 2
    assert "expected one of the splits test, train, val, got 'dev'" in result.err


def test_tags_with_given_labels(mi2, toy_bundle: Path, image_files: list[Path]) -> None:
    words = ("--template", "x-ray {}", "--negative", "x-ray", "--negative", "nothing", "--json")
    result = mi2("tag", *image_files, "--labels", "big heart", "fluid", *words)
    assert (result.code, result.err) == (0, "")
    prompts = tag_prompts(["big heart", "fluid"], template="x-ray {}", negative=["x-ray", "nothing"])
    with MedImageInsight.load(toy_bundle) as model:
        expected = model.tag(image_files, prompts)
    for entry, tags in zip(result.json, expected, strict=True):
        assert list(entry["tags"]) == ["big heart", "fluid"]
        for name, tag in entry["tags"].items():
            assert tag["score"] == pytest.approx(tags[name].score, abs=1e-5)
            assert tag["threshold"] == 0.5
            assert tag["present"] == (tag["score"] >= 0.5)


def test_cosines_need_a_threshold(mi2, image_files: list[Path]) -> None:
    refused = mi2("tag", image_files[0], "--labels", "a", "b", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (2, "threshold_missing")
    assert "negative prompts for every tag" in refused.err
    assert "mi2 tag fit" in refused.err
    (entry,) = mi2("tag", image_files[0], "--labels", "a", "b", "--threshold", "-1", "--json").json
    assert all(tag["present"] and -1 <= tag["score"] <= 1 for tag in entry["tags"].values())


def test_help_names_both_verbs(mi2) -> None:
    result = mi2("tag", "--help")
    assert result.code == 0
    assert "apply" in result.out
    assert "fit" in result.out
