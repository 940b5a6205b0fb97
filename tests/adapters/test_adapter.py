from __future__ import annotations

import base64
import dataclasses
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medimageinsight.adapters import (
    AdapterSettings,
    LabelledEmbeddings,
    load_adapter,
    save_adapter,
    split_by_patient,
    train_adapter,
)
from medimageinsight.bundle import Bundle, ModelIdentity
from medimageinsight.errors import InputError, ModelError
from medimageinsight.preprocess import Preprocessing
from tests.adapters.sample_embeddings import DIM, make_clusters, make_identity, make_multilabel

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("sklearn", reason="a linear adapter needs the extra evaluate")

QUICK = {"resamples": 50}


def make_adapter(kind: str = "linear", data: LabelledEmbeddings | None = None, **settings):
    train, validation = split_by_patient(data or make_clusters(240), fraction=0.3)
    return train_adapter(
        train, validation, model=make_identity(), settings=AdapterSettings(kind=kind, **{**QUICK, **settings})
    )


@pytest.fixture(scope="module")
def adapter():
    return make_adapter()


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_accuracy_matches_scikit_learn(kind: str, balanced: bool) -> None:
    from sklearn.linear_model import LogisticRegression

    train, validation = split_by_patient(make_clusters(400), fraction=0.3)
    test = make_clusters(1500, seed=1)
    settings = AdapterSettings(kind=kind, balanced=balanced, **QUICK)
    trained = train_adapter(train, validation, model=make_identity(), settings=settings)
    weight = "balanced" if balanced else None
    reference = LogisticRegression(class_weight=weight, max_iter=1000).fit(train.rows, train.labels)
    figures = trained.score(test, **QUICK)
    assert figures.accuracy.value >= reference.score(test.rows, test.labels) - 0.02
    assert figures.accuracy.value > 0.7


def test_probabilities_match_scikit_learn_for_one_penalty() -> None:
    from sklearn.linear_model import LogisticRegression

    train, validation = split_by_patient(make_clusters(300, labels=4), fraction=0.3)
    mean = train.rows.mean(axis=0)
    scale = np.sqrt(((train.rows - mean) ** 2).sum(axis=1).mean())
    settings = AdapterSettings(inverse_penalties=(1.0,), **QUICK)
    trained = train_adapter(train, validation, model=make_identity(), settings=settings)
    reference = LogisticRegression(C=1.0, max_iter=1000).fit((train.rows - mean) / scale, train.labels)
    logits = reference.decision_function((validation.rows - mean) / scale) / trained.temperature
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert trained.labels == tuple(reference.classes_)
    np.testing.assert_allclose(trained.predict(validation.rows), expected, atol=2e-3)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_two_labels(kind: str) -> None:
    trained = make_adapter(kind, make_clusters(200, labels=2))
    probabilities = trained.predict(make_clusters(50, labels=2, seed=5).rows)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert trained.score(make_clusters(400, labels=2, seed=6), **QUICK).mean_auc.value > 0.9


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_multilabel_adapter_scores_each_label(kind: str) -> None:
    trained = make_adapter(kind, make_multilabel(300))
    figures = trained.score(make_multilabel(600, seed=1), **QUICK)
    assert trained.outputs == "sigmoid"
    assert figures.accuracy is None
    assert min(figure.value for figure in figures.label_auc.values()) > 0.9
    assert trained.predict(make_multilabel(50, seed=2).rows).sum(axis=1).max() > 1.2


def test_balanced_training_finds_more_of_a_rare_label() -> None:
    data = make_clusters(600, labels=2, shares=[0.92, 0.08], spread=1.4)
    test = make_clusters(1000, labels=2, seed=1, spread=1.4)
    plain, balanced = (
        make_adapter(data=data, balanced=balanced).score(test, **QUICK).balanced_accuracy.value
        for balanced in (False, True)
    )
    assert balanced > plain + 0.02


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_probabilities_are_calibrated(kind: str) -> None:
    trained = make_adapter(kind, make_clusters(500, spread=1.3))
    assert trained.score(make_clusters(3000, seed=1, spread=1.3), **QUICK).calibration_error < 0.06
    sharper = dataclasses.replace(trained, temperature=trained.temperature / 6)
    assert sharper.score(make_clusters(3000, seed=1, spread=1.3), **QUICK).calibration_error > 0.08


def test_same_seed_trains_the_same_network() -> None:
    first, repeated, other_seed = (make_adapter("mlp", make_clusters(100), seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.layers[0].weight, repeated.layers[0].weight)
    assert not np.array_equal(first.layers[0].weight, other_seed.layers[0].weight)


def test_early_stopping_prevents_fitting_noise() -> None:
    rng = np.random.default_rng(0)
    noise = LabelledEmbeddings(vectors=rng.standard_normal((160, DIM)), labels=["a", "b"] * 80)
    trained = make_adapter("mlp", noise, epochs=400)
    assert trained.predict(rng.standard_normal((200, DIM))).max() < 0.9


def test_predicts_single_vectors_of_any_length(adapter) -> None:
    rows = make_clusters(4, seed=2).rows
    np.testing.assert_allclose(adapter.predict(rows[0]), adapter.predict(rows)[0], atol=1e-6)
    np.testing.assert_allclose(adapter.predict(5 * rows), adapter.predict(rows), atol=1e-6)
    assert adapter.predict(rows).dtype == np.float32
    assert adapter.predict(np.empty((0, DIM))).shape == (0, 3)


def test_figures_have_intervals(adapter) -> None:
    (figures,) = adapter.figures
    assert figures.scored_on == "validation"
    assert figures.accuracy.low <= figures.accuracy.value <= figures.accuracy.high
    assert set(figures.label_auc) == set(adapter.labels)
    extended = adapter.with_figures(adapter.score(make_clusters(100, seed=4), **QUICK))
    assert [figures.scored_on for figures in extended.figures] == ["validation", "test"]


@pytest.mark.parametrize(
    ("vectors", "code"),
    [
        (np.ones((2, 5)), "embeddings_bad_shape"),
        (np.full((1, DIM), np.inf), "embeddings_not_finite"),
        ("a.png", "embeddings_bad_shape"),
    ],
)
def test_rejects_vectors_that_do_not_fit(adapter, vectors, code: str) -> None:
    with pytest.raises(InputError) as caught:
        adapter.predict(vectors)
    assert caught.value.code == code


def test_scoring_rejects_unknown_labels_and_the_other_kind(adapter) -> None:
    for labels, code in ((["label 0", "no such"], "label_unknown"), ([frozenset(), frozenset()], "label_invalid")):
        with pytest.raises(InputError) as caught:
            adapter.score(LabelledEmbeddings(vectors=np.ones((2, DIM)), labels=labels))
        assert caught.value.code == code


def test_scoring_refuses_patients_that_it_was_fitted_to(tmp_path: Path) -> None:
    train, validation = split_by_patient(make_clusters(120), fraction=0.3)
    trained = train_adapter(train, validation, model=make_identity(), settings=AdapterSettings(**QUICK))
    for part in (train, validation):
        with pytest.raises(InputError, match=r"patients with [1-9]\d* images") as caught:
            trained.score(part, **QUICK)
        assert caught.value.code == "patients_shared"
    test = make_clusters(60, seed=1)
    assert trained.score(test, **QUICK).patients_checked
    anonymous = dataclasses.replace(test, patients=())
    assert not trained.score(anonymous, **QUICK).patients_checked
    save_adapter(trained, tmp_path / "a.adapter")
    assert train.patients[0] not in (tmp_path / "a.adapter").read_text()
    assert not load_adapter(tmp_path / "a.adapter").score(test, **QUICK).patients_checked  # ids are not in the file
    without = train_adapter(
        dataclasses.replace(train, patients=()), validation, model=make_identity(), settings=AdapterSettings(**QUICK)
    )
    assert not without.score(test, **QUICK).patients_checked


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_uncertain_labels_change_nothing(kind: str) -> None:
    def make(seed: int, flip: bool) -> LabelledEmbeddings:
        data = make_multilabel(160, seed=seed)
        unsure = [frozenset({"left"}) if index % 4 == 0 else frozenset() for index in range(len(data))]
        labels = [sets | names if flip else sets - names for sets, names in zip(data.labels, unsure, strict=True)]
        return dataclasses.replace(data, labels=labels, uncertain=unsure)

    figures = []
    for flip in (False, True):
        settings = AdapterSettings(kind=kind, **QUICK)
        trained = train_adapter(make(0, flip), make(1, flip), model=make_identity(), settings=settings)
        figures.append(trained.score(make(2, flip), **QUICK))
    assert figures[0].label_auc["left"].value == pytest.approx(figures[1].label_auc["left"].value, abs=1e-6)
    assert figures[0].brier.value == pytest.approx(figures[1].brier.value, abs=1e-5)
    assert figures[0].label_auc["left"].value > 0.9


@pytest.mark.parametrize(
    "invalid", [{"kind": "tree"}, {"inverse_penalties": ()}, {"hidden": 0}, {"confidence": 1.0}, {"learning_rate": 0.0}]
)
def test_rejects_settings_out_of_range(invalid) -> None:
    with pytest.raises(InputError) as caught:
        AdapterSettings(**invalid)
    assert caught.value.code == "adapter_settings_invalid"


@pytest.mark.parametrize("data", [make_clusters(160), make_multilabel(160)], ids=["exclusive", "multilabel"])
@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_file_round_trip_changes_nothing(kind: str, data: LabelledEmbeddings, tmp_path: Path) -> None:
    trained = make_adapter(kind, data)
    save_adapter(trained, tmp_path / "a.adapter")
    read = load_adapter(tmp_path / "a.adapter", model=make_identity(name="renamed"))
    rows = make_clusters(20, seed=3).rows
    np.testing.assert_array_equal(read.predict(rows), trained.predict(rows))
    for name in ("labels", "kind", "outputs", "temperature", "model", "figures", "training"):
        assert getattr(read, name) == getattr(trained, name)
    assert [path.name for path in tmp_path.iterdir()] == ["a.adapter"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image_encoder": {"image_encoder.onnx": "2" * 64}}, "its image encoder differs"),
        ({"preprocessing": {"default": "azure"}}, "the preprocessing differs"),
        ({"embedding_dim": 7}, "the length of its vectors differs"),
    ],
)
def test_rejects_another_model(adapter, tmp_path: Path, changed, message: str) -> None:
    save_adapter(adapter, tmp_path / "a.adapter")
    with pytest.raises(ModelError, match=message) as caught:
        load_adapter(tmp_path / "a.adapter", model=make_identity(**changed))
    assert caught.value.code == "adapter_other_model"


def test_adapter_does_not_depend_on_the_text_encoder(adapter, tmp_path: Path) -> None:
    save_adapter(adapter, tmp_path / "a.adapter")
    load_adapter(tmp_path / "a.adapter", model=make_identity(text_encoder={}))


def test_identity_of_a_bundle(toy_bundle: Path) -> None:
    manifest = Bundle.open(toy_bundle).manifest
    steps = Preprocessing.from_dict(manifest.preprocessing)
    direct = ModelIdentity.of(manifest, steps)
    assert direct.image_encoder == {"image_encoder.onnx": manifest.files["image_encoder.onnx"].sha256}
    assert set(direct.text_encoder) == {"text_encoder.onnx", "tokenizer.json"}
    direct.check(ModelIdentity.of(manifest, dataclasses.replace(steps, jpeg_quality=50)))
    with pytest.raises(ModelError):
        direct.check(ModelIdentity.of(manifest, dataclasses.replace(steps, default="azure")))


NAN = base64.b64encode(np.full(DIM * 3, np.nan, "<f4").tobytes()).decode()


@pytest.mark.parametrize(
    ("changed", "changed_layer", "code"),
    [
        ({"kind": "tagger"}, {}, "adapter_invalid"),
        ({"format": "1"}, {}, "adapter_invalid"),
        ({"format": 0}, {}, "adapter_invalid"),
        ({"format": 2, "new": True}, {}, "adapter_too_new"),
        ({"code": "import os"}, {}, "adapter_invalid"),
        ({"labels": ["a", "b", "c", "d"]}, {}, "adapter_invalid"),
        ({"labels": ["a", "a", "b"]}, {}, "adapter_invalid"),
        ({"head": "mlp"}, {}, "adapter_invalid"),
        ({"layers": []}, {}, "adapter_invalid"),
        ({"temperature": 0.0}, {}, "adapter_invalid"),
        ({}, {"inputs": DIM + 1}, "adapter_invalid"),
        ({}, {"inputs": 1 << 62, "outputs": 1 << 62}, "adapter_invalid"),
        ({}, {"inputs": -DIM, "outputs": -3}, "adapter_invalid"),
        ({}, {"weight": "AAAA"}, "adapter_invalid"),
        ({}, {"weight": "*" * len(NAN)}, "adapter_invalid"),
        ({}, {"weight": NAN}, "adapter_invalid"),
    ],
)
def test_rejects_a_modified_file(adapter, tmp_path: Path, changed, changed_layer, code: str) -> None:
    path = tmp_path / "a.adapter"
    save_adapter(adapter, path)
    document = json.loads(path.read_text())
    document["layers"][0].update(changed_layer)
    path.write_text(json.dumps({**document, **changed}))
    with pytest.raises(ModelError) as caught:
        load_adapter(path)
    assert caught.value.code == code


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"[]", b"[" * 100_000, b'{"kind": NaN}', b"\xff\xfe"])
def test_rejects_files_that_are_not_adapters(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.adapter"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        load_adapter(path)
    assert caught.value.code == "adapter_invalid"


def test_rejects_files_that_are_too_large(tmp_path: Path) -> None:
    path = tmp_path / "a.adapter"
    with path.open("wb") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(ModelError) as caught:
        load_adapter(path)
    assert caught.value.code == "adapter_too_large"
