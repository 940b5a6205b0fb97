"""The public class, as a user calls it."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medimageinsight import MedImageInsight
from medimageinsight.client import Endpoint
from medimageinsight.errors import BundleError, ImageError, InputError, ModelError
from medimageinsight.tagging import Tagger, tag_prompts
from medimageinsight.tasks import Text
from tests.toy import DIM, LOGIT_SCALE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def model(toy_bundle: Path) -> Iterator[MedImageInsight]:
    with MedImageInsight.load(toy_bundle, threads=1) as model:
        yield model


@pytest.fixture
def arrays() -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.integers(0, 256, (20, 24), dtype=np.uint8) for _ in range(3)]


def test_the_properties_of_a_model(model: MedImageInsight) -> None:
    assert (model.name, model.embedding_dim, model.logit_scale) == ("toy", DIM, LOGIT_SCALE)
    assert model.manifest.precision == "fp32"
    assert repr(model) == "MedImageInsight('toy', embedding_dim=8)"


def test_classify(model: MedImageInsight, arrays: list[np.ndarray]) -> None:
    rows = model.classify(arrays, ["ct chest", "mr brain"])
    assert rows.shape == (3, 2)
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(model.classify(arrays[1], ["ct chest", "mr brain"]), rows[1], atol=1e-5)
    logits = math.exp(LOGIT_SCALE) * model.embed_images(arrays) @ model.embed_texts(["ct chest", "mr brain"]).T
    np.testing.assert_allclose(rows[:, 0], 1 / (1 + np.exp(logits[:, 1] - logits[:, 0])), rtol=1e-3, atol=1e-6)


def test_classify_with_templates_and_several_prompts(model: MedImageInsight, arrays: list[np.ndarray]) -> None:
    by_template = model.classify(arrays, ["a", "b"], template="{modality} {}", fields={"modality": "ct"})
    np.testing.assert_allclose(model.classify(arrays, {"x": "ct a", "y": ["ct b"]}), by_template, atol=1e-6)
    assert not np.allclose(model.classify(arrays, {"x": ["ct a", "mr a"], "y": "ct b"}), by_template)


def test_classify_with_bad_images(model: MedImageInsight, arrays: list[np.ndarray]) -> None:
    sources = [arrays[0], b"bad", arrays[1]]
    assert model.classify(sources, ["a", "b"], errors="skip").shape == (2, 2)
    first, second, third = model.classify(sources, ["a", "b"], errors="return")
    assert first.shape == third.shape == (2,)
    assert isinstance(second, ImageError)
    with pytest.raises(ImageError):
        model.classify(sources, ["a", "b"])


def test_rejects_wrong_labels_before_reading_images(model: MedImageInsight) -> None:
    def unread() -> Iterator[str]:
        raise AssertionError
        yield ""

    with pytest.raises(InputError) as caught:
        model.classify(unread(), ["a", "a"])
    assert caught.value.code == "labels_duplicate"


def test_similarity(model: MedImageInsight, arrays: list[np.ndarray]) -> None:
    images, texts = model.embed_images(arrays), model.embed_texts(["ct", "mr"])
    np.testing.assert_allclose(model.similarity(images, texts), images @ texts.T, atol=1e-6)


def test_the_preprocessing_of_load(toy_bundle: Path, arrays: list[np.ndarray]) -> None:
    default, direct, azure = (
        MedImageInsight.load(toy_bundle, preprocessing=steps).embed_images(arrays)
        for steps in (None, "direct", "azure")
    )
    np.testing.assert_array_equal(default, direct)
    assert not np.array_equal(direct, azure)
    with pytest.raises(InputError, match="'direct' or 'azure'") as caught:
        MedImageInsight.load(toy_bundle, preprocessing="best")
    assert caught.value.code == "preprocessing_invalid"


def test_the_environment_chooses_the_model(toy_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MI2_MODEL", str(toy_bundle))
    assert MedImageInsight.load().name == "toy"


def test_rejects_an_unknown_model(tmp_path: Path) -> None:
    for missing in ("no-such-model", tmp_path / "nothing"):
        with pytest.raises(BundleError) as caught:
            MedImageInsight.load(missing)
        assert caught.value.code == "bundle_not_found"


def test_a_closed_model_rejects_calls(toy_bundle: Path, arrays: list[np.ndarray]) -> None:
    with MedImageInsight.load(toy_bundle) as model:
        model.embed_images(arrays)
    with pytest.raises(ModelError) as caught:
        model.embed_texts("ct")
    assert caught.value.code == "model_closed"


def test_tags_of_one_image_and_of_several(model: MedImageInsight, arrays: list[np.ndarray]) -> None:
    single = model.tag(arrays[0], "modality")
    assert sum(tag.score for tag in single.values()) == pytest.approx(1, abs=1e-5)
    assert all(tag.present == (tag.score >= tag.threshold == 0.5) for tag in single.values())
    several = model.tag(iter(arrays), "modality", threshold=0.1)
    assert len(several) == 3
    assert several[0]["x-ray"].score == pytest.approx(single["x-ray"].score, abs=1e-5)
    assert model.tag([], "view") == []
    assert len(model.tag([arrays[0], b"bad"], "view", errors="skip")) == 1
    good, bad = model.tag([arrays[0], b"bad"], "view", errors="return")
    assert isinstance(bad, ImageError)
    assert good["lateral"].threshold == 0.5


def test_rejects_wrong_tags_before_reading_images(model: MedImageInsight) -> None:
    def unread() -> Iterator[str]:
        raise AssertionError
        yield ""

    for tags, settings, code in (
        ("organ", {}, "vocabulary_unknown"),
        ("view", {"threshold": 1.5}, "threshold_invalid"),
        ({}, {}, "labels_empty"),
        (tag_prompts(["a"]), {}, "threshold_missing"),
    ):
        with pytest.raises(InputError) as caught:
            model.tag(unread(), tags, **settings)
        assert caught.value.code == code


def test_compare_images_and_texts(model: MedImageInsight, arrays: list[np.ndarray]) -> None:
    images, text = model.embed_images(arrays), model.embed_texts("x-ray chest")
    mixed = model.compare([arrays[0], Text("x-ray chest"), arrays[1]], arrays)
    np.testing.assert_allclose(mixed, np.stack([images[0], text, images[1]]) @ images.T, atol=1e-5)
    np.testing.assert_allclose(np.diag(model.compare(arrays)), 1, atol=1e-5)
    assert model.compare(arrays[0], Text("a")).shape == ()
    assert model.compare([Text("a")], arrays).shape == (1, 3)
    with pytest.raises(ImageError):
        model.compare([arrays[0], b"bad"])


def test_rejects_the_tagger_of_another_or_unknown_model(model: MedImageInsight, arrays: list[np.ndarray]) -> None:
    tagger = Tagger(tags=(), model=model.identity, criterion="f1")
    other = dataclasses.replace(tagger, model=dataclasses.replace(model.identity, image_encoder={}))
    with pytest.raises(ModelError) as caught:
        model.tag(arrays, other)
    assert caught.value.code == "adapter_other_model"
    for tags, settings, code in ((tagger, {"threshold": 0.5}, "threshold_invalid"), (tagger, {}, "model_unknown")):
        with pytest.raises(InputError) as caught, Endpoint("http://127.0.0.1:9") as remote:
            remote.tag(arrays, tags, **settings)
        assert caught.value.code == code
