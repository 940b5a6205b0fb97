"""Tables of images with several labels: reading, scoring, and the worst errors as images."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medimageinsight.datasets import Sample, Table
from medimageinsight.errors import ConfigError, DatasetError, InputError
from medimageinsight.evaluate import (
    AssessmentSettings,
    EvaluationSettings,
    LabelTable,
    choose_label_prompts,
    evaluate_multilabel,
    find_worst_label_errors,
    read_label_columns,
    read_separated_labels,
    split_labels,
    write_multilabel,
    write_worst_errors,
)
from medimageinsight.evaluate.worst_errors import WorstError
from medimageinsight.images import open as open_image
from medimageinsight.preprocess import Preprocessing
from medimageinsight.tagging import TagPrompts
from tests.evaluate.sample_tables import DIM, direction, unit

sklearn = pytest.importorskip("sklearn.metrics", reason="needs scikit-learn")
NAMES = ("Edema", "Effusion", "Nodule")


class TestReading:
    """Columns of 1, 0, empty and uncertain cells; one cell with a separator."""

    def test_columns_of_chexpert(self, tmp_path):
        file = tmp_path / "train.csv"
        file.write_text(
            "Path,Age,Edema,Pleural Effusion\na.jpg,40,1.0,0.0\nb.jpg,41,-1.0,\nc.jpg,42,0,1\nd.jpg,43,u,?\n"
        )
        labels = read_label_columns(file, 4, ["edema", "pleural_effusion"])
        assert labels.names == ("Edema", "Pleural Effusion")
        assert labels.values.tolist() == [[1, 0], [-1, 0], [0, 1], [-1, -1]]
        assert labels.known.tolist() == [[True, True], [False, True], [True, True], [False, False]]

    def test_uncertain_cells_are_configured(self, tmp_path):
        file = tmp_path / "t.csv"
        file.write_text("path,Edema\na.png,yes\nb.png,maybe\nc.png,No\nd.png,\n")
        with pytest.raises(DatasetError, match=r"'Edema' that is not 1, 0, empty or uncertain .* in row 2"):
            read_label_columns(file, 4, ["Edema"])
        assert read_label_columns(file, 4, ["Edema"], uncertain=("MAYBE", "")).values.ravel().tolist() == [1, -1, 0, -1]

    def test_auto_finds_columns_of_labels_alone(self, tmp_path):
        file = tmp_path / "t.csv"
        file.write_text("path,age,sex,fold,Edema,Support Devices,Empty\na.png,1,F,0,1,1,0\nb.png,0,M,1,-1,,0\n")
        assert read_label_columns(file, 2, ["auto"]).names == ("Edema", "Support Devices")
        file.write_text("path,age\na.png,1\nb.png,0\n")
        with pytest.raises(ConfigError, match="found none"):
            read_label_columns(file, 2, ["auto"])
        with pytest.raises(ConfigError, match="expected columns of labels, got Mass, which"):
            read_label_columns(file, 2, ["Mass"])

    def test_cells_of_nih(self, tmp_path):
        file = tmp_path / "nih.csv"
        file.write_text("Image Index,Finding Labels\na.png,Edema|Effusion\nb.png,No Finding\nc.png,Effusion\n")
        labels = read_separated_labels(file, 3, "|")
        assert labels.names == ("Edema", "Effusion")
        assert labels.values.tolist() == [[1, 1], [0, 0], [0, 1]]
        with pytest.raises(ConfigError, match=r"expected a column of labels \(mass\)"):
            read_separated_labels(file, 3, "|", column="mass")
        with pytest.raises(DatasetError, match="expected the table's 4 rows"):
            read_separated_labels(file, 4, "|")

    def test_uncertain_items_are_ignored_for_their_label(self):
        labels = split_labels(["A; B (uncertain)", "B?;C", "u", "", "A (left)"], ";")
        assert labels.names == ("A", "A (left)", "B", "C")
        assert labels.values.tolist() == [[1, 0, -1, 0], [0, 0, -1, 1], [-1] * 4, [0] * 4, [0, 1, 0, 0]]
        with pytest.raises(DatasetError, match="got none"):
            split_labels(["", "No Finding"], "|")


def make_data(count=120, seed=0):
    """Return a table, its labels and image vectors near the sum of their labels' vectors."""
    rng = np.random.default_rng(seed)
    table = Table(
        samples=tuple(
            Sample(
                path=Path(f"{split}/{index}.png"), caption="", split=split, patient_id=f"secret-{split}-{index // 2}"
            )
            for split in ("train", "val", "test")
            for index in range(count)
        ),
        root=Path(),
    )
    truth = rng.random((len(table), 3)) < (0.3, 0.4, 0.02)
    truth[-4:, 2] = True
    values = truth.astype(np.int8)
    values[rng.random(values.shape) < (0.1, 0.0, 0.0)] = -1
    vectors = np.stack([direction(name) for name in NAMES])
    images = unit(truth @ vectors + 1.6 * rng.standard_normal((len(table), DIM)) / np.sqrt(DIM))
    return table, LabelTable(names=NAMES, values=values), images


class Stub:
    """A model that returns prepared vectors by the image's path."""

    logit_scale = 3.0

    def __init__(self, table, images):
        self.by_path = {sample.path: image for sample, image in zip(table, images, strict=True)}
        self.embedded = 0

    def embed_images(self, sources, /, *, errors, progress):
        del errors, progress
        self.embedded += len(sources)
        return [self.by_path[source] for source in sources]

    def embed_texts(self, texts, /):
        return np.stack([direction(text) for text in texts])


def run(table, labels, images, **options):
    settings = AssessmentSettings(evaluation=EvaluationSettings(split=options.pop("split", "test")))
    prompts = options.pop("prompts", None) or choose_label_prompts(table, labels.names)
    return evaluate_multilabel(Stub(table, images), table, labels, prompts, settings=settings, **options)


@pytest.fixture(scope="module")
def found():
    """An assessment with groups, and its table, labels and vectors."""
    table, labels, images = make_data()
    sexes = ["F" if index % 4 < 2 else "M" for index in range(len(table))]
    return run(table, labels, images, groups={"sex": sexes}), table, labels, images


class TestFigures:
    """AUC and average precision by label, and their means."""

    def test_figures_equal_scikit_learn_on_known_images(self, found):
        assessment, _, labels, images = found
        assert list(assessment.methods) == ["zero-shot", "kNN", "linear probe"]
        test = np.arange(240, 360)
        for column, name in enumerate(NAMES[:2]):
            known = test[labels.known[test, column]]
            scores = images[known] @ direction(name)
            zero_shot = assessment.methods["zero-shot"]
            truth = labels.positives[known, column]
            assert zero_shot.label_auc[name].value == pytest.approx(sklearn.roc_auc_score(truth, scores))
            expected = sklearn.average_precision_score(truth, scores)
            assert zero_shot.label_average_precision[name].value == pytest.approx(expected)
            counts = assessment.labels[name]
            assert (counts.positives, counts.negatives) == (truth.sum(), (~truth).sum())
            assert counts.ignored == 120 - len(known)
        for method in assessment.methods.values():
            assert method.averaged == NAMES[:2]
            assert method.too_few == ("Nodule",)
            assert method.mean_auc.value == pytest.approx(np.mean([method.label_auc[name].value for name in NAMES[:2]]))
            means = [method.label_average_precision[name].value for name in NAMES[:2]]
            assert method.mean_average_precision.value == pytest.approx(np.mean(means))
            assert method.mean_auc.low < method.mean_auc.value < method.mean_auc.high

    def test_uncertain_is_not_negative(self, found):
        assessment, table, labels, images = found
        as_negative = LabelTable(names=NAMES, values=np.maximum(labels.values, 0))
        other = run(table, as_negative, images, trained=False)
        assert other.labels["Edema"].ignored == 0
        assert assessment.labels["Edema"].ignored > 0
        assert other.labels["Edema"].negatives > assessment.labels["Edema"].negatives

    def test_probe_and_neighbours_equal_scikit_learn(self, found):
        from sklearn.linear_model import LogisticRegression

        assessment, _, labels, images = found
        train, test = np.arange(120), np.arange(240, 360)
        k = int(next(choice.value for choice in assessment.choices if choice.what == "kNN: k"))
        known = train[labels.known[train, 0]]
        (edema,) = (scores for scores in assessment.scores["kNN"].labels if scores.label == "Edema")
        for row, score in list(zip(edema.rows, edema.scores, strict=True))[:10]:
            cosines = images[train] @ images[row]
            nearest = np.argsort(-cosines)[:k]
            weights = np.exp(cosines[nearest] / 0.07) * labels.known[nearest, 0]
            assert score == pytest.approx((weights @ labels.positives[nearest, 0]) / weights.sum(), rel=1e-4)
        assert assessment.methods["linear probe"].label_auc["Edema"].value > 0.6
        probe = LogisticRegression(C=1.0).fit(images[known], labels.positives[known, 0])
        tested = test[labels.known[test, 0]]
        reference = sklearn.roc_auc_score(labels.positives[tested, 0], probe.predict_proba(images[tested])[:, 1])
        assert assessment.methods["linear probe"].label_auc["Edema"].value == pytest.approx(reference, abs=0.06)

    def test_gaps_between_groups_are_at_the_operating_points(self, found):
        assessment = found[0]
        gap = next(gap for gap in assessment.rate_gaps if gap.label == "Effusion" and gap.measure == "sensitivity")
        point = next(p for p in assessment.methods["zero-shot"].operating.points if p.label == "Effusion")
        assert gap.threshold == point.threshold
        assert sum(group.images for group in gap.groups) == assessment.labels["Effusion"].positives

    def test_report_has_no_patients_and_is_replaced(self, found, tmp_path):
        folder = write_multilabel(found[0], tmp_path / "report")
        write_multilabel(found[0], folder)
        document = json.loads((folder / "report.json").read_text())
        assert document["labels"]["Edema"]["ignored"] == found[0].labels["Edema"].ignored
        rows = list(csv.DictReader((folder / "labels.csv").read_text().splitlines()))
        assert len(rows) == 9
        assert rows[-1]["auc"] == ""
        text = "".join(path.read_text() for path in folder.iterdir() if path.suffix != ".png")
        assert "secret" not in text
        assert ".png/" not in text
        assert {path.name for path in folder.glob("*.png")} == {"labels.png", "roc_labels.png"}


def test_only_the_scored_split_is_embedded_for_zero_shot():
    table, labels, images = make_data()
    model = Stub(table, images)
    prompts = choose_label_prompts(table, NAMES)
    settings = AssessmentSettings(evaluation=EvaluationSettings(split="test"))
    found = evaluate_multilabel(model, table, labels, prompts, settings=settings, trained=False)
    assert model.embedded == 120
    assert list(found.methods) == ["zero-shot"]
    everything = run(table, labels, images, split=None)
    assert everything.images == 360
    assert any("Nothing was trained" in note for note in everything.notes)


def test_images_of_a_scored_patient_are_not_trained_on():
    table, labels, images = make_data()
    samples = [
        dataclasses.replace(sample, patient_id="secret-test-0") if index < 40 else sample
        for index, sample in enumerate(table)
    ]
    found = run(dataclasses.replace(table, samples=tuple(samples)), labels, images)
    assert (
        "40 images to train or to choose on were left out, as their patients are in a later split too." in found.notes
    )


def test_negative_prompts_make_a_contrast_and_labels_need_prompts():
    table, labels, images = make_data()
    prompts = {name: TagPrompts(positive=(name,), negative=("normal",)) for name in NAMES}
    found = run(table, labels, images, trained=False, prompts=choose_label_prompts(table, NAMES, prompts=prompts))
    test = np.arange(240, 360)
    scores = images[test] @ (direction("Effusion") - direction("normal"))
    expected = sklearn.roc_auc_score(labels.positives[test, 1], scores)
    assert found.methods["zero-shot"].label_auc["Effusion"].value == pytest.approx(expected)
    assert found.score.startswith("softmax of the cosines")
    with pytest.raises(ConfigError, match="got none for 'Nodule'"):
        choose_label_prompts(table, NAMES, prompts={name: prompts[name] for name in NAMES[:2]})
    with pytest.raises(InputError, match="expected labels of each of 360 images, got 5"):
        run(table, labels.take(np.arange(5)), images)


def test_default_prompts_are_the_frequent_fields_and_the_label():
    samples = [Sample(path=Path(f"{n}.png"), caption="report", modality="x-ray", anatomy="chest") for n in range(3)]
    table = Table(samples=(*samples, Sample(path=Path("z.png"), caption="", modality="CT")), root=Path())
    found = choose_label_prompts(table, ["Edema"])
    assert found.prompts["Edema"].positive == ("x-ray chest Edema",)
    assert choose_label_prompts(table, ["Edema"], template="{modality}: {}").prompts["Edema"].positive == (
        "x-ray: Edema",
    )


class TestWorstErrors:
    """Images of errors, under numbers."""

    def test_worst_are_ranked_and_wrong(self):
        table, labels, images = make_data()
        found = run(table, labels, images)
        errors = find_worst_label_errors(found, 5)
        assert [error.method for error in errors] == ["zero-shot"] * 5 + ["kNN"] * 5 + ["linear probe"] * 5
        for error in errors:
            label = error.truth.removeprefix("not ")
            assert label != "Nodule"  # too few
            value = labels.values[error.row, NAMES.index(label)]
            assert value == (0 if error.truth.startswith("not ") else 1)
            assert error.answer == (label if value == 0 else f"not {label}")

    def test_images_are_as_the_model_saw_them(self, tmp_path):
        rng = np.random.default_rng(0)
        paths = []
        for index in range(3):
            paths.append(tmp_path / f"doe-{index}.png")
            Image.fromarray(rng.integers(0, 255, (20, 40, 3), dtype=np.uint8)).save(paths[-1])
        table = Table(samples=tuple(Sample(path=path, caption="") for path in paths), root=tmp_path)

        class Model:
            preprocessing = Preprocessing(image_size=(16, 16), mean=(0.5,) * 3, std=(0.5,) * 3)

            def open_image(self, source):
                return open_image(source)

        errors = [
            WorstError(method="kNN", row=row, truth="a", answer="b", score=0.9, score_of_truth=0.1) for row in (2, 0, 2)
        ]
        folder = write_worst_errors(errors, Model(), table, tmp_path / "errors")
        assert {path.name for path in folder.iterdir()} == {"0001.png", "0002.png", "errors.csv"}
        with Image.open(folder / "0001.png") as image, Image.open(paths[2]) as original:
            expected = original.convert("RGB").resize((16, 16), Image.Resampling.BICUBIC)
            assert np.array_equal(np.asarray(image), np.asarray(expected))
            assert not image.info
        text = (folder / "errors.csv").read_text()
        assert "doe" not in text
        rows = list(csv.DictReader(text.splitlines()))
        assert [(row["image"], row["row_index"]) for row in rows] == [
            ("0001.png", "2"),
            ("0002.png", "0"),
            ("0001.png", "2"),
        ]
        assert folder.stat().st_mode & 0o077 == 0
        write_worst_errors(errors, Model(), table, folder)
        (folder / "thesis.txt").write_text("")
        with pytest.raises(InputError, match="one with other files"):
            write_worst_errors(errors, Model(), table, folder)
