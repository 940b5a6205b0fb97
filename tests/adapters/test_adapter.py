from __future__ import annotations

import base64
import dataclasses
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medimageinsight.adapters.adapter import train_adapter
from medimageinsight.adapters.file import load_adapter, save_adapter
from medimageinsight.adapters.fitting import AdapterSettings
from medimageinsight.adapters.labelled import Labelled, split_by_patient
from medimageinsight.bundle import Bundle
from medimageinsight.bundle.identity import ModelIdentity
from medimageinsight.errors import InputError, ModelError
from medimageinsight.preprocess import Preprocessing
from tests.tasks.made import DIM, clusters, identity, several

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("sklearn", reason="a linear adapter needs the extra evaluate")

QUICK = {"resamples": 50}


def make(kind: str = "linear", data: Labelled | None = None, **settings):
    train, validation = split_by_patient(data or clusters(240), fraction=0.3)
    return train_adapter(
        train, validation, model=identity(), settings=AdapterSettings(kind=kind, **{**QUICK, **settings})
    )


@pytest.fixture(scope="module")
def adapter():
    return make()


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_as_good_as_scikit_learns_logistic_regression(kind: str, balanced: bool) -> None:
    from sklearn.linear_model import LogisticRegression

    train, validation = split_by_patient(clusters(400), fraction=0.3)
    test = clusters(1500, seed=1)
    settings = AdapterSettings(kind=kind, balanced=balanced, **QUICK)
    made = train_adapter(train, validation, model=identity(), settings=settings)
    weight = "balanced" if balanced else None
    theirs = LogisticRegression(class_weight=weight, max_iter=1000).fit(train.rows, train.labels)
    figures = made.score(test, **QUICK)
    assert figures.accuracy.value >= theirs.score(test.rows, test.labels) - 0.02
    assert figures.accuracy.value > 0.7


def test_the_same_as_scikit_learn_for_one_penalty() -> None:
    from sklearn.linear_model import LogisticRegression

    train, validation = split_by_patient(clusters(300, labels=4), fraction=0.3)
    mean = train.rows.mean(axis=0)
    scale = np.sqrt(((train.rows - mean) ** 2).sum(axis=1).mean())
    settings = AdapterSettings(inverse_penalties=(1.0,), **QUICK)
    made = train_adapter(train, validation, model=identity(), settings=settings)
    theirs = LogisticRegression(C=1.0, max_iter=1000).fit((train.rows - mean) / scale, train.labels)
    logits = theirs.decision_function((validation.rows - mean) / scale) / made.temperature
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert made.labels == tuple(theirs.classes_)
    np.testing.assert_allclose(made.predict(validation.rows), expected, atol=2e-3)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_two_labels(kind: str) -> None:
    made = make(kind, clusters(200, labels=2))
    probabilities = made.predict(clusters(50, labels=2, seed=5).rows)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert made.score(clusters(400, labels=2, seed=6), **QUICK).mean_auc.value > 0.9


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_labels_that_do_not_exclude_each_other(kind: str) -> None:
    made = make(kind, several(300))
    figures = made.score(several(600, seed=1), **QUICK)
    assert made.outputs == "sigmoid"
    assert figures.accuracy is None
    assert min(one.value for one in figures.label_auc.values()) > 0.9
    assert made.predict(several(50, seed=2).rows).sum(axis=1).max() > 1.2


def test_balanced_finds_more_of_a_rare_label() -> None:
    data = clusters(600, labels=2, shares=[0.92, 0.08], spread=1.4)
    test = clusters(1000, labels=2, seed=1, spread=1.4)
    plain, balanced = (
        make(data=data, balanced=balanced).score(test, **QUICK).balanced_accuracy.value for balanced in (False, True)
    )
    assert balanced > plain + 0.02


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_probabilities_are_calibrated(kind: str) -> None:
    made = make(kind, clusters(500, spread=1.3))
    assert made.score(clusters(3000, seed=1, spread=1.3), **QUICK).calibration_error < 0.06
    sharper = dataclasses.replace(made, temperature=made.temperature / 6)
    assert sharper.score(clusters(3000, seed=1, spread=1.3), **QUICK).calibration_error > 0.08


def test_the_same_seed_learns_the_same_network() -> None:
    first, again, other = (make("mlp", clusters(100), seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.layers[0].weight, again.layers[0].weight)
    assert not np.array_equal(first.layers[0].weight, other.layers[0].weight)


def test_a_network_stops_before_it_learns_noise_by_heart() -> None:
    rng = np.random.default_rng(0)
    noise = Labelled(vectors=rng.standard_normal((160, DIM)), labels=["a", "b"] * 80)
    made = make("mlp", noise, epochs=400)
    assert made.predict(rng.standard_normal((200, DIM))).max() < 0.9


def test_one_vector_and_any_length(adapter) -> None:
    rows = clusters(4, seed=2).rows
    np.testing.assert_allclose(adapter.predict(rows[0]), adapter.predict(rows)[0], atol=1e-6)
    np.testing.assert_allclose(adapter.predict(5 * rows), adapter.predict(rows), atol=1e-6)
    assert adapter.predict(rows).dtype == np.float32
    assert adapter.predict(np.empty((0, DIM))).shape == (0, 3)


def test_figures_have_intervals(adapter) -> None:
    (figures,) = adapter.figures
    assert figures.scored_on == "validation"
    assert figures.accuracy.low <= figures.accuracy.value <= figures.accuracy.high
    assert set(figures.label_auc) == set(adapter.labels)
    more = adapter.with_figures(adapter.score(clusters(100, seed=4), **QUICK))
    assert [one.scored_on for one in more.figures] == ["validation", "test"]


@pytest.mark.parametrize(
    ("vectors", "code"),
    [
        (np.ones((2, 5)), "embeddings_bad_shape"),
        (np.full((1, DIM), np.inf), "embeddings_not_finite"),
        ("a.png", "embeddings_bad_shape"),
    ],
)
def test_vectors_that_do_not_fit(adapter, vectors, code: str) -> None:
    with pytest.raises(InputError) as caught:
        adapter.predict(vectors)
    assert caught.value.code == code


def test_scoring_refuses_what_it_does_not_know(adapter) -> None:
    for labels, code in ((["label 0", "no such"], "label_unknown"), ([frozenset(), frozenset()], "label_invalid")):
        with pytest.raises(InputError) as caught:
            adapter.score(Labelled(vectors=np.ones((2, DIM)), labels=labels))
        assert caught.value.code == code


@pytest.mark.parametrize(
    "wrong", [{"kind": "tree"}, {"inverse_penalties": ()}, {"hidden": 0}, {"confidence": 1.0}, {"learning_rate": 0.0}]
)
def test_settings_out_of_range(wrong) -> None:
    with pytest.raises(InputError) as caught:
        AdapterSettings(**wrong)
    assert caught.value.code == "adapter_settings_invalid"


@pytest.mark.parametrize("data", [clusters(160), several(160)], ids=["exclusive", "several"])
@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_a_file_keeps_everything(kind: str, data: Labelled, tmp_path: Path) -> None:
    made = make(kind, data)
    save_adapter(made, tmp_path / "a.adapter")
    read = load_adapter(tmp_path / "a.adapter", model=identity(name="renamed"))
    rows = clusters(20, seed=3).rows
    np.testing.assert_array_equal(read.predict(rows), made.predict(rows))
    for name in ("labels", "kind", "outputs", "temperature", "model", "figures", "training"):
        assert getattr(read, name) == getattr(made, name)
    assert [one.name for one in tmp_path.iterdir()] == ["a.adapter"]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"image_encoder": {"image_encoder.onnx": "2" * 64}}, "its image encoder differs"),
        ({"preprocessing": {"default": "azure"}}, "the preprocessing differs"),
        ({"embedding_dim": 7}, "the length of its vectors differs"),
    ],
)
def test_another_model_is_refused(adapter, tmp_path: Path, changed, named: str) -> None:
    save_adapter(adapter, tmp_path / "a.adapter")
    with pytest.raises(ModelError, match=named) as caught:
        load_adapter(tmp_path / "a.adapter", model=identity(**changed))
    assert caught.value.code == "adapter_other_model"


def test_an_adapter_needs_no_text_encoder(adapter, tmp_path: Path) -> None:
    save_adapter(adapter, tmp_path / "a.adapter")
    load_adapter(tmp_path / "a.adapter", model=identity(text_encoder={}))


def test_the_identity_of_a_bundle(toy_bundle: Path) -> None:
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
def test_a_file_that_was_tampered_with(adapter, tmp_path: Path, changed, changed_layer, code: str) -> None:
    path = tmp_path / "a.adapter"
    save_adapter(adapter, path)
    document = json.loads(path.read_text())
    document["layers"][0].update(changed_layer)
    path.write_text(json.dumps({**document, **changed}))
    with pytest.raises(ModelError) as caught:
        load_adapter(path)
    assert caught.value.code == code


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"[]", b"[" * 100_000, b'{"kind": NaN}', b"\xff\xfe"])
def test_what_is_no_adapter_at_all(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.adapter"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        load_adapter(path)
    assert caught.value.code == "adapter_invalid"


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "a.adapter"
    with path.open("wb") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(ModelError) as caught:
        load_adapter(path)
    assert caught.value.code == "adapter_too_large"
