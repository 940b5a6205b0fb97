"""Frames in fragments, offset tables of every kind, and uncompressed pixels of old and odd layouts."""

from __future__ import annotations

import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import convert_color_space
from pydicom.uid import ExplicitVRBigEndian, JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from medimageinsight import images
from medimageinsight.images.decoder_warnings import suppress_decoder_warnings
from tests.images.compressed_datasets import (
    DEEP,
    GREY,
    RGB,
    compress,
    jpeg,
    jpeg_2000,
    stored_values,
    warning_codes,
)
from tests.images.dicom_datasets import LEVELS, decode_grey, error_code, make_dataset, to_file_bytes

FRAMES = [GREY, GREY[::-1].copy(), GREY[:, ::-1].copy()]


def item(value: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(value)) + value


def offset_table(*offsets: int) -> bytes:
    return item(struct.pack(f"<{len(offsets)}I", *offsets))


def padded(value: bytes) -> bytes:
    return value + b"\0" * (len(value) % 2)


class TestOffsetTables:
    @pytest.mark.parametrize("size", [None, 3000])
    @pytest.mark.parametrize("encode", [jpeg_2000, jpeg])
    @pytest.mark.parametrize(
        "table", [(), (0,), (0, 0, 0), (0, 1), (0, 2, 4), (8, 0, 16), (0, 10**6, 2 * 10**6)], ids=repr
    )
    def test_frames_are_found_whatever_the_table_contains(self, table: tuple, encode: object, size: int | None) -> None:
        codestreams = [padded(encode(frame)) for frame in FRAMES]
        fragments = [
            item(codestream[start : start + (size or len(codestream))])
            for codestream in codestreams
            for start in range(0, len(codestream), size or len(codestream))
        ]
        dataset = compress(codestreams, GREY, JPEG2000Lossless)
        dataset.PixelData = offset_table(*table) + b"".join(fragments)
        for index, frame in enumerate(FRAMES):
            assert np.abs(stored_values(dataset, index).astype(int) - frame).max() <= 2
        assert warning_codes(dataset) == (["offset_table_ignored"] if table else [])

    def test_run_length_encoded_frames_in_several_fragments(self) -> None:
        header = struct.pack("<16I", 1, 64, *[0] * 14)
        frames = [
            padded(header + b"".join(b"\x7f" + frame.tobytes()[i : i + 128] for i in range(0, frame.size, 128)))
            for frame in FRAMES
        ]
        fragments = b"".join(item(frame[:1000]) + item(frame[1000:]) for frame in frames)
        offsets = [index * (len(frames[0]) + 16) for index in range(3)]
        dataset = compress(frames, GREY, RLELossless)
        for table in ((), offsets, (0, 0, 0)):
            dataset.PixelData = offset_table(*table) + fragments
            for index, frame in enumerate(FRAMES):
                np.testing.assert_array_equal(stored_values(dataset, index), frame)

    def test_a_right_table_is_used(self) -> None:
        """Without it these fragments would not tell where the second frame begins."""
        first, second = (padded(jpeg_2000(frame)) for frame in FRAMES[:2])
        dataset = compress([first, second], GREY, JPEG2000Lossless)
        parts = [first, first, second]
        dataset.PixelData = offset_table(0, 2 * (len(first) + 8)) + b"".join(map(item, parts))
        np.testing.assert_array_equal(stored_values(dataset, 1), FRAMES[1])
        assert warning_codes(dataset, 1) == []

    def test_an_extended_table(self) -> None:
        codestreams = [padded(jpeg_2000(frame)) for frame in FRAMES]
        dataset = compress(codestreams, GREY, JPEG2000Lossless)
        dataset.PixelData = item(b"") + b"".join(item(codestream) for codestream in codestreams)
        offsets = np.cumsum([0, *(len(codestream) + 8 for codestream in codestreams[:-1])]).tolist()
        for table, codes in ((offsets, []), ([0, 0, 0], ["offset_table_ignored"])):
            dataset.ExtendedOffsetTable = struct.pack("<3Q", *table)
            dataset.ExtendedOffsetTableLengths = struct.pack("<3Q", *map(len, codestreams))
            np.testing.assert_array_equal(stored_values(dataset, 2), FRAMES[2])
            assert warning_codes(dataset) == codes

    def test_padding_between_frames(self) -> None:
        codestreams = [padded(jpeg_2000(frame)) + b"\x20" * 6 for frame in FRAMES]
        dataset = compress(codestreams, GREY, JPEG2000Lossless)
        dataset.PixelData = item(b"") + b"".join(item(codestream) + item(bytes(4)) for codestream in codestreams)
        for index, frame in enumerate(FRAMES):
            np.testing.assert_array_equal(stored_values(dataset, index), frame)

    def test_fewer_frames_than_the_header_states(self) -> None:
        dataset = compress([jpeg_2000(frame) for frame in FRAMES[:2]], GREY, JPEG2000Lossless)
        dataset.NumberOfFrames = 5
        assert error_code(dataset, frame=4) == "image_truncated"

    def test_a_frame_of_thousands_is_not_found_by_copying_all(self) -> None:
        frame = padded(jpeg(GREY))
        dataset = compress(frame, GREY, JPEGBaseline8Bit)
        dataset.NumberOfFrames = 10_000
        dataset.PixelData = item(b"") + item(frame) * 10_000
        tracemalloc.start()
        stored_values(dataset, 9_999)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < len(dataset.PixelData) / 4


class TestUncompressed:
    def test_values_in_the_upper_bits(self) -> None:
        for values, signed in ((DEEP, 0), (DEEP.astype(np.int16) - 2048, 1)):
            shifted = values << 4 | 0x5
            dataset = make_dataset(shifted, BitsStored=12, HighBit=15, PixelRepresentation=signed)
            np.testing.assert_array_equal(stored_values(dataset), values)
            dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
            dataset.PixelData = shifted.byteswap().tobytes()
            np.testing.assert_array_equal(stored_values(dataset), values)

    @pytest.mark.parametrize(("bits_stored", "high_bit"), [(0, 11), (40, 39), (12, 3), (12, 99), (None, None)])
    def test_impossible_bits_are_ignored(self, bits_stored: int | None, high_bit: int | None) -> None:
        dataset = make_dataset(DEEP, BitsStored=bits_stored, HighBit=high_bit)
        np.testing.assert_array_equal(stored_values(dataset), DEEP)

    @pytest.mark.parametrize("partial", [False, True])
    def test_halved_chrominance(self, partial: bool) -> None:
        rgb = np.repeat(RGB[:, ::2], 2, axis=1)
        ybr = convert_color_space(rgb, "RGB", "YBR_FULL").astype(float)
        if partial:
            ybr[..., 0] = 16 + ybr[..., 0] * 219 / 255
            ybr[..., 1:] = 128 + (ybr[..., 1:] - 128) * 224 / 255
        ybr = np.rint(ybr).astype(np.uint8)
        packed = np.stack([ybr[:, ::2, 0], ybr[:, 1::2, 0], ybr[:, ::2, 1], ybr[:, ::2, 2]], axis=-1)
        header = {"SamplesPerPixel": 3, "PlanarConfiguration": 0}
        kind = "YBR_PARTIAL_422" if partial else "YBR_FULL_422"
        dataset = make_dataset(rgb, PhotometricInterpretation=kind, **header, PixelData=packed.tobytes())
        assert np.abs(stored_values(dataset).astype(int) - rgb).max() <= 3
        dataset.PixelData = ybr.tobytes()  # the header states half the chrominance that there is
        assert np.abs(stored_values(dataset).astype(int) - rgb).max() <= 3
        assert warning_codes(dataset) == ["header_overruled"]
        dataset.PixelData = packed.tobytes()[:-2]
        assert error_code(dataset) == "image_truncated"

    def test_samples_that_the_length_contradicts(self) -> None:
        colour = make_dataset(RGB, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0)
        colour.SamplesPerPixel = 1
        grey = make_dataset(GREY, PhotometricInterpretation="RGB")
        both = make_dataset(GREY)
        both.SamplesPerPixel = 3
        for dataset, expected in ((colour, RGB), (grey, GREY), (both, GREY)):
            np.testing.assert_array_equal(stored_values(dataset), expected)
            assert warning_codes(dataset) == ["header_overruled"]

    @pytest.mark.parametrize("value", [None, "", " monochrome2 ", "MONOCHROME2\0"])
    def test_photometric_interpretation_in_any_writing(self, value: str | None) -> None:
        dataset = make_dataset(LEVELS)
        expected = decode_grey(dataset)
        with suppress_decoder_warnings():
            dataset.PhotometricInterpretation = value
        np.testing.assert_array_equal(decode_grey(dataset), expected)

    @pytest.mark.parametrize(
        "keyword",
        ["SamplesPerPixel", "BitsStored", "HighBit", "PlanarConfiguration", "NumberOfFrames", "PixelRepresentation"],
    )
    def test_empty_elements(self, keyword: str) -> None:
        dataset = make_dataset(DEEP)
        setattr(dataset, keyword, None)
        np.testing.assert_array_equal(stored_values(dataset), DEEP)

    @pytest.mark.parametrize("excess", [1, 2, 1000])
    def test_odd_and_padded_lengths(self, excess: int) -> None:
        odd = GREY[:5, :7].copy()
        dataset = make_dataset(odd)
        for data in (odd.tobytes(), odd.tobytes() + b"\xff" * excess):
            dataset.PixelData = data
            np.testing.assert_array_equal(stored_values(dataset), odd)
        dataset.PixelData = odd.tobytes()[:-1]
        assert error_code(dataset) == "image_truncated"

    def test_run_length_encoding_follows_the_high_bit(self) -> None:
        shifted = DEEP << 4
        dataset = make_dataset(shifted, BitsStored=12, HighBit=15)
        dataset.compress(RLELossless)
        np.testing.assert_array_equal(stored_values(dataset), DEEP)


class TestFiles:
    FILE = to_file_bytes(make_dataset(LEVELS))

    @pytest.mark.parametrize("compresslevel", [0, 9])
    def test_gzip(self, compresslevel: int) -> None:
        compressed = gzip.compress(self.FILE, compresslevel)
        np.testing.assert_array_equal(images.load(compressed), images.load(self.FILE))
        np.testing.assert_array_equal(images.load(compressed + bytes(512)), images.load(self.FILE))
        members = [gzip.compress(self.FILE[start : start + 300]) for start in range(0, len(self.FILE), 300)]
        np.testing.assert_array_equal(images.load(b"".join(members)), images.load(self.FILE))
        assert error_code(compressed[: len(compressed) // 2]) == "image_truncated"

    def test_gzip_that_inflates_without_bound(self) -> None:
        bomb = gzip.compress(self.FILE + bytes(30 << 20))
        assert error_code(bomb, limits=images.Limits(max_bytes=1 << 20)) == "image_too_large"

    def test_gzip_of_anything_else(self) -> None:
        assert error_code(gzip.compress(b"text" * 100)) == "image_not_an_image"

    def test_frames_of_gzip_are_counted(self) -> None:
        stack = to_file_bytes(make_dataset(np.stack([LEVELS] * 3)))
        assert images.count_frames(gzip.compress(stack)) == 3

    def test_prefix_without_preamble(self) -> None:
        np.testing.assert_array_equal(images.load(self.FILE[128:]), images.load(self.FILE))

    @pytest.mark.parametrize("many", [False, True])
    def test_dicom_json_is_named(self, many: bool) -> None:
        document = make_dataset(LEVELS).to_json()
        data = (f"[{document}]" if many else document).encode()
        assert error_code(data) == "image_is_dicom_json"
        assert error_code(b'{"a": 1}') == "image_not_an_image"

    def test_what_follows_the_pixels_is_not_parsed(self) -> None:
        np.testing.assert_array_equal(images.load(self.FILE + bytes(8 * 200_000)), images.load(self.FILE))

    def test_more_elements_than_any_image_has(self) -> None:
        empty = struct.pack("<HH2sH", 0x0009, 0x0001, b"LO", 0)
        before_pixels = self.FILE[: self.FILE.index(b"\xe0\x7f\x10\x00")]
        assert error_code(before_pixels + empty * 100_001) == "image_too_large"

    def test_uncompressed_frames_of_one_item(self) -> None:
        dataset = make_dataset(DEEP)
        dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
        dataset.PixelData = encapsulate([DEEP.tobytes()])
        assert error_code(dataset) == "image_truncated"
