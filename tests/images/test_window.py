"""The selection of a window, in DICOM files and in other deep images."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.sequence import Sequence

from medimageinsight import images
from medimageinsight.errors import ImageError, InputError
from medimageinsight.images.window import CenterWidth, FileWindow, Percentiles, Preset
from tests.images.dicom_datasets import (
    LEVELS,
    decode_grey,
    error_code,
    linear_window,
    make_dataset,
    sequence_item,
    to_file_bytes,
)


def windowed(values: np.ndarray, center: float, width: float) -> list[float]:
    return [linear_window(x, center, width) for x in values.ravel().tolist()]


class TestParsing:
    @pytest.mark.parametrize(
        ("given", "selection", "text"),
        [
            ("40/400", CenterWidth(40, 400), "40/400"),
            (" -600.5 / 1.5e3 ", CenterWidth(-600.5, 1500), "-600.5/1500"),
            ((0.002, 0.004), CenterWidth(0.002, 0.004), "0.002/0.004"),
            ("Lung", Preset("lung"), "lung"),
            ("soft tissue", Preset("soft-tissue"), "soft-tissue"),
            ("soft_tissue", Preset("soft-tissue"), "soft-tissue"),
            (1, FileWindow(1), "1"),
            ("1", FileWindow(1), "1"),
            ("1%-99%", Percentiles(1, 99), "1%-99%"),
            ("0.5 % - 99.5 %", Percentiles(0.5, 99.5), "0.5%-99.5%"),
        ],
    )
    def test_selections_have_a_canonical_text(self, given: Any, selection: Any, text: str) -> None:
        parsed = images.parse_window(given)
        assert parsed == selection
        assert str(parsed) == text
        assert images.parse_window(text) == parsed
        assert images.parse_window(parsed) == parsed

    @pytest.mark.parametrize(
        "given",
        ["", "40/0", "40/-1", "nan/400", "40/inf", "40/400/1", "-1", "99%-1%", "1%-101%", "5%-5%", "1-99%", "spleen",
         -1, True, 1.5, (1, 2, 3), ("a", 2), None, "1e999/4", "9" * 500],
    )  # fmt: skip
    def test_rejects_anything_else(self, given: Any) -> None:
        with pytest.raises(InputError) as caught:
            images.parse_window(given)
        assert caught.value.code == "window_invalid"
        assert "\n" not in caught.value.message
        assert len(caught.value.message) < 400

    def test_errors_do_not_quote_free_text(self) -> None:
        with pytest.raises(InputError) as caught:
            images.parse_window("Doe^Jane")
        assert "jane" not in caught.value.message.lower()


class TestDicom:
    def test_centre_and_width_are_in_rescaled_units(self) -> None:
        dataset = make_dataset(LEVELS, RescaleSlope=2, RescaleIntercept=-10, WindowCenter=0, WindowWidth=9)
        shown = decode_grey(dataset, window="40/80")
        np.testing.assert_allclose(shown.ravel(), windowed(2 * LEVELS - 10, 40, 80), atol=0.5)
        np.testing.assert_array_equal(decode_grey(dataset, window=(40, 80)), shown)

    @pytest.mark.parametrize("name", sorted(images.PRESETS))
    def test_presets_apply_to_hounsfield_units(self, name: str) -> None:
        values = np.arange(-1024, 3072, dtype=np.int16).reshape(64, 64)
        shown = decode_grey(make_dataset(values, RescaleSlope=1, RescaleIntercept=0), window=name)
        np.testing.assert_allclose(shown.ravel(), windowed(values, *images.PRESETS[name]), atol=0.5)

    @pytest.mark.parametrize(
        "elements",
        [
            {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4", "Modality": "MR"},
            {"RescaleType": "US"},
            {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.12.1", "Modality": "XA", "RescaleType": "HU"},
        ],
    )
    def test_presets_are_refused_in_other_units(self, elements: dict[str, Any]) -> None:
        assert error_code(make_dataset(LEVELS, **elements), window="lung") == "image_window_not_applicable"
        assert decode_grey(make_dataset(LEVELS, **elements), window="40/400").max() > 0

    def test_presets_apply_after_a_malformed_modality_lut(self) -> None:
        dataset = make_dataset(LEVELS, ModalityLUTSequence=Sequence([sequence_item()]), RescaleIntercept=-10)
        np.testing.assert_allclose(
            decode_grey(dataset, window="brain").ravel(), windowed(LEVELS - 10, 40, 80), atol=0.5
        )

    def test_presets_apply_where_the_file_states_hounsfield_units(self) -> None:
        dataset = make_dataset(LEVELS, SOPClassUID="1.2.840.10008.5.1.4.1.1.13.1.1", RescaleType="HU")
        np.testing.assert_allclose(decode_grey(dataset, window="brain").ravel(), windowed(LEVELS, 40, 80), atol=0.5)

    def test_the_windows_of_the_file_are_listed_and_selected_by_index(self) -> None:
        table = sequence_item(LUTDescriptor=[400, -200, 8], LUTData=bytes([255]) * 400, LUTExplanation="white")
        dataset = make_dataset(
            LEVELS,
            VOILUTSequence=Sequence([table]),
            WindowCenter=[10, 0, 30],
            WindowWidth=[20, 0, 60],
            WindowCenterWidthExplanation=["narrow", "unusable", "wide"],
        )
        for source in (dataset, to_file_bytes(dataset)):
            listed = images.list_windows(source)
            assert [(entry.index, entry.window, entry.explanation) for entry in listed] == [
                (0, None, "white"),
                (1, CenterWidth(10, 20), "narrow"),
                (2, CenterWidth(30, 60), "wide"),
            ]
        assert decode_grey(dataset).min() == 255
        assert decode_grey(dataset, window=0).min() == 255
        np.testing.assert_allclose(decode_grey(dataset, window="1").ravel(), windowed(LEVELS, 10, 20), atol=0.5)
        np.testing.assert_allclose(decode_grey(dataset, window=2).ravel(), windowed(LEVELS, 30, 60), atol=0.5)
        assert error_code(dataset, window=3) == "image_window_not_applicable"

    def test_other_sources_have_no_windows_of_their_own(self) -> None:
        assert images.list_windows(LEVELS) == ()
        assert images.list_windows(to_png(np.zeros((4, 4), np.uint8))) == ()

    @pytest.mark.parametrize("slope", [1, 2, -1, 0.25])
    def test_percentiles_of_values_outside_padding(self, slope: float) -> None:
        values = np.concatenate([LEVELS.ravel(), np.full(200, -2000, np.int16)]).reshape(30, 20)
        shown = decode_grey(
            make_dataset(values, PixelPaddingValue=-2000, RescaleSlope=slope, RescaleIntercept=7), window="5%-95%"
        )
        low, high = np.percentile(LEVELS * slope + 7.0, [5, 95])
        expected = np.clip((values * slope + 7.0 - low) / (high - low) * 255, 0, 255)
        np.testing.assert_allclose(shown, expected, atol=0.5001)

    def test_percentiles_of_modality_lut_values(self) -> None:
        entries = np.random.default_rng(0).integers(0, 60000, 256)
        table = sequence_item(LUTDescriptor=[256, 0, 16], LUTData=entries.tolist(), ModalityLUTType="US")
        values = np.arange(256, dtype=np.uint8).reshape(16, 16)
        shown = decode_grey(make_dataset(values, ModalityLUTSequence=Sequence([table])), window="10%-90%")
        low, high = np.percentile(entries, [10, 90])
        expected = np.clip((entries.reshape(16, 16) - low) / (high - low) * 255, 0, 255)
        np.testing.assert_allclose(shown, expected, atol=0.5001)

    def test_a_selected_window_is_inverted_for_monochrome1(self) -> None:
        positive = decode_grey(make_dataset(LEVELS), window="0/100")
        inverted = decode_grey(make_dataset(LEVELS, PhotometricInterpretation="MONOCHROME1"), window="0/100")
        np.testing.assert_array_equal(inverted, 255 - positive)

    def test_colour_has_nothing_to_select(self) -> None:
        colour = make_dataset(
            np.arange(48, dtype=np.uint8).reshape(4, 4, 3), SamplesPerPixel=3, PhotometricInterpretation="RGB",
            PlanarConfiguration=0,
        )  # fmt: skip
        decoded = images.open(colour, window="lung")
        assert [warning.code for warning in decoded.warnings] == ["window_not_applied"]
        np.testing.assert_array_equal(np.asarray(decoded.image), images.load(colour))


class TestOtherImages:
    @pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
    def test_arrays(self, dtype: type) -> None:
        values = np.arange(5000, dtype=dtype).reshape(50, 100)
        shown = decode_grey(values, window="1000/500")
        if dtype is np.float32:  # LINEAR_EXACT
            expected = np.clip(((values - 1000.0) / 500 + 0.5) * 255, 0, 255).ravel()
        else:
            expected = np.array(windowed(values, 1000, 500))
        np.testing.assert_allclose(shown.ravel(), expected, atol=0.5001)
        low, high = np.percentile(values, [2, 98])
        expected = np.clip((values.astype(float) - low) / (high - low) * 255, 0, 255).ravel()
        np.testing.assert_allclose(decode_grey(values, window="2%-98%").ravel(), expected, atol=0.5001)

    def test_a_16_bit_png(self) -> None:
        values = np.arange(4096, dtype=np.uint16).reshape(64, 64)
        shown = decode_grey(to_png(values), window="2000/1000")
        np.testing.assert_allclose(shown.ravel(), windowed(values, 2000, 1000), atol=0.5)

    @pytest.mark.parametrize("window", ["lung", 0])
    def test_units_and_windows_of_the_file_are_missing(self, window: Any) -> None:
        with pytest.raises(ImageError) as caught:
            images.open(np.arange(5000, dtype=np.uint16).reshape(50, 100), window=window)
        assert caught.value.code == "image_window_not_applicable"

    @pytest.mark.parametrize("shape", [(6, 6), (6, 6, 3)])
    def test_8_bit_images_have_nothing_to_select(self, shape: tuple[int, ...]) -> None:
        values = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        for source in (values, to_png(values)):
            decoded = images.open(source, window="40/400")
            assert [warning.code for warning in decoded.warnings] == ["window_not_applied"]
            np.testing.assert_array_equal(np.asarray(decoded.image), values)


def to_png(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()
