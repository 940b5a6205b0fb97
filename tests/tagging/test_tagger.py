from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medimageinsight.adapters.adapter import train_adapter
from medimageinsight.adapters.fitting import AdapterSettings
from medimageinsight.adapters.labelled import split_by_patient
from medimageinsight.errors import InputError, ModelError
from medimageinsight.metrics.thresholds import Criterion
from medimageinsight.tagging.file import load_tagger, save_tagger
from medimageinsight.tagging.tagger import (
    TagPrompts,
    adapter_scores,
    embed_tags,
    fit_tagger,
    prompt_scores,
    tag_prompts,
)
from tests.tasks.made import identity, several

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = {"up": [0.0, 1.0], "right": [1.0, 0.0], "down": [0.0, -1.0], "left": [-1.0, 0.0]}
PROMPTS = {"up": TagPrompts(positive=("up",), negative=("down",)), "right": TagPrompts(positive=("right", "up"))}
LOGIT_SCALE = math.log(2)


def embed_texts(texts: list[str]) -> np.ndarray:
    return np.array([TEXTS[text] for text in texts], dtype=np.float32)


def tagger(**changed):
    images = np.array([[0.0, 1.0], [1.0, 0.1], [0.5, 1.0], [-1.0, -1.0], [0.0, -1.0], [1.0, 1.0]])
    scores = prompt_scores(images, embed_tags(embed_texts, PROMPTS), LOGIT_SCALE)
    truth = np.array([[1, 0], [0, 1], [1, 1], [0, 0], [0, 0], [1, 1]], dtype=bool)
    return fit_tagger(PROMPTS, scores, truth, model=identity(), **changed), scores, truth


def test_scores_by_hand() -> None:
    scores = prompt_scores([[0.0, 2.0], [1.0, 0.0]], embed_tags(embed_texts, PROMPTS), LOGIT_SCALE)
    np.testing.assert_allclose(scores, [[1 / (1 + math.exp(-4)), math.sqrt(0.5)], [0.5, math.sqrt(0.5)]], rtol=1e-6)


def test_prompts_from_names() -> None:
    made = tag_prompts(["a", "b"], template=["x-ray {}", "film {}"], negative=["x-ray normal"])
    assert made["a"] == TagPrompts(positive=("x-ray a", "film a"), negative=("x-ray normal",))
    with pytest.raises(InputError):
        tag_prompts(["a"], negative=[" "])


def test_a_tagger_says_what_is_there() -> None:
    made, scores, truth = tagger()
    assert made.names == ("up", "right")
    np.testing.assert_array_equal(made.present(scores)[:, 0], truth[:, 0])
    figures = made.tags[0].validation
    assert figures.operation.sensitivity.value == figures.operation.specificity.value == figures.auc.value == 1
    assert (figures.operation.positives, figures.operation.negatives) == (3, 3)


def test_the_criterion_decides() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((200, 1)) < 0.3
    scores = rng.standard_normal((200, 1)) + truth
    prompts = {"up": PROMPTS["up"]}
    made = {
        text: fit_tagger(prompts, scores, truth, model=identity(), criterion=Criterion.parse(text))
        for text in ("youden", "sensitivity:0.95")
    }
    sure = made["sensitivity:0.95"].tags[0]
    assert sure.validation.operation.sensitivity.value >= 0.95
    assert sure.threshold < made["youden"].tags[0].threshold
    assert made["sensitivity:0.95"].criterion == "sensitivity:0.95"


def test_figures_of_other_images() -> None:
    made, scores, truth = tagger()
    tested = made.tested(scores[:4], np.column_stack([truth[:4, 0], np.zeros(4, dtype=bool)]))
    assert tested.tags[0].test.operation.positives == 2
    assert tested.tags[1].test is None  # no image has it
    np.testing.assert_array_equal(tested.thresholds, made.thresholds)


@pytest.mark.parametrize(("column", "code"), [([0] * 6, "tag_without_positives"), ([1] * 6, "tag_without_negatives")])
def test_a_tag_that_validation_cannot_judge_is_named(column, code: str) -> None:
    _, scores, truth = tagger()
    truth[:, 1] = column
    with pytest.raises(InputError, match="tag 'right'") as caught:
        fit_tagger(PROMPTS, scores, truth, model=identity())
    assert caught.value.code == code


def test_what_cannot_be_fitted() -> None:
    _, scores, truth = tagger()
    for tags, values, code in (
        ({}, scores, "labels_empty"),
        (["up", "right"], scores, "label_invalid"),
        (PROMPTS, scores[:, :1], "scores_bad"),
        (PROMPTS, scores[:3], "scores_bad"),
    ):
        with pytest.raises(InputError) as caught:
            fit_tagger(tags, values, truth, model=identity())
        assert caught.value.code == code


def test_a_file_keeps_everything(tmp_path: Path) -> None:
    made, scores, truth = tagger()
    made = made.tested(scores, truth)
    save_tagger(made, tmp_path / "t.json")
    read = load_tagger(tmp_path / "t.json", model=identity())
    assert (read.tags, read.model, read.criterion, read.adapter) == (made.tags, made.model, made.criterion, None)
    images = np.array([[0.3, 0.7], [-0.2, 0.1]])
    np.testing.assert_array_equal(
        read.scores(images, embed_texts, LOGIT_SCALE), made.scores(images, embed_texts, LOGIT_SCALE)
    )


@pytest.mark.parametrize("changed", [{"text_encoder": {"text_encoder.onnx": "9" * 64}}, {"image_encoder": {}}])
def test_another_model_is_refused(tmp_path: Path, changed) -> None:
    save_tagger(tagger()[0], tmp_path / "t.json")
    with pytest.raises(ModelError) as caught:
        load_tagger(tmp_path / "t.json", model=identity(**changed))
    assert caught.value.code == "adapter_other_model"


def test_an_adapter_gives_the_scores(tmp_path: Path) -> None:
    train, validation = split_by_patient(several(200))
    adapter = train_adapter(
        train, validation, model=identity(), settings=AdapterSettings(kind="mlp", epochs=30, resamples=20)
    )
    scores = adapter_scores(validation.rows, adapter, adapter.labels)
    made = fit_tagger(adapter.labels, scores, validation.truth(adapter.labels), model=identity(), adapter=adapter)
    save_tagger(made, tmp_path / "t.json")
    read = load_tagger(tmp_path / "t.json", model=identity(text_encoder={}))  # texts have no part in it
    rows = several(50, seed=1).rows
    np.testing.assert_array_equal(
        read.present(read.scores(rows, embed_texts, 0.0)), adapter.predict(rows) >= made.thresholds
    )
    assert read.tags[0].prompts is None
    with pytest.raises(InputError) as caught:
        adapter_scores(rows, adapter, ["left", "no such"])
    assert caught.value.code == "label_unknown"


def damage(document: dict, what: str) -> None:
    tags = document["tags"]
    if what == "no tags":
        document["tags"] = []
    elif what == "twice":
        tags.append(tags[0])
    elif what == "prompts":
        tags[0]["prompts"] = None
    elif what == "threshold":
        tags[0]["threshold"] = "0.5"
    elif what == "infinite":
        tags[0]["threshold"] = 1e999
    elif what == "kind":
        document["kind"] = "adapter"


@pytest.mark.parametrize("what", ["no tags", "twice", "prompts", "threshold", "infinite", "kind"])
def test_a_file_that_was_tampered_with(tmp_path: Path, what: str) -> None:
    path = tmp_path / "t.json"
    save_tagger(tagger()[0], path)
    document = json.loads(path.read_text())
    damage(document, what)
    path.write_text(json.dumps(document).replace("Infinity", "1e999"))
    with pytest.raises(ModelError) as caught:
        load_tagger(path)
    assert caught.value.code == "tagger_invalid"
