"""The public face, as a user calls it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medimageinsight import MedImageInsight
from medimageinsight.errors import BundleError, ImageError, InputError, ModelError
from toy import DIM, LOGIT_SCALE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def model(toy_bundle: Path) -> Iterator[MedImageInsight]:
    with MedImageInsight.load(toy_bundle, threads=1) as model:
        yield model


@pytest.fixture
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.integers(0, 256, (20, 24), dtype=np.uint8) for _ in range(3)]


def test_what_it_says_of_itself(model: MedImageInsight) -> None:
    assert (model.name, model.embedding_dim, model.logit_scale) == ("toy", DIM, LOGIT_SCALE)
    assert model.manifest.precision == "fp32"
    assert repr(model) == "MedImageInsight('toy', embedding_dim=8)"


def test_classify(model: MedImageInsight, pictures: list[np.ndarray]) -> None:
    rows = model.classify(pictures, ["ct chest", "mr brain"])
    assert rows.shape == (3, 2)
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(model.classify(pictures[1], ["ct chest", "mr brain"]), rows[1], atol=1e-5)
    logits = math.exp(LOGIT_SCALE) * model.embed_images(pictures) @ model.embed_texts(["ct chest", "mr brain"]).T
    np.testing.assert_allclose(rows[:, 0], 1 / (1 + np.exp(logits[:, 1] - logits[:, 0])), rtol=1e-3, atol=1e-6)


def test_classify_with_templates_and_several_prompts(model: MedImageInsight, pictures: list[np.ndarray]) -> None:
    by_template = model.classify(pictures, ["a", "b"], template="{modality} {}", fields={"modality": "ct"})
    np.testing.assert_allclose(model.classify(pictures, {"x": "ct a", "y": ["ct b"]}), by_template, atol=1e-6)
    assert not np.allclose(model.classify(pictures, {"x": ["ct a", "mr a"], "y": "ct b"}), by_template)


def test_classify_with_bad_images(model: MedImageInsight, pictures: list[np.ndarray]) -> None:
    sources = [pictures[0], b"bad", pictures[1]]
    assert model.classify(sources, ["a", "b"], errors="skip").shape == (2, 2)
    first, second, third = model.classify(sources, ["a", "b"], errors="return")
    assert first.shape == third.shape == (2,)
    assert isinstance(second, ImageError)
    with pytest.raises(ImageError):
        model.classify(sources, ["a", "b"])


def test_wrong_labels_are_found_before_any_image_is_read(model: MedImageInsight) -> None:
    def unread() -> Iterator[str]:
        raise AssertionError
        yield ""

    with pytest.raises(InputError) as caught:
        model.classify(unread(), ["a", "a"])
    assert caught.value.code == "labels_duplicate"


def test_similarity(model: MedImageInsight, pictures: list[np.ndarray]) -> None:
    images, texts = model.embed_images(pictures), model.embed_texts(["ct", "mr"])
    np.testing.assert_allclose(model.similarity(images, texts), images @ texts.T, atol=1e-6)


def test_preprocessing_is_chosen_when_loading(toy_bundle: Path, pictures: list[np.ndarray]) -> None:
    default, direct, azure = (
        MedImageInsight.load(toy_bundle, preprocessing=steps).embed_images(pictures)
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


def test_no_such_model(tmp_path: Path) -> None:
    for missing in ("no-such-model", tmp_path / "nothing"):
        with pytest.raises(BundleError) as caught:
            MedImageInsight.load(missing)
        assert caught.value.code == "bundle_not_found"


def test_closed(toy_bundle: Path, pictures: list[np.ndarray]) -> None:
    with MedImageInsight.load(toy_bundle) as model:
        model.embed_images(pictures)
    with pytest.raises(ModelError) as caught:
        model.embed_texts("ct")
    assert caught.value.code == "model_closed"
