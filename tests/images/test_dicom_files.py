"""Real DICOM files: those packaged with pydicom, hostile files, and the shared samples."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import get_frame
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import UID, JPEG2000Lossless

from medimageinsight import images
from medimageinsight.errors import ImageError
from tests.images.dicom_datasets import (
    LEVELS,
    PACKAGED,
    decode_grey,
    error_code,
    linear_window,
    make_dataset,
    to_file_bytes,
)

if TYPE_CHECKING:
    from pathlib import Path


class TestPackagedFiles:
    @pytest.mark.parametrize(
        "name",
        [
            "MR_small_RLE",
            "MR_small_bigendian",
            "MR_small_implicit",
            "MR_small_expb",
            "MR_small_jp2klossless",
            "MR_small_jpeg_ls_lossless",
            "MR_small_padded",
        ],
    )
    def test_every_lossless_encoding_gives_the_same_pixels(self, name: str) -> None:
        np.testing.assert_array_equal(decode_grey(PACKAGED / f"{name}.dcm"), decode_grey(PACKAGED / "MR_small.dcm"))

    def test_mr_window(self) -> None:
        dataset = pydicom.dcmread(PACKAGED / "MR_small.dcm")
        center, width = float(dataset.WindowCenter), float(dataset.WindowWidth)
        expected = [linear_window(x, center, width) for x in dataset.pixel_array.ravel().tolist()]
        np.testing.assert_allclose(decode_grey(dataset).ravel(), expected, atol=0.5)

    def test_ct_without_window_is_scaled_by_its_range(self) -> None:
        dataset = pydicom.dcmread(PACKAGED / "CT_small.dcm")
        assert "WindowCenter" not in dataset
        values = dataset.pixel_array.astype(float)
        expected = np.rint((values - values.min()) / np.ptp(values) * 255)
        np.testing.assert_array_equal(decode_grey(PACKAGED / "CT_small.dcm"), expected)

    def test_palette(self) -> None:
        dataset = pydicom.dcmread(PACKAGED / "examples_palette.dcm")
        expected = apply_color_lut(dataset.pixel_array, dataset)
        np.testing.assert_array_equal(images.load(dataset), expected >> 8 if expected.max() > 255 else expected)

    def test_ybr_in_jpeg(self) -> None:
        dataset = pydicom.dcmread(PACKAGED / "examples_ybr_color.dcm")
        frame = get_frame(dataset.PixelData, 17, number_of_frames=int(dataset.NumberOfFrames))
        with Image.open(io.BytesIO(frame)) as reference:
            expected = np.asarray(reference.convert("RGB")).astype(int)
        shown = images.load(PACKAGED / "examples_ybr_color.dcm", frame=17)
        assert np.abs(shown - expected).max() <= 2  # two roundings of the colour transform

    @pytest.mark.parametrize(
        "name",
        [
            "SC_rgb_rle",
            "SC_rgb_rle_16bit",
            "SC_rgb_rle_32bit",
            "SC_rgb_jpeg_gdcm",
            "SC_rgb_gdcm_KY",
            "SC_ybr_full_422_uncompressed",
            "SC_rgb_dcmtk_+eb+cr",
            "SC_rgb_dcmtk_+eb+cy+np",
            "SC_rgb_jpeg_dcmtk",
        ],
    )
    def test_colour_bars(self, name: str) -> None:
        bars = images.load(PACKAGED / f"{name}.dcm")[5::10, 50].astype(int)
        red, green, blue, white = bars[0], bars[2], bars[4], bars[9]
        for bar, expected in ((red, [255, 0, 0]), (green, [0, 255, 0]), (blue, [0, 0, 255]), (white, [255] * 3)):
            assert np.abs(bar - expected).max() <= 6  # JPEG and halved chroma

    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("reportsi", "Basic Text SR Storage"),
            ("rtplan", "RT Plan Storage"),
            ("waveform_ecg", "12-lead ECG Waveform Storage"),
        ],
    )
    def test_the_error_of_an_object_without_pixels_names_its_kind(self, name: str, kind: str) -> None:
        with pytest.raises(ImageError, match=kind) as caught:
            images.open(PACKAGED / f"{name}.dcm")
        assert caught.value.code == "image_no_pixels"

    @pytest.mark.parametrize(
        ("name", "code"),
        [
            ("MR_truncated", "image_truncated"),
            ("rtplan_truncated", "image_no_pixels"),
            ("badVR", "image_bad_header"),
            ("JPEG2000-embedded-sequence-delimiter", "image_inconsistent"),
        ],
    )
    def test_broken_and_undecodable_files(self, name: str, code: str) -> None:
        assert error_code(PACKAGED / f"{name}.dcm", limits=images.Limits(accept_maps=True)) == code

    @pytest.mark.parametrize("name", ["CT_small", "MR_small_RLE", "examples_jpeg2k", "SC_rgb_jpeg_gdcm", "image_dfl"])
    def test_a_truncated_file_is_complete_or_an_error(self, name: str) -> None:
        data = (PACKAGED / f"{name}.dcm").read_bytes()
        whole = images.load(data)
        for cut in range(140, len(data), len(data) // 25):
            try:
                pixels = images.load(data[:cut])
            except ImageError as error:
                assert error.code == "image_truncated"  # noqa: PT017 - success is right too
            else:
                np.testing.assert_array_equal(pixels, whole)  # only data after the pixels was cut off

    def test_a_file_without_preamble(self) -> None:
        data = (PACKAGED / "CT_small.dcm").read_bytes()
        np.testing.assert_array_equal(images.load(data[132:]), images.load(data))
        for name in ("ExplVR_LitEndNoMeta", "ExplVR_BigEndNoMeta"):
            assert error_code(PACKAGED / f"{name}.dcm") in ("image_no_pixels", "image_truncated")

    def test_the_dataset_of_the_caller_is_not_changed(self) -> None:
        dataset = pydicom.dcmread(PACKAGED / "MR_small_RLE.dcm")
        before = dataset.to_json()
        images.open(dataset)
        assert dataset.to_json() == before

    def test_neither_warnings_nor_log_nor_error_quote_the_file(self, caplog: pytest.LogCaptureFixture) -> None:
        dataset = make_dataset(LEVELS, PatientName="Secret^Name")
        data = to_file_bytes(dataset).replace(b"1.2.3\x00", b"Secret")
        assert decode_grey(data).shape == (20, 20)
        with pytest.raises(ImageError) as caught:
            images.open(data[:-100])
        assert caplog.messages == []
        assert "Secret" not in str(caught.value)
        assert caught.value.__cause__ is None


class TestHostileFiles:
    def test_rejects_a_large_image_by_its_header(self) -> None:
        dataset = make_dataset(np.zeros((2, 2), np.uint8))
        dataset.Rows = dataset.Columns = 50_000
        assert error_code(to_file_bytes(dataset)) == "image_too_large"

    def test_rejects_a_compressed_frame_larger_than_the_header(self) -> None:
        dataset = pydicom.dcmread(PACKAGED / "examples_jpeg2k.dcm")
        dataset.Rows = 10
        with pytest.raises(ImageError, match="640 x 10 as in the header, got 640 x 480") as caught:
            images.open(dataset)
        assert caught.value.code == "image_inconsistent"

    def test_rejects_a_deflated_file_that_inflates_without_bound(self) -> None:
        data = (PACKAGED / "image_dfl.dcm").read_bytes()
        start = data.index(b"1.2.840.10008.1.2.1.99")
        compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        # the file meta is unchanged, the dataset becomes 30 MB of zeros in 30 kB
        meta_length = struct.unpack_from("<I", data, 140)[0]
        bomb = data[: 144 + meta_length] + compressor.compress(bytes(30 << 20)) + compressor.flush()
        assert start < 144 + meta_length
        assert error_code(bomb, limits=images.Limits(max_bytes=1 << 20)) == "image_too_large"

    def test_rejects_an_unknown_transfer_syntax(self) -> None:
        dataset = make_dataset(LEVELS)
        dataset.file_meta.TransferSyntaxUID = UID("1.2.3.4.5")
        assert error_code(dataset) == "image_unsupported"

    def test_rejects_compressed_pixel_data_without_frames(self) -> None:
        dataset = make_dataset(LEVELS)
        dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
        dataset.PixelData = b""
        assert error_code(dataset) == "image_truncated"

    @pytest.mark.parametrize("keyword", ["Rows", "Columns", "BitsAllocated"])
    def test_the_error_names_a_missing_element(self, keyword: str) -> None:
        dataset = make_dataset(LEVELS)
        delattr(dataset, keyword)
        with pytest.raises(ImageError, match=keyword) as caught:
            images.open(dataset)
        assert caught.value.code == "image_bad_header"

    @pytest.mark.parametrize(
        "name", ["MR_small_RLE", "examples_jpeg2k", "examples_palette", "MR_small_jpeg_ls_lossless"]
    )
    def test_damaged_bytes_raise_only_image_errors(self, name: str) -> None:
        data = (PACKAGED / f"{name}.dcm").read_bytes()
        rng = np.random.default_rng(7)
        for _ in range(10):
            damaged = bytearray(data)
            for position in rng.integers(0, len(data), 6):
                damaged[position] = int(rng.integers(256))
            try:
                pixels = images.load(bytes(damaged))
            except ImageError:
                continue
            assert pixels.dtype == np.uint8


class TestSamples:
    """Real files of the shared folder."""

    def test_every_sample_decodes_or_has_a_precise_error(self, shared: Path) -> None:
        codes = {}
        for path in sorted((shared / "data" / "samples" / "dicom").glob("*.dcm")):
            try:
                pixels = images.load(path)
            except ImageError as error:
                codes[path.stem] = error.code
            else:
                assert pixels.ndim == 3
                assert np.ptp(pixels) > 0 or path.stem == "sm_image_numbers"  # its first tile is background
        assert codes == {
            "MR_truncated": "image_truncated",
            "badVR": "image_is_map",
            "liver_deflate": "image_is_map",
            "liver_rle": "image_is_map",
            "no_meta": "image_not_an_image",
            "parametric_map_float": "image_is_map",
            "reportsi": "image_no_pixels",
            "rtdose": "image_is_map",
            "rtplan": "image_no_pixels",
            "seg_image_ct_binary": "image_is_map",
            "seg_image_ct_true_fractional": "image_is_map",
            "seg_image_sm_dots": "image_is_map",
            "sm_annotations": "image_no_pixels",
            "sr_document": "image_no_pixels",
            "waveform_ecg": "image_no_pixels",
        }

    def test_a_monochrome1_radiograph_has_bright_bones(self, shared: Path) -> None:
        dataset = pydicom.dcmread(shared / "data" / "samples" / "dicom" / "RG3_J2KR.dcm")
        center, width = (float(np.atleast_1d(dataset[name].value)[0]) for name in ("WindowCenter", "WindowWidth"))
        rescaled = dataset.pixel_array * float(dataset.get("RescaleSlope", 1)) + float(
            dataset.get("RescaleIntercept", 0)
        )
        expected = [255 - linear_window(x, center, width) for x in rescaled[::40, ::40].ravel().tolist()]
        np.testing.assert_allclose(decode_grey(dataset)[::40, ::40].ravel(), expected, atol=0.5)

    def test_segmented_palette(self, shared: Path) -> None:
        dataset = pydicom.dcmread(shared / "data" / "samples" / "dicom" / "gdcm-US-ALOKA-16.dcm")
        expected = apply_color_lut(dataset.pixel_array, dataset) >> 8
        assert np.abs(images.load(dataset).astype(int) - expected).max() <= 1  # pydicom truncates linear segments

    @pytest.mark.parametrize("name", ["RLE", "big_endian", "jpeg_2k_lossless", "jpeg_ls_lossless"])
    def test_enhanced_mr_in_every_encoding(self, shared: Path, name: str) -> None:
        folder = shared / "data" / "samples" / "dicom"
        for frame in (0, 9):
            np.testing.assert_array_equal(
                decode_grey(folder / f"emri_small_{name}.dcm", frame=frame),
                decode_grey(folder / "emri_small.dcm", frame=frame),
            )

    def test_high_throughput_jpeg_2000(self, shared: Path) -> None:
        folder = shared / "data" / "samples" / "dicom"
        lossless = images.load(folder / "HTJ2KLossless_08_RGB.dcm").astype(int)
        lossy = images.load(folder / "HTJ2K_08_RGB.dcm").astype(int)
        assert lossless.shape == (480, 640, 3)
        assert np.abs(lossless - lossy).mean() < 5
