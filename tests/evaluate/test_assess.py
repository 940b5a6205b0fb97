"""A whole assessment: training, choices, scores and notes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from medimageinsight.datasets import Table
from medimageinsight.errors import ConfigError, DatasetError, InputError
from medimageinsight.evaluate import (
    AssessmentSettings,
    EmbeddedTable,
    EvaluationSettings,
    assess,
    card_section,
    embed_table,
)
from tests.evaluate.sample_tables import make_embedded, make_table

sklearn = pytest.importorskip("sklearn.metrics", reason="needs scikit-learn")
SETTINGS = AssessmentSettings(evaluation=EvaluationSettings(resamples=60), permutations=60)


def remove(table, unwanted):
    return Table(samples=tuple(sample for sample in table if not unwanted(sample)), root=table.root)


def test_figures_equal_scikit_learn():
    embedded = make_embedded(make_table(), noise=2.0)
    assessment = assess(embedded, settings=SETTINGS)
    assert list(assessment.methods) == ["zero-shot", "kNN", "linear probe"]
    for method, by_source in assessment.scores.items():
        scores = by_source["chest"]
        source = assessment.methods[method].sources["chest"]
        figures = source.figures
        truth, probabilities = scores.truth, scores.probabilities
        predicted = probabilities.argmax(axis=1)
        assert probabilities.sum(axis=1) == pytest.approx(1.0)
        auc = sklearn.roc_auc_score(truth, probabilities, multi_class="ovr")
        assert figures.mean_auc.value == pytest.approx(auc, abs=1e-9)
        assert figures.accuracy.value == pytest.approx(sklearn.accuracy_score(truth, predicted))
        balanced = sklearn.balanced_accuracy_score(truth, predicted)
        assert figures.balanced_accuracy.value == pytest.approx(balanced)
        if method != "kNN":  # its votes can be 0
            assert source.calibration.log_loss.value == pytest.approx(sklearn.log_loss(truth, probabilities))
        brier = np.mean([sklearn.brier_score_loss(truth == label, probabilities[:, label]) for label in range(3)])
        assert source.calibration.brier.value == pytest.approx(3 * brier)
        for name in scores.names:
            x, y = zip(*source.roc[name], strict=True)
            assert sklearn.auc(x, y) == pytest.approx(figures.label_auc[name].value)
        assert figures.mean_auc.low < figures.mean_auc.value < figures.mean_auc.high
    assert assessment.methods["linear probe"].mean_auc.count == 2


def test_choices_do_not_depend_on_the_scored_split():
    table = make_table()
    embedded = make_embedded(table, noise=2.0)
    found = assess(embedded, settings=SETTINGS)
    test = embedded.rows_of("test")
    images = embedded.images.copy()
    images[test] = make_embedded(table, noise=9.0, seed=5).images[test]
    again = assess(dataclasses.replace(embedded, images=images), settings=SETTINGS)
    assert again.choices == found.choices
    for method in ("zero-shot", "kNN", "linear probe"):
        first, second = (assessment.methods[method].sources["chest"] for assessment in (found, again))
        assert [point.threshold for point in first.operating.points] == [
            point.threshold for point in second.operating.points
        ]
        assert first.calibration.temperature == second.calibration.temperature
        assert first.figures.mean_auc.value > second.figures.mean_auc.value
    assert {choice.split for choice in found.choices} == {"", "val"}
    assert all(choice.how for choice in found.choices)


def test_operating_points_by_hand():
    found = assess(make_embedded(make_table(), noise=2.0), settings=SETTINGS)
    scores = found.scores["zero-shot"]["chest"]
    points = found.methods["zero-shot"].sources["chest"].operating.points
    assert {point.criterion for point in points} == {"youden", "sensitivity:0.9"}
    for point in points:
        label = scores.names.index(point.label)
        predicted, truth = scores.probabilities[:, label] >= point.threshold, scores.truth == label
        assert point.sensitivity.value == pytest.approx(predicted[truth].mean())
        assert point.specificity.value == pytest.approx((~predicted)[~truth].mean())
        if predicted.any():
            assert point.positive_predictive_value.value == pytest.approx(truth[predicted].mean())
        if point.criterion != "youden":
            val_predicted = scores.val_probabilities[:, label] >= point.threshold
            assert val_predicted[scores.val_truth == label].mean() >= 0.9


def test_class_absent_from_val_has_no_threshold_and_is_named():
    table = remove(make_table(), lambda sample: (sample.split, sample.label, sample.source) == ("val", "b", "chest"))
    found = assess(make_embedded(table), settings=SETTINGS)
    operating = found.methods["linear probe"].sources["chest"].operating
    assert operating.left_out == (("b", "the split to choose on lacks positives or negatives"),)
    assert {point.label for point in operating.points} == {"a", "c"}
    assert "chest: not in the val split: b." in found.notes
    assert found.methods["linear probe"].sources["chest"].figures.mean_auc is not None


def test_class_absent_from_train_is_left_out_of_trained_methods():
    table = remove(make_table(), lambda sample: (sample.split, sample.label, sample.source) == ("train", "b", "chest"))
    found = assess(make_embedded(table), settings=SETTINGS)
    figures = found.methods["linear probe"].sources["chest"].figures
    assert (figures.unseen, figures.images) == (("b",), 40)
    assert found.methods["zero-shot"].sources["chest"].figures.images == 40  # the same images
    assert len({tuple(by_source["chest"].rows) for by_source in found.scores.values()}) == 1
    assert any("linear probe cannot predict b" in note for note in found.notes)


@pytest.mark.parametrize(("split", "others"), [("train", ("val", "test")), ("val", ("train", "test"))])
def test_without_a_split_only_zero_shot_is_scored(split, others):
    found = assess(make_embedded(make_table(splits=others)), settings=SETTINGS)
    assert list(found.methods) == ["zero-shot"]
    assert any(f"no {split} split" in note for note in found.notes)


def test_validation_split_is_scored_without_choices():
    settings = dataclasses.replace(SETTINGS, evaluation=EvaluationSettings(split="val", resamples=20))
    found = assess(make_embedded(make_table()), settings=settings)
    assert list(found.methods) == ["zero-shot"]
    assert found.methods["zero-shot"].sources["chest"].operating is None
    assert any(note.startswith("Nothing was trained or chosen") for note in found.notes)
    assert {choice.split for choice in found.choices} == {""}


def test_patients_of_the_scored_split_are_not_trained_on():
    table = make_table()
    leaked = Table(
        samples=tuple(
            dataclasses.replace(sample, patient_id="secret-test-a-0")
            if (sample.split, sample.label, sample.source) == ("train", "a", "chest")
            else sample
            for sample in table
        ),
        root=table.root,
    )
    found = assess(make_embedded(leaked), settings=SETTINGS)
    assert any("20 images to train or to choose on" in note for note in found.notes)
    assert found.methods["kNN"].sources["chest"].figures.unseen == ("a",)


def test_single_patient_has_a_wide_interval_and_no_auc():
    table = make_table(sources=("chest",))
    single = Table(
        samples=tuple(
            dataclasses.replace(sample, patient_id="secret-only") if sample.split == "test" else sample
            for sample in table
        ),
        root=table.root,
    )
    found = assess(make_embedded(single), settings=SETTINGS)
    assert found.report.patients == 1
    accuracy = found.methods["linear probe"].sources["chest"].figures.accuracy
    assert accuracy.high - accuracy.low > 0.7
    figures = found.methods["linear probe"].sources["chest"].figures
    assert (figures.mean_auc, figures.too_few) == (None, ("a", "b", "c"))
    assert found.report.sources["chest"].findings.too_few == ("a", "b", "c")
    assert "too few" in card_section(found.report)
    assert found.report.precision_at_k is None  # no other patient to find


def test_missing_split_and_invalid_settings_are_refused():
    with pytest.raises(DatasetError, match="'test'") as caught:
        assess(make_embedded(make_table(splits=("train", "val"))), settings=SETTINGS)
    assert caught.value.code == "dataset_split_unknown"
    with pytest.raises(InputError, match="youden, f1 or sensitivity"):
        AssessmentSettings(criteria=("best",))
    with pytest.raises(ConfigError, match="permutation"):
        AssessmentSettings(permutations=0)
    with pytest.raises(ConfigError, match="two splits"):
        AssessmentSettings(val_split="train")


def test_json_is_strict_and_has_no_patient():
    found = assess(make_embedded(make_table()), settings=SETTINGS)
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert "secret" not in text
    assert ".png" not in text
    assert json.loads(text)["methods"]["kNN"]["sources"]["knee"]["figures"]["images"] == 60


def test_every_split_is_embedded_and_a_broken_image_is_named(tmp_path):
    table = make_table(count=2)
    counts = []

    class Model:
        logit_scale = 1.0

        def embed_texts(self, texts):
            return np.eye(len(texts), 8, dtype=np.float32)

        def embed_images(self, sources, *, errors, progress):
            from medimageinsight.errors import ImageError

            progress(len(sources))
            broken = Path("knee/val/b/1.png")
            return [ImageError("no", code="image_empty") if path == broken else np.eye(8)[0] for path in sources]

    with pytest.raises(DatasetError, match=r"1 images.*1.png: image_empty"):
        embed_table(Model(), table, progress=counts.append)
    assert counts == [36]
    readable = remove(table, lambda sample: sample.path == Path("knee/val/b/1.png"))
    embedded = embed_table(Model(), readable, progress=counts.append)
    assert isinstance(embedded, EmbeddedTable)
    assert embedded.images.shape == (35, 8)
