"""The window of a call, of a loaded model and of the files that record it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medimageinsight import MedImageInsight
from medimageinsight.bundle import Bundle, ModelIdentity
from medimageinsight.errors import BundleError, InputError, ModelError
from medimageinsight.images import Limits
from medimageinsight.preprocess import Preprocessing, parse_json_window, parse_percentiles
from tests.windowed_ct import BONE, LUNG, OWN, ct_bytes, stretched, windowed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def model(toy_bundle: Path) -> Iterator[MedImageInsight]:
    with MedImageInsight.load(toy_bundle, threads=1) as model:
        yield model


@pytest.mark.parametrize(
    ("window", "pixels"),
    [
        ("lung", windowed(LUNG)),
        ((-600, 1500), windowed(LUNG)),
        ("bone", windowed(BONE)),
        (1, windowed(BONE)),
        ("40/400", windowed(OWN)),
        ("1%-99%", stretched(1, 99)),
        (None, windowed(OWN)),
    ],
)
def test_an_embedding_is_that_of_the_array_windowed_by_hand(
    model: MedImageInsight, toy_bundle: Path, window: str | None, pixels: np.ndarray
) -> None:
    expected = model.embed_images(pixels)
    np.testing.assert_array_equal(model.embed_images(ct_bytes(), window=window), expected)
    with MedImageInsight.load(toy_bundle, threads=1, window=window) as windowed_model:
        np.testing.assert_array_equal(windowed_model.embed_images(ct_bytes()), expected)


def test_the_window_of_a_call_overrides_that_of_the_model(toy_bundle: Path) -> None:
    with MedImageInsight.load(toy_bundle, threads=1, window="lung") as model:
        lung, bone = (model.embed_images(ct_bytes(), window=window) for window in (None, "bone"))
        np.testing.assert_array_equal(bone, model.embed_images(windowed(BONE)))
        assert np.abs(lung - bone).max() > 0.01


def test_every_task_takes_a_window(model: MedImageInsight) -> None:
    sources = [ct_bytes()]
    by_hand = [windowed(BONE)]
    np.testing.assert_array_equal(
        model.classify(sources, ["a", "b"], window="bone"), model.classify(by_hand, ["a", "b"])
    )
    np.testing.assert_array_equal(model.compare(sources, by_hand, window="bone"), model.compare(by_hand, by_hand))
    assert model.tag(sources, "modality", window="bone") == model.tag(by_hand, "modality")
    (item,) = model.stream_images(sources, window="bone")
    assert item.embedding is not None
    np.testing.assert_array_equal(item.embedding, model.embed_images(windowed(BONE)))


def test_a_wrong_window_fails_the_call_not_its_images(model: MedImageInsight, toy_bundle: Path) -> None:
    for wrong in ("lungs", "40/0", "99%-1%", -1, (1, 2, 3)):
        with pytest.raises(InputError) as caught:
            model.embed_images([ct_bytes()], errors="return", window=wrong)
        assert caught.value.code == "window_invalid"
    with pytest.raises(InputError, match="expected a window"):
        MedImageInsight.load(toy_bundle, window="lungs")


def test_a_window_that_does_not_apply_is_recorded_with_the_image(model: MedImageInsight) -> None:
    photograph = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    first, second = model.stream_images([photograph, ct_bytes()], window="lung")
    assert [warning.code for warning in first.warnings] == ["window_not_applied"]
    assert second.warnings == ()
    assert first.embedding is not None
    np.testing.assert_array_equal(first.embedding, model.embed_images(photograph))


def test_the_preprocessing_records_a_window_and_is_unchanged_without(toy_bundle: Path) -> None:
    stored = Bundle.open(toy_bundle).manifest.preprocessing
    settings = Preprocessing.from_dict(stored)
    assert settings.to_dict() == stored
    assert settings.with_window(None) is settings
    chosen = settings.with_window((40, 400))
    assert chosen.to_dict() == stored | {"window": "40/400"}
    assert dataclasses.replace(settings, window=" 40.0/400 ") == chosen
    assert Preprocessing.from_dict(chosen.to_dict()) == chosen
    with pytest.raises(InputError, match="expected a window"):
        dataclasses.replace(settings, window="lungs")
    with pytest.raises(BundleError):
        Preprocessing.from_dict(stored | {"window": "lungs"})


def test_an_identity_differs_by_its_window(model: MedImageInsight) -> None:
    own = model.identity
    lung = own.with_window("lung")
    assert own.with_window(None) == own
    assert lung == ModelIdentity.of(model.manifest, model.preprocessing.with_window("lung"))
    assert own.preprocessing_differences(lung) == ["window"]
    lung.check(lung)
    with pytest.raises(ModelError, match="window lung"):
        lung.check(own)


@pytest.mark.parametrize("window", [True, 1.5, None, [40], [40, "400"], [True, 400], {}, 10**9, "", "none"])
def test_other_json_values_are_no_window(window: object) -> None:
    with pytest.raises(InputError) as caught:
        parse_json_window(window)
    assert caught.value.code == "window_invalid"


def test_windows_and_percentiles_in_json() -> None:
    assert parse_json_window([40, 400.0]) == parse_json_window("40/400") == "40/400"
    assert parse_json_window(1) == "1"
    assert parse_percentiles([1, 99.5]) == "1%-99.5%"
    for wrong in ([99, 1], [1], "1,99", [1, True], [-1, 50]):
        with pytest.raises(InputError, match="expected"):
            parse_percentiles(wrong)


def test_maps_are_accepted_on_request(toy_bundle: Path) -> None:
    from tests.images.dicom_datasets import make_dataset, to_file_bytes

    dose = make_dataset(np.arange(400, dtype=np.uint16).reshape(20, 20), Modality="RTDOSE", DoseGridScaling=0.001)
    dose.SOPClassUID = "1.2.840.10008.5.1.4.1.1.481.2"
    with MedImageInsight.load(toy_bundle, threads=1) as model, pytest.raises(InputError) as caught:
        model.embed_images(to_file_bytes(dose))
    assert caught.value.code == "image_is_map"
    with MedImageInsight.load(toy_bundle, threads=1, limits=Limits(accept_maps=True)) as model:
        assert np.isfinite(model.embed_images(to_file_bytes(dose))).all()
