"""DICOM rendering against the formulas of the standard, implemented here a second time."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, JPEGBaseline8Bit

from medimageinsight import images
from tests.images.dicom_datasets import (
    LEVELS,
    decode_grey,
    error_code,
    linear_window,
    make_dataset,
    sequence_item,
    to_file_bytes,
)

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


class TestWindow:
    @pytest.mark.parametrize(("center", "width"), [(0, 400), (50, 100), (0.5, 1), (10, 2), (-30.25, 77.5)])
    def test_linear(self, center: float, width: float) -> None:
        shown = decode_grey(make_dataset(LEVELS, WindowCenter=center, WindowWidth=width))
        expected = [linear_window(x, center, width) for x in LEVELS.ravel().tolist()]
        np.testing.assert_allclose(shown.ravel(), expected, atol=0.5)

    def test_linear_exact(self) -> None:
        shown = decode_grey(make_dataset(LEVELS, WindowCenter=10, WindowWidth=100, VOILUTFunction="LINEAR_EXACT"))
        expected = np.clip(((LEVELS - 10) / 100 + 0.5) * 255, 0, 255)  # PS3.3 C.11.2.1.3.2
        np.testing.assert_allclose(shown, expected, atol=0.5)

    def test_sigmoid(self) -> None:
        shown = decode_grey(make_dataset(LEVELS, WindowCenter=10, WindowWidth=100, VOILUTFunction="SIGMOID"))
        expected = 255 / (1 + np.exp(-4 * (LEVELS - 10) / 100))  # PS3.3 C.11.2.1.3.1
        np.testing.assert_allclose(shown, expected, atol=0.5)

    def test_the_first_of_several_windows_is_used(self) -> None:
        several = make_dataset(LEVELS, WindowCenter=[0, 100], WindowWidth=[50, 10])
        np.testing.assert_array_equal(
            decode_grey(several), decode_grey(make_dataset(LEVELS, WindowCenter=0, WindowWidth=50))
        )

    @pytest.mark.parametrize(
        "window",
        [
            {},
            {"WindowCenter": 5},
            {"WindowCenter": 5, "WindowWidth": 0},
            {"WindowCenter": 5, "WindowWidth": -7},
            {"WindowCenter": 5, "WindowWidth": 0.5},
            {"WindowCenter": 5, "WindowWidth": 0, "VOILUTFunction": "SIGMOID"},
            {"WindowCenter": "", "WindowWidth": ""},
        ],
    )
    def test_without_a_usable_window_the_range_is_scaled(self, window: dict[str, Any]) -> None:
        expected = np.rint((LEVELS.astype(float) + 200) / 399 * 255)
        np.testing.assert_array_equal(decode_grey(make_dataset(LEVELS, **window)), expected)

    def test_a_constant_frame_without_window_is_black(self) -> None:
        assert decode_grey(make_dataset(np.full((4, 4), 77, np.uint16))).max() == 0

    def test_padding_is_excluded_from_the_range(self) -> None:
        values = np.array([[-2000, -100], [0, 100]], np.int16)
        assert decode_grey(make_dataset(values, PixelPaddingValue=-2000)).tolist() == [[0, 0], [128, 255]]
        values = np.array([[-2000, -1990], [0, 100]], np.int16)
        limited = make_dataset(values, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1990)
        assert decode_grey(limited).tolist() == [[0, 0], [0, 255]]

    def test_a_window_is_applied_to_rescaled_values(self) -> None:
        shown = decode_grey(make_dataset(LEVELS, RescaleSlope=2, RescaleIntercept=-10, WindowCenter=40, WindowWidth=80))
        expected = [linear_window(2 * x - 10, 40, 80) for x in LEVELS.ravel().tolist()]
        np.testing.assert_allclose(shown.ravel(), expected, atol=0.5)

    def test_monochrome1_is_inverted_last_and_once(self) -> None:
        window = {"WindowCenter": 30, "WindowWidth": 90}
        positive = decode_grey(make_dataset(LEVELS, **window))
        for elements in (
            {"PhotometricInterpretation": "MONOCHROME1"},
            {"PresentationLUTShape": "INVERSE"},
            {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
        ):
            np.testing.assert_array_equal(decode_grey(make_dataset(LEVELS, **window, **elements)), 255 - positive)


class TestLookupTables:
    def test_modality_lut_replaces_rescale(self) -> None:
        table = sequence_item(LUTDescriptor=[4, 10, 16], LUTData=[0, 300, 100, 1000], ModalityLUTType="US")
        values = np.array([[0, 10, 11], [12, 13, 99]], np.uint8)
        shown = decode_grey(
            make_dataset(values, ModalityLUTSequence=Sequence([table]), RescaleSlope=5, RescaleIntercept=7)
        )
        expected = np.rint(np.array([[0, 0, 300], [100, 1000, 1000]]) / 1000 * 255)
        np.testing.assert_array_equal(shown, expected)

    def test_voi_lut_spans_its_bits(self) -> None:
        table = sequence_item(LUTDescriptor=[3, -1, 12], LUTData=[0, 1000, 4095])
        values = np.array([[-5, -1, 0, 1, 9]], np.int16)
        shown = decode_grey(make_dataset(values, VOILUTSequence=Sequence([table]), WindowCenter=0, WindowWidth=3))
        assert shown.tolist() == [[0, 0, 62, 255, 255]]

    def test_rejects_a_short_palette(self) -> None:
        tables = {
            f"{name}PaletteColorLookupTable{part}": value
            for name in ("Red", "Green", "Blue")
            for part, value in (("Descriptor", [30, 0, 16]), ("Data", bytes(20)))
        }
        dataset = make_dataset(np.zeros((5, 6), np.uint8), PhotometricInterpretation="PALETTE COLOR", **tables)
        assert error_code(dataset) == "image_bad_header"

    @pytest.mark.parametrize("bits", [8, 16])
    def test_palette(self, bits: int) -> None:
        colours = np.random.default_rng(0).integers(0, 256, (3, 40), dtype=np.uint16)
        entries = (colours if bits == 8 else colours * 257).astype(f"<u{bits // 8}")
        tables = {
            f"{name}PaletteColorLookupTable{part}": value
            for name, channel in zip(("Red", "Green", "Blue"), entries, strict=True)
            for part, value in (("Descriptor", [40, 5, bits]), ("Data", channel.tobytes()))
        }
        values = np.arange(60, dtype=np.uint8).reshape(6, 10)
        pixels = images.load(make_dataset(values, PhotometricInterpretation="PALETTE COLOR", **tables))
        np.testing.assert_array_equal(pixels, colours.T[np.clip(values.astype(int) - 5, 0, 39)])

    @pytest.mark.parametrize("bits", [8, 16])
    def test_segmented_palette(self, bits: int) -> None:
        # discrete 2 entries, linear 4 to 100, indirect: the linear segment at entry 4 once more
        segments_8 = (0, 2, 0, 20, 1, 4, 100, 2, 1)
        segments_16 = [value << 8 if index in (2, 3, 6) else value for index, value in enumerate(segments_8)]
        segments = bytes([*segments_8, 4, 0, 0, 0, 0]) if bits == 8 else struct.pack("<11H", *segments_16, 4, 0)
        tables = {
            f"{prefix}{name}PaletteColorLookupTable{part}": value
            for name in ("Red", "Green", "Blue")
            for prefix, part, value in (("", "Descriptor", [10, 0, bits]), ("Segmented", "Data", segments))
        }
        values = np.arange(10, dtype=np.uint8).reshape(2, 5)
        pixels = images.load(make_dataset(values, PhotometricInterpretation="PALETTE COLOR", **tables))
        assert pixels[:, :, 0].ravel().tolist() == [0, 20, 40, 60, 80, 100, 100, 100, 100, 100]

    def test_rejects_a_palette_image_without_palette(self) -> None:
        assert error_code(make_dataset(LEVELS, PhotometricInterpretation="PALETTE COLOR")) == "image_bad_header"


class TestPixelData:
    def test_unused_bits_are_ignored(self) -> None:
        values = np.array([[0xF000, 0xA7FF], [0x0400, 0x0FFF]], np.uint16)  # 12 bits stored, overlay bits above
        expected = np.rint(np.array([[0, 0x7FF], [0x400, 0xFFF]]) / 0xFFF * 255)
        np.testing.assert_array_equal(decode_grey(make_dataset(values, BitsStored=12, HighBit=11)), expected)

    def test_16_bit_rgb_is_scaled_by_bits_stored(self) -> None:
        values = np.array([[[0, 2048, 4095]]], np.uint16)
        dataset = make_dataset(
            values,
            SamplesPerPixel=3,
            PhotometricInterpretation="RGB",
            PlanarConfiguration=0,
            BitsStored=12,
            HighBit=11,
        )
        assert images.load(dataset).tolist() == [[[0, 128, 255]]]

    def test_planar_configuration(self) -> None:
        values = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
        planes = make_dataset(values, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=1)
        planes.PixelData = values.transpose(2, 0, 1).tobytes()
        np.testing.assert_array_equal(images.load(planes), values)

    def test_float_pixels(self) -> None:
        dataset = make_dataset(np.zeros((2, 2), np.uint32))
        del dataset.PixelData, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation
        dataset.FloatPixelData = np.array([[np.nan, 1.0], [2.0, 3.0]], np.float32).tobytes()
        assert decode_grey(dataset).tolist() == [[0, 0], [128, 255]]

    def test_a_linear_window_of_float_pixels_is_exact(self) -> None:
        dataset = make_dataset(np.zeros((1, 3), np.uint32), WindowCenter=0.5, WindowWidth=1)
        del dataset.PixelData, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation
        dataset.FloatPixelData = np.array([0, 0.5, 1], np.float32).tobytes()
        assert decode_grey(dataset).tolist() == [[0, 128, 255]]

    def test_missing_elements_have_defaults(self) -> None:
        dataset = make_dataset(np.array([[0, 100], [200, 255]], np.uint8))
        del dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation, dataset.BitsStored
        assert decode_grey(dataset).tolist() == [[0, 100], [200, 255]]

    def test_frames_and_their_functional_groups(self) -> None:
        values = np.stack([LEVELS, LEVELS, LEVELS])
        rescale = sequence_item(
            PixelValueTransformationSequence=Sequence([sequence_item(RescaleSlope=2, RescaleIntercept=1)])
        )

        def windowed(center: float) -> Dataset:
            return sequence_item(FrameVOILUTSequence=Sequence([sequence_item(WindowCenter=center, WindowWidth=60)]))

        dataset = make_dataset(
            values,
            SharedFunctionalGroupsSequence=Sequence([rescale]),
            PerFrameFunctionalGroupsSequence=Sequence([windowed(0), windowed(40), sequence_item()]),
        )
        for frame, center in ((0, 0), (1, 40)):
            expected = [linear_window(2 * x + 1, center, 60) for x in LEVELS.ravel().tolist()]
            np.testing.assert_allclose(decode_grey(dataset, frame=frame).ravel(), expected, atol=0.5)
        assert (decode_grey(dataset, frame=2).min(), decode_grey(dataset, frame=2).max()) == (0, 255)
        assert error_code(dataset, frame=3) == "image_frame_out_of_range"

    def test_only_the_chosen_frame_is_decoded(self) -> None:
        buffer = io.BytesIO()
        Image.fromarray(LEVELS.astype(np.uint8)).save(buffer, "JPEG")
        dataset = make_dataset(np.zeros((2, 20, 20), np.uint8))
        dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        dataset.PixelData = encapsulate([buffer.getvalue(), b"\xff\xd8 not a frame \xff\xd9"])
        dataset["PixelData"].is_undefined_length = True
        data = to_file_bytes(dataset)
        with Image.open(buffer) as reference:
            stored = np.asarray(reference).astype(float)
        expected = np.rint((stored - stored.min()) / np.ptp(stored) * 255)
        np.testing.assert_array_equal(decode_grey(data), expected)
        assert error_code(data, frame=1) == "image_truncated"


def pack_12_bits(samples: np.ndarray) -> bytes:
    """Return samples of 12 bits, two in three bytes, from the lowest bit."""
    bits = (samples.ravel()[:, None] >> np.arange(12)) & 1
    packed = np.packbits(bits.astype(np.uint8).ravel(), bitorder="little").tobytes()
    return packed + b"\0" * (len(packed) % 2)


@pytest.mark.parametrize("shape", [(10, 12), (3, 7, 9), (2, 5, 5)])
@pytest.mark.parametrize("big_endian", [False, True])
def test_samples_of_12_bits_allocated(shape: tuple[int, ...], big_endian: bool) -> None:
    samples = np.random.default_rng(1).integers(0, 4096, shape, dtype=np.uint16)
    usual = make_dataset(samples, BitsStored=12, HighBit=11)
    packed = make_dataset(samples, BitsAllocated=12, BitsStored=12, HighBit=11)
    data = pack_12_bits(samples)
    if big_endian:
        packed.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        data = np.frombuffer(data, "<u2").astype(">u2").tobytes()
    packed.PixelData = data
    for frame in range(len(samples) if samples.ndim == 3 else 1):
        np.testing.assert_array_equal(decode_grey(packed, frame=frame), decode_grey(usual, frame=frame))
    packed.PixelData = data[:-4]
    assert error_code(packed) == "image_truncated"
