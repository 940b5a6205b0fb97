"""Compressed DICOM frames: every coding, damage, padding, and headers that contradict the codestream."""

from __future__ import annotations

import base64
import struct
import subprocess
import sys

import imagecodecs
import numpy as np
import pytest
from pydicom.pixels.processing import convert_color_space
from pydicom.uid import (
    MPEG4HP41,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from medimageinsight import images
from medimageinsight.images.codestreams import read_codestream
from tests.images.compressed_datasets import (
    DEEP,
    GREY,
    RGB,
    YBR,
    compress,
    jpeg,
    jpeg_2000,
    jpeg_ls,
    stored_values,
    warning_codes,
    without_segment,
)
from tests.images.dicom_datasets import error_code, make_dataset


class TestCodings:
    @pytest.mark.parametrize("predictor", range(1, 8))
    @pytest.mark.parametrize("bits", [2, 7, 8, 10, 12, 15, 16])
    def test_lossless_jpeg_of_every_depth_and_predictor(self, bits: int, predictor: int) -> None:
        pixels = (DEEP.astype(np.int64) * 17 % (1 << bits)).astype(np.uint8 if bits <= 8 else np.uint16)
        codestream = jpeg(pixels, lossless=True, predictor=predictor, bitspersample=bits)
        dataset = compress(codestream, pixels, "1.2.840.10008.1.2.4.57", BitsStored=bits, HighBit=bits - 1)
        np.testing.assert_array_equal(stored_values(dataset), pixels)

    @pytest.mark.parametrize("syntax", [str(JPEGExtended12Bit), "1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.55"])
    @pytest.mark.parametrize("bits", [10, 12])
    def test_lossy_jpeg_of_10_and_12_bits(self, syntax: str, bits: int) -> None:
        pixels = np.sort(DEEP >> (12 - bits), axis=None).reshape(DEEP.shape)
        dataset = compress(jpeg(pixels, bitspersample=12), pixels, syntax, BitsStored=bits, HighBit=bits - 1)
        assert np.abs(stored_values(dataset).astype(int) - pixels).max() <= 2
        assert warning_codes(dataset) == []

    def test_arithmetic_coding(self) -> None:
        ramp = np.add.outer(np.arange(16) * 8, np.arange(16) * 7).astype(np.uint8)
        codestream = base64.b64decode(  # cjpeg -quality 90 -arithmetic
            "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4RDgsLEBYQERMUFRUVDA8X"
            "GBYUGBIUFRT/yQALCAAQABABAREA/8wABgAQEAX/2gAIAQEAAD8A/wDn4Y1mM4u5JXEKGDK6kBFyX/gp/wBhcnc0YP/Z"
        )
        dataset = compress(codestream, ramp, "1.2.840.10008.1.2.4.52")
        assert np.abs(stored_values(dataset).astype(int) - ramp).max() <= 3

    def test_signed_values(self) -> None:
        signed = DEEP.astype(np.int16) - 2048
        header = {"BitsStored": 12, "HighBit": 11}
        low_bits = (signed & 0xFFF).astype(np.uint16)
        for codestream, syntax in (
            (jpeg(low_bits, lossless=True, bitspersample=12), JPEGLosslessSV1),
            (jpeg(signed.view(np.uint16), lossless=True, bitspersample=16), JPEGLosslessSV1),
            (jpeg_2000(low_bits, bitspersample=12), JPEG2000Lossless),
            (jpeg_2000(signed), JPEG2000Lossless),
        ):
            np.testing.assert_array_equal(stored_values(compress(codestream, signed, syntax, **header)), signed)
        for codestream, syntax in ((jpeg_ls(low_bits), JPEGLSLossless), (jpeg_2000(low_bits), JPEG2000Lossless)):
            np.testing.assert_array_equal(stored_values(compress(codestream, signed, syntax, **header)), signed)
        deep = signed * 8
        np.testing.assert_array_equal(
            stored_values(compress(jpeg_ls(deep.view(np.uint16)), deep, JPEGLSLossless)), deep
        )

    def test_the_content_decides_on_the_decoder(self) -> None:
        stated_as_jpeg_2000 = compress(jpeg_ls(DEEP), DEEP, JPEG2000Lossless)
        np.testing.assert_array_equal(stored_values(stated_as_jpeg_2000), DEEP)

    def test_jpeg_2000_in_the_boxes_of_a_file(self) -> None:
        file = bytes(imagecodecs.jpeg2k_encode(DEEP, reversible=True, codecformat="JP2"))
        np.testing.assert_array_equal(stored_values(compress(file, DEEP, JPEG2000Lossless)), DEEP)
        np.testing.assert_array_equal(stored_values(compress(file + b"\0\0\0\x08free", DEEP, JPEG2000Lossless)), DEEP)

    @pytest.mark.parametrize("photometric", ["YBR_PARTIAL_420", "YBR_FULL_422", "RGB"])
    def test_jpeg_2000_with_chrominance_of_half_the_resolution(self, photometric: str) -> None:
        codestream = base64.b64decode(  # opj_compress -F 8,8,3,8,u@1x1:2x2:2x2: luminance 0, 4 ..., Cb 90, Cr 200
            "/0//UQAvAAAAAAAIAAAACAAAAAAAAAAAAAAACAAAAAgAAAAAAAAAAAADBwEBBwICBwIC/1IADAAAAAEAAAQEAAH/XAAEQED/ZAAlAAFDcmVh"
            "dGVkIGJ5IE9wZW5KUEVHIHZlcnNpb24gMi41LjD/kAAKAAAAAABUAAH/k9+BUBIrAwsLE+S5L4U/OFCCoRT/VnHDc30kzjC9vXJjPurEavNM"
            "Ojl9iy72V8fUFBFQSVwIQj7lND/PtCQUAFFcCEGBagj/2Q=="
        )
        luminance = np.arange(0, 256, 4).reshape(8, 8)
        ybr = np.stack([luminance, np.full((8, 8), 90), np.full((8, 8), 200)], axis=-1).astype(np.uint8)
        expected = convert_color_space(ybr.copy(), "YBR_FULL", "RGB")
        header = {"SamplesPerPixel": 3, "PhotometricInterpretation": photometric, "PlanarConfiguration": 0}
        shown = stored_values(compress(codestream, ybr, JPEG2000Lossless, **header))
        assert np.abs(shown.astype(int) - expected).max() <= 1

    def test_jpeg_2000_without_end_marker(self) -> None:
        codestream = jpeg_2000(DEEP)[:-2]
        np.testing.assert_array_equal(stored_values(compress(codestream, DEEP, JPEG2000Lossless)), DEEP)
        two_parts = bytearray(codestream)
        two_parts[two_parts.index(b"\xff\x90") + 11] = 2  # TNsot: the second part is missing
        assert error_code(compress(bytes(two_parts), DEEP, JPEG2000Lossless)) == "image_truncated"

    @pytest.mark.parametrize("length", [0, 20, 10**6])
    def test_jpeg_2000_with_a_wrong_length_of_its_tile_part(self, length: int) -> None:
        codestream = bytearray(jpeg_2000(DEEP))
        start = codestream.index(b"\xff\x90")
        struct.pack_into(">I", codestream, start + 6, length)
        read = read_codestream(bytes(codestream) + b"\x01\xff\xd9")
        assert read is not None
        assert read.end == len(codestream)

    def test_jpeg_2000_whose_last_tile_part_has_no_length(self) -> None:
        codestream = bytearray(jpeg_2000(DEEP))
        start = codestream.index(b"\xff\x90")
        codestream[start + 6 : start + 10] = bytes(4)
        np.testing.assert_array_equal(
            stored_values(compress(bytes(codestream) + b"\x01\xff\xd9", DEEP, HTJ2KLossless)), DEEP
        )

    def test_single_bits_in_run_length_encoding(self) -> None:
        bits = (GREY > 128).astype(np.uint8)
        packed = np.packbits(bits, bitorder="little").tobytes()
        literal = b"".join(b"\x7f" + packed[i : i + 128] for i in range(0, len(packed), 128))
        frame = struct.pack("<16I", 1, 64, *[0] * 14) + literal
        dataset = compress(frame, GREY, RLELossless, BitsAllocated=1, BitsStored=1, HighBit=0)
        np.testing.assert_array_equal(stored_values(dataset), bits)


class TestEnd:
    @pytest.mark.parametrize("padding", [b"      ", b"\x01\x02\x03\x04", b"\xff" * 7, b"\xff\xd8\xff\xe0" * 3])
    def test_bytes_after_the_end_marker_are_padding(self, padding: bytes) -> None:
        for codestream, pixels, syntax in (
            (jpeg(GREY), GREY, JPEGBaseline8Bit),
            (jpeg(DEEP, lossless=True, bitspersample=16), DEEP, JPEGLosslessSV1),
            (jpeg_2000(DEEP), DEEP, JPEG2000Lossless),
            (jpeg_ls(DEEP), DEEP, JPEGLSLossless),
        ):
            np.testing.assert_array_equal(
                stored_values(compress(codestream + padding, pixels, syntax)),
                stored_values(compress(codestream, pixels, syntax)),
            )

    def test_a_cut_codestream_is_an_error_at_every_length(self) -> None:
        for codestream, pixels, syntax in (
            (jpeg(GREY), GREY, JPEGBaseline8Bit),
            (jpeg(DEEP, lossless=True, bitspersample=16), DEEP, JPEGLosslessSV1),
            (jpeg_2000(DEEP)[:-2], DEEP, JPEG2000Lossless),
            (jpeg_ls(DEEP), DEEP, JPEGLSLossless),
        ):
            for length in range(2, len(codestream) - 1, len(codestream) // 40):
                assert error_code(compress(codestream[:length], pixels, syntax)) == "image_truncated"

    def test_the_end_of_a_thumbnail_is_not_the_end(self) -> None:
        thumbnail = jpeg(GREY[:8, :8])
        segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
        codestream = jpeg(GREY)
        with_thumbnail = codestream[:2] + segment + codestream[2:]
        np.testing.assert_array_equal(
            stored_values(compress(with_thumbnail, GREY, JPEGBaseline8Bit)),
            stored_values(compress(codestream, GREY, JPEGBaseline8Bit)),
        )
        cut = with_thumbnail[: len(with_thumbnail) // 2 + len(segment) // 2]
        assert b"\xff\xd9" in cut
        assert error_code(compress(cut, GREY, JPEGBaseline8Bit)) == "image_truncated"

    def test_scan_data_that_are_too_short_for_the_size(self) -> None:
        codestream = jpeg(DEEP, lossless=True, bitspersample=16)
        short = codestream[: codestream.index(b"\xff\xda") + 30] + b"\xff\xd9"
        assert error_code(compress(short, DEEP, JPEGLosslessSV1)) == "image_truncated"


class TestDamage:
    def test_damaged_lossless_jpeg_does_not_end_the_process(self) -> None:
        """In a process of its own: what this guards against would end this one."""
        script = (
            "import numpy as np, imagecodecs\n"
            "from tests.images.compressed_datasets import DEEP, compress, jpeg\n"
            "from medimageinsight import images\n"
            "from medimageinsight.errors import ImageError\n"
            "codestream = jpeg(DEEP, lossless=True, bitspersample=16)\n"
            "random = np.random.default_rng(5)\n"
            "codes = set()\n"
            "for position in [*range(120), *random.integers(0, len(codestream), 200).tolist()]:\n"
            "    damaged = bytearray(codestream)\n"
            "    damaged[position] = int(random.integers(256))\n"
            "    try:\n"
            "        images.open(compress(bytes(damaged), DEEP, '1.2.840.10008.1.2.4.70'))\n"
            "    except ImageError as error:\n"
            "        codes.add(error.code)\n"
            "print(' '.join(sorted(codes)))\n"
        )
        process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert process.returncode == 0, process.stderr
        assert "image_truncated" in process.stdout.split()
        assert process.stderr == ""

    def test_a_damaged_table_is_an_error(self) -> None:
        codestream = jpeg(DEEP, lossless=True, bitspersample=16)
        damaged = codestream.replace(b"\xff\xc4", b"\x00\xc4", 1)
        assert error_code(compress(damaged, DEEP, JPEGLosslessSV1)) == "image_truncated"


class TestContradictions:
    def test_jpeg_of_8_bits_in_16(self) -> None:
        dataset = compress(jpeg(GREY), GREY, JPEGBaseline8Bit, BitsAllocated=16)
        assert np.abs(stored_values(dataset).astype(int) - GREY).max() <= 2

    def test_deeper_samples_than_the_header_states(self) -> None:
        dataset = compress(jpeg_2000(DEEP, bitspersample=12), DEEP, JPEG2000Lossless, BitsAllocated=8, BitsStored=8)
        np.testing.assert_array_equal(stored_values(dataset), DEEP)
        assert warning_codes(dataset) == ["header_overruled"]
        lossless = compress(
            jpeg(DEEP, lossless=True, bitspersample=12), DEEP, JPEGLosslessSV1, BitsStored=10, HighBit=9
        )
        np.testing.assert_array_equal(stored_values(lossless), DEEP)

    @pytest.mark.parametrize("bits", [0, 24, 100, 65535])
    def test_impossible_bits_in_the_header(self, bits: int) -> None:
        for codestream, syntax in ((jpeg_2000(DEEP), JPEG2000Lossless), (jpeg(GREY), JPEGBaseline8Bit)):
            dataset = compress(codestream, DEEP, syntax, BitsAllocated=bits, BitsStored=bits)
            expected = DEEP if syntax == JPEG2000Lossless else GREY
            assert np.abs(stored_values(dataset).astype(int) - expected).max() <= 2

    def test_unused_bits_of_lossless_jpeg_are_removed(self) -> None:
        overlay = (DEEP | 0x8000).astype(np.uint16)
        codestream = jpeg(overlay, lossless=True, bitspersample=16)
        dataset = compress(codestream, DEEP, JPEGLosslessSV1, BitsStored=12, HighBit=11)
        np.testing.assert_array_equal(stored_values(dataset), DEEP)

    def test_three_grey_components_in_a_grey_header(self) -> None:
        codestream = jpeg(np.repeat(GREY[..., None], 3, axis=2))
        dataset = compress(codestream, GREY, JPEGBaseline8Bit, PhotometricInterpretation="MONOCHROME1")
        assert np.abs(stored_values(dataset).astype(int) - GREY).max() <= 2
        assert warning_codes(dataset) == ["header_overruled"]
        shown = np.asarray(images.open(dataset).image)
        assert shown.ndim == 2
        assert shown[0, 0] > shown[0, 60]  # MONOCHROME1 is applied

    def test_three_colour_components_in_a_grey_header(self) -> None:
        np.testing.assert_array_equal(stored_values(compress(jpeg_2000(RGB), GREY, JPEG2000Lossless)), RGB)

    def test_one_component_in_a_colour_header(self) -> None:
        colour = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
        dataset = compress(jpeg_2000(GREY), RGB, JPEG2000Lossless, **colour)
        np.testing.assert_array_equal(stored_values(dataset), GREY)
        assert images.open(dataset).image.mode == "L"

    def test_alpha_is_dropped(self) -> None:
        colour = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
        with_alpha = np.concatenate([RGB, GREY[..., None]], axis=2)
        np.testing.assert_array_equal(
            stored_values(compress(jpeg_2000(with_alpha), RGB, JPEG2000Lossless, **colour)), RGB
        )

    def test_alpha_of_another_depth_is_dropped(self) -> None:
        colour = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
        codestream = bytearray(jpeg_2000(np.concatenate([RGB, GREY[..., None]], axis=2), mct=False))
        codestream[codestream.index(b"\xff\x51") + 49] = 6  # SIZ: 7 bits for the fourth component
        dataset = compress(bytes(codestream), RGB, JPEG2000Lossless, **colour)
        np.testing.assert_array_equal(stored_values(dataset), RGB)
        assert warning_codes(dataset) == ["decoder_fallback", "header_overruled"]

    @pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", ""])
    def test_the_codestream_states_its_colour_space(self, photometric: str) -> None:
        header = {"SamplesPerPixel": 3, "PhotometricInterpretation": photometric, "PlanarConfiguration": 0}
        ycbcr = jpeg(RGB)
        rgb = jpeg(RGB, colorspace="RGB", outcolorspace="RGB")
        for codestream in (
            ycbcr,  # JFIF marker
            without_segment(ycbcr, b"\xff\xe0"),  # components 1, 2, 3
            rgb,  # Adobe marker
            without_segment(rgb, b"\xff\xee"),  # components R, G, B
        ):
            shown = stored_values(compress(codestream, RGB, JPEGBaseline8Bit, **header)).astype(int)
            assert np.abs(shown - RGB).max() <= 4

    def test_the_header_decides_where_the_codestream_does_not(self) -> None:
        header = {"SamplesPerPixel": 3, "PlanarConfiguration": 0}
        rgb = without_segment(jpeg(RGB, colorspace="RGB", outcolorspace="RGB"), b"\xff\xee")
        start = rgb.index(b"\xff\xc0")
        unmarked = bytearray(rgb)
        scan = rgb.index(b"\xff\xda")
        for index in range(3):
            unmarked[start + 10 + 3 * index] = unmarked[scan + 5 + 2 * index] = index
        shown = stored_values(
            compress(bytes(unmarked), RGB, JPEGBaseline8Bit, PhotometricInterpretation="RGB", **header)
        )
        assert np.abs(shown.astype(int) - RGB).max() <= 4
        for codestream, syntax in ((jpeg_ls(YBR), JPEGLSLossless), (jpeg_2000(YBR, mct=False), JPEG2000Lossless)):
            dataset = compress(codestream, RGB, syntax, PhotometricInterpretation="YBR_FULL", **header)
            assert np.abs(stored_values(dataset).astype(int) - RGB).max() <= 2

    def test_uncompressed_pixels_in_a_compressed_syntax(self) -> None:
        dataset = make_dataset(DEEP)
        dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
        np.testing.assert_array_equal(stored_values(dataset), DEEP)
        assert warning_codes(dataset) == ["header_overruled"]

    def test_compressed_pixels_in_an_uncompressed_syntax(self) -> None:
        dataset = compress(jpeg_2000(DEEP), DEEP, "1.2.840.10008.1.2.1")
        np.testing.assert_array_equal(stored_values(dataset), DEEP)

    def test_more_segments_than_the_header_states(self) -> None:
        planes = b"".join(
            b"".join(b"\x7f" + plane[i : i + 128] for i in range(0, 3072, 128))
            for plane in (RGB[..., index].tobytes() for index in range(3))
        )
        frame = struct.pack("<16I", 3, 64, 64 + 24 * 129, 64 + 48 * 129, *[0] * 12) + planes
        dataset = compress(frame, GREY, RLELossless)
        np.testing.assert_array_equal(stored_values(dataset), RGB)
        assert warning_codes(dataset) == ["header_overruled"]

    @pytest.mark.parametrize(
        "keyword",
        [
            "SamplesPerPixel",
            "BitsAllocated",
            "BitsStored",
            "HighBit",
            "PixelRepresentation",
            "PlanarConfiguration",
            "PhotometricInterpretation",
            "NumberOfFrames",
            "Rows",
            "Columns",
        ],
    )
    def test_empty_elements_follow_the_codestream(self, keyword: str) -> None:
        for codestream, pixels, tolerance in ((jpeg_2000(DEEP, bitspersample=12), DEEP, 0), (jpeg(RGB), RGB, 4)):
            header = {"SamplesPerPixel": 3, "PhotometricInterpretation": "YBR_FULL"} if pixels is RGB else {}
            dataset = compress(codestream, pixels, JPEG2000Lossless, **header)
            setattr(dataset, keyword, None)
            assert np.abs(stored_values(dataset).astype(int) - pixels).max() <= tolerance


class TestCost:
    def test_a_progressive_jpeg_of_thousands_of_scans(self) -> None:
        codestream = jpeg(GREY)
        scan = codestream.index(b"\xff\xda")
        many = codestream[:-2] + codestream[scan:-2] * 2000 + b"\xff\xd9"
        assert error_code(compress(many, GREY, JPEGBaseline8Bit)) == "image_too_large"

    @pytest.mark.parametrize(
        ("tile", "layers", "precincts", "block"),
        [
            ((1000, 2), 1, b"", 4),
            ((12000, 12000), 1, b"\x11", 4),
            ((12000, 12000), 65535, b"\x66", 4),
            ((12000, 12000), 1, b"", 0),
        ],
        ids=["tiles", "precincts", "layers", "code-blocks"],
    )
    def test_absurd_jpeg_2000(self, tile: tuple[int, int], layers: int, precincts: bytes, block: int) -> None:
        size = struct.pack(">H8IH3B", 0, 12000, 12000, 0, 0, *tile, 0, 0, 1, 7, 1, 1)
        style = struct.pack(">BBHB5B", bool(precincts), 0, layers, 0, 0, block, block, 0, 1) + precincts
        segments = ((b"\xff\x51", size), (b"\xff\x52", style), (b"\xff\x5c", b"\x40\x40"))
        header = b"\xff\x4f" + b"".join(marker + struct.pack(">H", len(s) + 2) + s for marker, s in segments)
        tile_part = b"\xff\x90" + struct.pack(">HHIBB", 10, 0, 114, 0, 1) + b"\xff\x93" + bytes(100)
        codestream = header + tile_part + b"\xff\xd9"
        assert read_codestream(codestream) is not None
        dataset = compress(codestream, GREY, JPEG2000Lossless)
        dataset.Rows = dataset.Columns = 12000
        assert error_code(dataset) == "image_too_large"

    def test_more_components_than_colours(self) -> None:
        many = np.repeat(GREY[..., None], 5, axis=2)
        codestream = bytes(imagecodecs.jpeg2k_encode(many, codecformat="J2K", planar=False))
        assert error_code(compress(codestream, GREY, JPEG2000Lossless)) == "image_unsupported"


def test_a_video_is_named() -> None:
    dataset = compress(b"\0\0\0\x01", GREY, MPEG4HP41)
    assert error_code(dataset) == "image_is_video"
