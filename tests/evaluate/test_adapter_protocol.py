from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from medimageinsight.adapters import LabelledEmbeddings, split_by_patient
from medimageinsight.errors import InputError
from medimageinsight.evaluate import ProtocolSettings, compare_adapters, count_fits
from medimageinsight.evaluate.adapter_methods import GRIDS, METHODS, make_estimator
from tests.adapters.sample_embeddings import make_clusters, make_multilabel

pytest.importorskip("sklearn", reason="the protocol needs the extra evaluate")

QUICK = ("knn", "logistic_regression", "svm")


def make_parts(seed: int = 0) -> tuple[LabelledEmbeddings, LabelledEmbeddings, LabelledEmbeddings]:
    train, validation = split_by_patient(make_clusters(200, spread=1.4, seed=seed), fraction=0.3)
    return train, validation, make_clusters(160, spread=1.4, seed=seed + 1)


@pytest.fixture
def few_settings(monkeypatch) -> None:
    """Fit few and small classifiers."""
    for method in METHODS:
        monkeypatch.setitem(GRIDS, method, GRIDS[method][-2:])
    monkeypatch.setattr("medimageinsight.evaluate.adapter_methods.TREES", 20)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")  # of the network that this test fits itself
@pytest.mark.usefixtures("few_settings")
def test_figures_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score, average_precision_score, balanced_accuracy_score, roc_auc_score
    from sklearn.multiclass import OneVsRestClassifier

    train, validation, test = make_parts()
    compared = compare_adapters(train, validation, test)
    assert tuple(compared.methods) == METHODS
    for method, figures in compared.methods.items():
        estimator = make_estimator(method, figures.chosen.settings, seed=0)
        estimator = (OneVsRestClassifier(estimator) if method == "svm" else estimator).fit(train.rows, train.labels)
        score = estimator.decision_function if method == "svm" else estimator.predict_proba

        def mean_auc(part: LabelledEmbeddings, score=score) -> float:
            truth = part.truth(compared.labels)
            return roc_auc_score(truth, score(part.rows), average="macro")

        predicted = np.array(compared.labels)[score(test.rows).argmax(axis=1)]
        assert figures.mean_auc.value == pytest.approx(mean_auc(test), abs=1e-9), method
        assert figures.chosen.validation_auc == pytest.approx(mean_auc(validation), abs=1e-9), method
        assert figures.chosen.validation_auc == max(entry.validation_auc for entry in figures.candidates)
        assert figures.balanced_accuracy.value == pytest.approx(balanced_accuracy_score(test.labels, predicted))
        precision = average_precision_score(test.truth(compared.labels), score(test.rows), average="macro")
        assert figures.mean_average_precision.value == pytest.approx(precision, abs=1e-9)
        assert figures.accuracy.value == pytest.approx(accuracy_score(test.labels, predicted))
        assert figures.mean_auc.low < figures.mean_auc.value < figures.mean_auc.high


@pytest.mark.usefixtures("few_settings")
def test_figures_of_sets_of_labels_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score

    train, validation = split_by_patient(make_multilabel(240), fraction=0.3)
    test = make_multilabel(200, seed=1)
    compared = compare_adapters(train, validation, test)
    truth = test.truth(compared.labels)
    for method in ("knn", "logistic_regression", "svm"):
        figures = compared.methods[method]
        aucs, accuracies = [], []
        for column, flags in enumerate(train.truth(compared.labels).T):
            estimator = make_estimator(method, figures.chosen.settings, seed=0).fit(train.rows, flags)
            is_svm = method == "svm"
            scores = estimator.decision_function(test.rows) if is_svm else estimator.predict_proba(test.rows)[:, 1]
            aucs.append(roc_auc_score(truth[:, column], scores))
            accuracies.append(balanced_accuracy_score(truth[:, column], scores > (0 if is_svm else 0.5)))
        assert list(map(float, aucs)) == pytest.approx([figure.value for figure in figures.label_auc.values()])
        assert figures.mean_auc.value == pytest.approx(np.mean(aucs))
        assert figures.balanced_accuracy.value == pytest.approx(np.mean(accuracies))
    assert all(figures.accuracy is None and figures.mean_auc.value > 0.9 for figures in compared.methods.values())


def test_test_labels_choose_no_settings() -> None:
    train, validation, test = make_parts()
    shuffled = dataclasses.replace(test, labels=list(np.random.default_rng(0).permutation(test.labels)))
    settings = ProtocolSettings(methods=QUICK)
    right, wrong = (compare_adapters(train, validation, part, settings=settings) for part in (test, shuffled))
    for method in QUICK:
        assert right.methods[method].chosen == wrong.methods[method].chosen
        assert wrong.methods[method].mean_auc.value < 0.65 < right.methods[method].mean_auc.value


@pytest.mark.usefixtures("few_settings")
def test_same_seed_gives_the_same_figures() -> None:
    parts = make_parts()
    steps: list[int] = []
    first = compare_adapters(*parts, progress=steps.append)
    assert first.to_dict() == compare_adapters(*parts).to_dict()
    assert steps == list(range(1, count_fits(ProtocolSettings(), len(parts[0])) + 1))
    settings = ProtocolSettings(methods=("mlp",), seed=1)
    other = compare_adapters(*parts, settings=settings).methods["mlp"]
    assert [entry.validation_auc for entry in other.candidates] != [
        entry.validation_auc for entry in first.methods["mlp"].candidates
    ]


def test_intervals_are_by_patient() -> None:
    train, validation, test = make_parts()
    settings = ProtocolSettings(methods=("knn",))
    once = compare_adapters(train, validation, test, settings=settings)
    repeated = test.take(np.arange(len(test)).repeat(4))  # four equal images a patient know no more
    again = compare_adapters(train, validation, repeated, settings=settings)
    widths = [
        compared.methods["knn"].mean_auc.high - compared.methods["knn"].mean_auc.low for compared in (once, again)
    ]
    assert widths[1] > 0.9 * widths[0]
    assert again.test_patients == once.test_patients
    unknown = compare_adapters(train, validation, dataclasses.replace(test, patients=()), settings=settings)
    assert (once.unknown_patients["test"], unknown.unknown_patients["test"]) == (0, len(test))
    assert (unknown.patients_phrase, once.patients_phrase) == ("patients unknown", "80 patients")


@pytest.mark.parametrize("part", [0, 1])
def test_refuses_a_patient_of_the_test_images_in_another_part(part: int) -> None:
    parts = list(make_parts())
    patients = list(parts[2].patients)
    patients[:2] = [parts[part].patients[0]] * 2
    parts[2] = dataclasses.replace(parts[2], patients=patients)
    with pytest.raises(InputError, match=r"1 patients with 4 images") as caught:
        compare_adapters(*parts)
    assert caught.value.code == "patients_shared"


def test_uncertain_labels_are_neither_fitted_nor_scored() -> None:
    def make(seed: int, flip: bool) -> LabelledEmbeddings:
        data = make_multilabel(200, seed=seed)
        unsure = [frozenset({"right"}) if index % 3 == 0 else frozenset() for index in range(len(data))]
        labels = [
            sets | {"right"} if flip and names else sets - names
            for sets, names in zip(data.labels, unsure, strict=True)
        ]
        return dataclasses.replace(data, labels=labels, uncertain=unsure)

    settings = ProtocolSettings(methods=QUICK)
    plain, flipped = (
        compare_adapters(*(make(seed, flip) for seed in range(3)), settings=settings) for flip in (False, True)
    )
    assert plain.methods == flipped.methods
    assert plain.methods["svm"].label_auc["right"].value > 0.9


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"labels": ["label 7"] * 160}, "label_unknown"),
        ({"labels": [frozenset({"label 0"})] * 160}, "label_invalid"),
        ({"vectors": np.ones((160, 5))}, "embeddings_bad_shape"),
    ],
)
def test_refuses_test_images_that_do_not_fit(changed, code: str) -> None:
    train, validation, test = make_parts()
    with pytest.raises(InputError) as caught:
        compare_adapters(train, validation, dataclasses.replace(test, **changed))
    assert caught.value.code == code


@pytest.mark.parametrize(
    "invalid", [{"methods": ()}, {"methods": ("tree",)}, {"methods": ("knn", "knn")}, {"confidence": 1.0}, {"seed": -1}]
)
def test_refuses_settings_out_of_range(invalid) -> None:
    with pytest.raises(InputError) as caught:
        ProtocolSettings(**invalid)
    assert caught.value.code == "adapter_settings_invalid"


def test_a_label_with_few_patients_has_no_figure() -> None:
    train, validation, test = make_parts()
    rows = [index for index, label in enumerate(test.labels) if label != "label 0"]
    rare = [index for index, label in enumerate(test.labels) if label == "label 0"][:3]
    compared = compare_adapters(
        train, validation, test.take(np.array(rows + rare)), settings=ProtocolSettings(methods=("knn",))
    )
    assert compared.methods["knn"].too_few == ("label 0",)
    assert [row["value"] for row in compared.rows() if row["label"] == "label 0"] == ["too few"]
