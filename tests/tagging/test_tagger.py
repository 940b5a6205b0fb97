from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medimageinsight.adapters import AdapterSettings, split_by_patient, train_adapter
from medimageinsight.errors import InputError, ModelError
from medimageinsight.metrics.thresholds import Criterion
from medimageinsight.tagging import (
    TagPrompts,
    adapter_scores,
    embed_tags,
    fit_tagger,
    fit_tagger_to_embeddings,
    load_tagger,
    prompt_scores,
    save_tagger,
    tag_prompts,
)
from tests.adapters.sample_embeddings import DIM, make_identity, make_multilabel

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = {"up": [0.0, 1.0], "right": [1.0, 0.0], "down": [0.0, -1.0], "left": [-1.0, 0.0]}
PROMPTS = {"up": TagPrompts(positive=("up",), negative=("down",)), "right": TagPrompts(positive=("right", "up"))}
LOGIT_SCALE = math.log(2)


def embed_texts(texts: list[str]) -> np.ndarray:
    return np.array([TEXTS[text] for text in texts], dtype=np.float32)


def make_tagger(**changed):
    images = np.array([[0.0, 1.0], [1.0, 0.1], [0.5, 1.0], [-1.0, -1.0], [0.0, -1.0], [1.0, 1.0]])
    scores = prompt_scores(images, embed_tags(embed_texts, PROMPTS), LOGIT_SCALE)
    truth = np.array([[1, 0], [0, 1], [1, 1], [0, 0], [0, 0], [1, 1]], dtype=bool)
    return fit_tagger(PROMPTS, scores, truth, model=make_identity(), **changed), scores, truth


def test_prompt_scores_match_hand_computed_values() -> None:
    scores = prompt_scores([[0.0, 2.0], [1.0, 0.0]], embed_tags(embed_texts, PROMPTS), LOGIT_SCALE)
    np.testing.assert_allclose(scores, [[1 / (1 + math.exp(-4)), math.sqrt(0.5)], [0.5, math.sqrt(0.5)]], rtol=1e-6)


def test_tag_prompts_fill_templates() -> None:
    fitted = tag_prompts(["a", "b"], template=["x-ray {}", "film {}"], negative=["x-ray normal"])
    assert fitted["a"] == TagPrompts(positive=("x-ray a", "film a"), negative=("x-ray normal",))
    with pytest.raises(InputError):
        tag_prompts(["a"], negative=[" "])


def test_tagger_finds_present_tags() -> None:
    fitted, scores, truth = make_tagger()
    assert fitted.names == ("up", "right")
    np.testing.assert_array_equal(fitted.present(scores)[:, 0], truth[:, 0])
    figures = fitted.tags[0].validation
    assert figures.operation.sensitivity.value == figures.operation.specificity.value == 1
    assert figures.auc is None  # three with the tag are too few
    assert (figures.operation.positives, figures.operation.negatives) == (3, 3)


def test_criterion_determines_the_threshold() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((200, 1)) < 0.3
    scores = rng.standard_normal((200, 1)) + truth
    prompts = {"up": PROMPTS["up"]}
    fitted = {
        text: fit_tagger(prompts, scores, truth, model=make_identity(), criterion=Criterion.parse(text))
        for text in ("youden", "sensitivity:0.95")
    }
    sensitive = fitted["sensitivity:0.95"].tags[0]
    assert sensitive.validation.operation.sensitivity.value >= 0.95
    assert sensitive.threshold < fitted["youden"].tags[0].threshold
    assert fitted["sensitivity:0.95"].criterion == "sensitivity:0.95"


def test_figures_of_test_images() -> None:
    fitted, scores, truth = make_tagger()
    tested = fitted.with_test_figures(scores[:4], np.column_stack([truth[:4, 0], np.zeros(4, dtype=bool)]))
    assert tested.tags[0].test.operation.positives == 2
    assert tested.tags[1].test is None  # no image has the tag
    np.testing.assert_array_equal(tested.thresholds, fitted.thresholds)


def test_fits_to_labelled_embeddings_as_to_arrays() -> None:
    validation, test = split_by_patient(make_multilabel(200))
    prompts = {"left": PROMPTS["up"], "right": PROMPTS["right"]}
    vectors = {text: np.resize(vector, DIM).astype(np.float32) for text, vector in TEXTS.items()}

    def embed(texts: list[str]) -> np.ndarray:
        return np.array([vectors[text] for text in texts])

    fitted = fit_tagger_to_embeddings(
        validation, prompts, embed_texts=embed, logit_scale=LOGIT_SCALE, model=make_identity(), test=test
    )
    scores = {part: prompt_scores(part.rows, embed_tags(embed, prompts), LOGIT_SCALE) for part in (validation, test)}
    truth = {part: part.truth(("left", "right")) for part in (validation, test)}
    expected = fit_tagger(prompts, scores[validation], truth[validation], model=make_identity())
    assert fitted.tags == expected.with_test_figures(scores[test], truth[test]).tags


@pytest.mark.parametrize(("column", "code"), [([0] * 6, "tag_without_positives"), ([1] * 6, "tag_without_negatives")])
def test_names_a_tag_that_all_or_no_images_have(column, code: str) -> None:
    _, scores, truth = make_tagger()
    truth[:, 1] = column
    with pytest.raises(InputError, match="tag 'right'") as caught:
        fit_tagger(PROMPTS, scores, truth, model=make_identity())
    assert caught.value.code == code


def test_rejects_invalid_arguments() -> None:
    _, scores, truth = make_tagger()
    for tags, values, code in (
        ({}, scores, "labels_empty"),
        (["up", "right"], scores, "label_invalid"),
        (PROMPTS, scores[:, :1], "scores_bad"),
        (PROMPTS, scores[:3], "scores_bad"),
    ):
        with pytest.raises(InputError) as caught:
            fit_tagger(tags, values, truth, model=make_identity())
        assert caught.value.code == code


def test_file_round_trip_changes_nothing(tmp_path: Path) -> None:
    fitted, scores, truth = make_tagger()
    fitted = fitted.with_test_figures(scores, truth)
    save_tagger(fitted, tmp_path / "t.json")
    read = load_tagger(tmp_path / "t.json", model=make_identity())
    assert (read.tags, read.model, read.criterion, read.adapter) == (fitted.tags, fitted.model, fitted.criterion, None)
    images = np.array([[0.3, 0.7], [-0.2, 0.1]])
    np.testing.assert_array_equal(
        read.scores(images, embed_texts, LOGIT_SCALE), fitted.scores(images, embed_texts, LOGIT_SCALE)
    )


@pytest.mark.parametrize("changed", [{"text_encoder": {"text_encoder.onnx": "9" * 64}}, {"image_encoder": {}}])
def test_rejects_another_model(tmp_path: Path, changed) -> None:
    save_tagger(make_tagger()[0], tmp_path / "t.json")
    with pytest.raises(ModelError) as caught:
        load_tagger(tmp_path / "t.json", model=make_identity(**changed))
    assert caught.value.code == "adapter_other_model"


def test_adapter_gives_the_scores(tmp_path: Path) -> None:
    train, validation = split_by_patient(make_multilabel(200))
    adapter = train_adapter(
        train, validation, model=make_identity(), settings=AdapterSettings(kind="mlp", epochs=30, resamples=20)
    )
    scores = adapter_scores(validation.rows, adapter, adapter.labels)
    fitted = fit_tagger(
        adapter.labels, scores, validation.truth(adapter.labels), model=make_identity(), adapter=adapter
    )
    save_tagger(fitted, tmp_path / "t.json")
    read = load_tagger(tmp_path / "t.json", model=make_identity(text_encoder={}))  # texts are not used
    rows = make_multilabel(50, seed=1).rows
    np.testing.assert_array_equal(
        read.present(read.scores(rows, embed_texts, 0.0)), adapter.predict(rows) >= fitted.thresholds
    )
    assert read.tags[0].prompts is None
    with pytest.raises(InputError) as caught:
        adapter_scores(rows, adapter, ["left", "no such"])
    assert caught.value.code == "label_unknown"


def damage(document: dict, kind: str) -> None:
    tags = document["tags"]
    if kind == "no tags":
        document["tags"] = []
    elif kind == "twice":
        tags.append(tags[0])
    elif kind == "prompts":
        tags[0]["prompts"] = None
    elif kind == "threshold":
        tags[0]["threshold"] = "0.5"
    elif kind == "infinite":
        tags[0]["threshold"] = 1e999
    elif kind == "kind":
        document["kind"] = "adapter"


@pytest.mark.parametrize("kind", ["no tags", "twice", "prompts", "threshold", "infinite", "kind"])
def test_rejects_a_modified_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "t.json"
    save_tagger(make_tagger()[0], path)
    document = json.loads(path.read_text())
    damage(document, kind)
    path.write_text(json.dumps(document).replace("Infinity", "1e999"))
    with pytest.raises(ModelError) as caught:
        load_tagger(path)
    assert caught.value.code == "tagger_invalid"


def test_rejects_test_images_of_a_validation_patient() -> None:
    data = dataclasses.replace(make_multilabel(60), patients=[f"p{n // 2}" for n in range(60)])
    with pytest.raises(InputError, match="30 patients with 120 images") as caught:
        fit_tagger_to_embeddings(
            data,
            tag_prompts(data.names),
            embed_texts=lambda texts: np.eye(DIM, dtype=np.float32)[: len(texts)],
            logit_scale=2.0,
            model=make_identity(),
            test=data,
        )
    assert caught.value.code == "patients_shared"


def test_images_where_a_tag_is_uncertain_are_ignored() -> None:
    train, validation = split_by_patient(make_multilabel(200), fraction=0.3)
    adapter = train_adapter(train, validation, model=make_identity(), settings=AdapterSettings(resamples=20))
    fitted = []
    for flip in (False, True):
        parts = []
        for seed in (3, 4):
            data = make_multilabel(120, seed=seed)
            unsure = [frozenset({"left"}) if index % 3 == 0 else frozenset() for index in range(len(data))]
            labels = [sets | names if flip else sets - names for sets, names in zip(data.labels, unsure, strict=True)]
            parts.append(dataclasses.replace(data, labels=labels, uncertain=unsure))
        fitted.append(
            fit_tagger_to_embeddings(
                parts[0], adapter, embed_texts=embed_texts, logit_scale=0.0, model=make_identity(), test=parts[1]
            )
        )
    assert fitted[0].tags == fitted[1].tags
    left = fitted[0].tags[0]
    assert left.validation.operation.positives + left.validation.operation.negatives == 80
    assert left.test is not None
    assert left.test.operation.positives + left.test.operation.negatives == 80
