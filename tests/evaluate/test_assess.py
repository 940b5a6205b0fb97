"""A whole assessment: what it learns, chooses and scores, and what it says where it cannot."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from medimageinsight.datasets import Table
from medimageinsight.errors import ConfigError, DatasetError, InputError
from medimageinsight.evaluate import AssessmentSettings, EmbeddedTable, EvaluationSettings, assess, embed_table
from tests.evaluate.made_embedded import made_embedded, made_table

sklearn = pytest.importorskip("sklearn.metrics", reason="needs scikit-learn")
SETTINGS = AssessmentSettings(evaluation=EvaluationSettings(resamples=60), permutations=60)


def without(table, unwanted):
    return Table(samples=tuple(sample for sample in table if not unwanted(sample)), root=table.root)


def test_figures_are_scikit_learns():
    embedded = made_embedded(made_table(), noise=2.0)
    found = assess(embedded, settings=SETTINGS)
    assert list(found.methods) == ["zero-shot", "kNN", "linear probe"]
    for method, of_source in found.scores.items():
        scores = of_source["chest"]
        one = found.methods[method].sources["chest"]
        truth, said = scores.truth, scores.probabilities
        assert said.sum(axis=1) == pytest.approx(1.0)
        auc = sklearn.roc_auc_score(truth, said, multi_class="ovr")
        assert one.figures.mean_auc.value == pytest.approx(auc, abs=1e-9)
        assert one.figures.accuracy.value == pytest.approx(sklearn.accuracy_score(truth, said.argmax(axis=1)))
        balanced = sklearn.balanced_accuracy_score(truth, said.argmax(axis=1))
        assert one.figures.balanced_accuracy.value == pytest.approx(balanced)
        if method != "kNN":  # whose votes may be 0
            assert one.calibration.log_loss.value == pytest.approx(sklearn.log_loss(truth, said))
        brier = np.mean([sklearn.brier_score_loss(truth == place, said[:, place]) for place in range(3)])
        assert one.calibration.brier.value == pytest.approx(3 * brier)
        for name in scores.names:
            x, y = zip(*one.roc[name], strict=True)
            assert sklearn.auc(x, y) == pytest.approx(one.figures.label_auc[name].value)
        assert one.figures.mean_auc.low < one.figures.mean_auc.value < one.figures.mean_auc.high
    assert found.methods["linear probe"].mean_auc.count == 2


def test_the_scored_split_chooses_nothing():
    table = made_table()
    embedded = made_embedded(table, noise=2.0)
    found = assess(embedded, settings=SETTINGS)
    test = embedded.rows_of("test")
    other = embedded.images.copy()
    other[test] = made_embedded(table, noise=9.0, seed=5).images[test]
    again = assess(dataclasses.replace(embedded, images=other), settings=SETTINGS)
    assert again.choices == found.choices
    for method in ("zero-shot", "kNN", "linear probe"):
        first, second = (one.methods[method].sources["chest"] for one in (found, again))
        assert [point.threshold for point in first.operating.points] == [
            point.threshold for point in second.operating.points
        ]
        assert first.calibration.temperature == second.calibration.temperature
        assert first.figures.mean_auc.value > second.figures.mean_auc.value
    assert {choice.split for choice in found.choices} == {"", "val"}
    assert all(choice.how for choice in found.choices)


def test_operating_points_by_hand():
    found = assess(made_embedded(made_table(), noise=2.0), settings=SETTINGS)
    scores = found.scores["zero-shot"]["chest"]
    points = found.methods["zero-shot"].sources["chest"].operating.points
    assert {point.criterion for point in points} == {"youden", "sensitivity:0.9"}
    for point in points:
        place = scores.names.index(point.label)
        said, truth = scores.probabilities[:, place] >= point.threshold, scores.truth == place
        assert point.sensitivity.value == pytest.approx(said[truth].mean())
        assert point.specificity.value == pytest.approx((~said)[~truth].mean())
        if said.any():
            assert point.positive_predictive_value.value == pytest.approx(truth[said].mean())
        val, is_label = scores.val_probabilities[:, place] >= point.threshold, scores.val_truth == place
        if point.criterion != "youden":
            assert val[is_label].mean() >= 0.9


def test_a_class_absent_from_val_has_no_threshold_and_is_named():
    table = without(made_table(), lambda one: (one.split, one.label, one.source) == ("val", "b", "chest"))
    found = assess(made_embedded(table), settings=SETTINGS)
    operating = found.methods["linear probe"].sources["chest"].operating
    assert operating.left_out == (("b", "the split to choose on has not both sides"),)
    assert {point.label for point in operating.points} == {"a", "c"}
    assert "chest: not in the val split: b." in found.notes
    assert found.methods["linear probe"].sources["chest"].figures.mean_auc is not None


def test_a_class_absent_from_train_is_left_out_of_what_learns():
    table = without(made_table(), lambda one: (one.split, one.label, one.source) == ("train", "b", "chest"))
    found = assess(made_embedded(table), settings=SETTINGS)
    figures = found.methods["linear probe"].sources["chest"].figures
    assert (figures.unseen, figures.images) == (("b",), 40)
    assert found.methods["zero-shot"].sources["chest"].figures.images == 60
    assert any("linear probe knows no b" in note for note in found.notes)


@pytest.mark.parametrize(("split", "kept"), [("train", ("val", "test")), ("val", ("train", "test"))])
def test_without_a_split_zero_shot_remains(split, kept):
    found = assess(made_embedded(made_table(splits=kept)), settings=SETTINGS)
    assert list(found.methods) == ["zero-shot"]
    assert any(f"no {split} split" in note for note in found.notes)


def test_the_split_for_choosing_is_scored_without_choices():
    settings = dataclasses.replace(SETTINGS, evaluation=EvaluationSettings(split="val", resamples=20))
    found = assess(made_embedded(made_table()), settings=settings)
    assert list(found.methods) == ["zero-shot"]
    assert found.methods["zero-shot"].sources["chest"].operating is None
    assert any(note.startswith("Nothing was learnt or chosen") for note in found.notes)
    assert {choice.split for choice in found.choices} == {""}


def test_patients_of_the_scored_split_are_not_learnt_from():
    table = made_table()
    leaked = Table(
        samples=tuple(
            dataclasses.replace(one, patient_id="secret-test-a-0")
            if (one.split, one.label, one.source) == ("train", "a", "chest")
            else one
            for one in table
        ),
        root=table.root,
    )
    found = assess(made_embedded(leaked), settings=SETTINGS)
    assert any("20 pictures to learn from" in note for note in found.notes)
    assert found.methods["kNN"].sources["chest"].figures.unseen == ("a",)


def test_one_patient_only_says_what_it_can():
    table = made_table(sources=("chest",))
    alone = Table(
        samples=tuple(
            dataclasses.replace(one, patient_id="secret-only") if one.split == "test" else one for one in table
        ),
        root=table.root,
    )
    found = assess(made_embedded(alone), settings=SETTINGS)
    assert found.report.patients == 1
    accuracy = found.methods["linear probe"].sources["chest"].figures.accuracy
    assert accuracy.low == accuracy.value == accuracy.high  # one patient is all there is to draw
    assert found.report.precision_at_k is None  # and has nobody else to find


def test_an_empty_split_and_wrong_settings_are_named():
    with pytest.raises(DatasetError, match="'test'") as caught:
        assess(made_embedded(made_table(splits=("train", "val"))), settings=SETTINGS)
    assert caught.value.code == "dataset_split_unknown"
    with pytest.raises(InputError, match="youden, f1 or sensitivity"):
        AssessmentSettings(criteria=("best",))
    with pytest.raises(ConfigError, match="permutation"):
        AssessmentSettings(permutations=0)
    with pytest.raises(ConfigError, match="two splits"):
        AssessmentSettings(val_split="train")


def test_the_json_is_strict_and_holds_nobody():
    found = assess(made_embedded(made_table()), settings=SETTINGS)
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert "secret" not in text
    assert ".png" not in text
    assert json.loads(text)["methods"]["kNN"]["sources"]["knee"]["figures"]["images"] == 60


def test_every_split_is_embedded_and_a_broken_picture_is_named(tmp_path):
    table = made_table(count=2)
    seen = []

    class Model:
        logit_scale = 1.0

        def embed_texts(self, texts):
            return np.eye(len(texts), 8, dtype=np.float32)

        def embed_images(self, sources, *, errors, progress):
            from medimageinsight.errors import ImageError

            progress(len(sources))
            broken = Path("knee/val/b/1.png")
            return [ImageError("no", code="image_empty") if one == broken else np.eye(8)[0] for one in sources]

    with pytest.raises(DatasetError, match=r"1 pictures.*1.png: image_empty"):
        embed_table(Model(), table, progress=seen.append)
    assert seen == [36]
    kept = without(table, lambda one: one.path == Path("knee/val/b/1.png"))
    embedded = embed_table(Model(), kept, progress=seen.append)
    assert isinstance(embedded, EmbeddedTable)
    assert embedded.images.shape == (35, 8)
