"""Sources that are not DICOM: every kind, every Pillow mode, every error."""

from __future__ import annotations

import base64
import contextlib
import io
import struct
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageOps

from medimageinsight import images
from medimageinsight.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

EIGHT_BIT_MODES = ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"]


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((120, 80), Image.Resampling.BICUBIC)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def error_code(source: object, **options: object) -> str:
    with pytest.raises(ImageError) as caught:
        images.open(source, **options)
    assert "\n" not in caught.value.message
    return caught.value.code


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


class TestSources:
    def test_every_kind_of_source_gives_the_same_pixels(self, photo: Image.Image, tmp_path: Path) -> None:
        data = encode(photo, "PNG")
        path = tmp_path / "wrong ending.txt"
        path.write_bytes(data)
        uri = "data:image/png;base64," + base64.encodebytes(data).decode()
        expected = np.asarray(photo)
        sources = [path, str(path), data, bytearray(data), memoryview(data), io.BytesIO(data), photo, expected, uri]
        for source in sources:
            np.testing.assert_array_equal(images.load(source), expected)

    def test_a_file_object_is_read_from_its_position_and_not_closed(self, photo: Image.Image) -> None:
        stream = io.BytesIO(b"before" + encode(photo, "PNG"))
        stream.seek(6)
        assert images.open(stream).image.size == photo.size
        assert not stream.closed

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000", "PPM"])
    def test_formats(self, photo: Image.Image, kind: str) -> None:
        data = encode(photo, kind)
        with Image.open(io.BytesIO(data)) as reference:
            np.testing.assert_array_equal(images.load(data), np.asarray(reference.convert("RGB")))

    def test_a_frame_is_chosen(self) -> None:
        pages = [Image.new("L", (4 + n, 5), 10 * n) for n in range(3)]
        data = encode(pages[0], "TIFF", save_all=True, append_images=pages[1:])
        assert [images.open(data, frame=n).image.size for n in range(3)] == [(4, 5), (5, 5), (6, 5)]
        assert images.load(data, frame=2)[0, 0, 0] == 20
        assert error_code(data, frame=3) == "image_frame_out_of_range"
        assert error_code(data, frame=-1) == "image_frame_out_of_range"
        assert error_code(encode(pages[0], "PNG"), frame=1) == "image_frame_out_of_range"
        assert error_code(np.zeros((2, 2), np.uint8), frame=1) == "image_frame_out_of_range"

    def test_parallel_calls_agree(self, photo: Image.Image) -> None:
        data = encode(photo, "JPEG")
        expected = images.load(data)
        with ThreadPoolExecutor(8) as pool:
            assert all(np.array_equal(pixels, expected) for pixels in pool.map(images.load, [data] * 64))


class TestModes:
    @pytest.mark.parametrize("mode", EIGHT_BIT_MODES)
    def test_an_image_has_its_own_mode_and_is_converted_as_by_pillow(self, photo: Image.Image, mode: str) -> None:
        intermediate = {"La": "LA", "RGBa": "RGBA", "PA": "LA"}.get(mode)
        image = (photo.convert(intermediate) if intermediate else photo).convert(mode)
        assert images.open(image).image.mode == mode
        straight = image.convert({"La": "LA", "RGBa": "RGBA"}[mode]) if mode in ("La", "RGBa") else image
        np.testing.assert_array_equal(images.load(image), np.asarray(straight.convert("RGB")))

    def test_alpha_is_dropped_not_blended(self) -> None:
        image = Image.new("RGBA", (2, 2), (200, 100, 50, 0))
        assert images.load(image)[0, 0].tolist() == [200, 100, 50]

    def test_a_palette_with_transparency_does_not_warn(self, photo: Image.Image) -> None:
        palette = photo.convert("P")
        data = encode(palette, "PNG", transparency=bytes(range(256)))
        assert images.load(data).shape == (80, 120, 3)

    @pytest.mark.parametrize("kind", ["PNG", "TIFF"])
    def test_16_bits_are_scaled_by_their_range(self, kind: str) -> None:
        values = np.array([[1000, 1100], [1400, 3000]], np.uint16)
        decoded = images.open(encode(Image.fromarray(values), kind))
        assert decoded.image.mode == "L"
        assert np.asarray(decoded.image).tolist() == [[0, 13], [51, 255]]

    def test_big_endian_and_float_modes(self) -> None:
        values = np.array([[0, 1000], [500, 250]], np.float32)
        expected = [[0, 255], [128, 64]]
        assert np.asarray(images.open(Image.fromarray(values)).image).tolist() == expected
        big_endian = Image.frombytes("I;16B", (2, 2), values.astype(">u2").tobytes())
        assert np.asarray(images.open(big_endian).image).tolist() == expected
        assert np.asarray(images.open(Image.fromarray(values.astype(np.int32))).image).tolist() == expected


class TestOrientation:
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_exif_orientation_is_applied_by_upright_only(self, photo: Image.Image, orientation: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = encode(photo, "JPEG", exif=exif.tobytes())
        decoded = images.open(data)
        with Image.open(io.BytesIO(data)) as reference:
            assert decoded.orientation == orientation
            np.testing.assert_array_equal(np.asarray(decoded.image), np.asarray(reference))
            expected = np.asarray(ImageOps.exif_transpose(reference))
        np.testing.assert_array_equal(np.asarray(decoded.upright()), expected)
        np.testing.assert_array_equal(images.load(data), expected)

    @pytest.mark.parametrize("exif", [b"Exif\x00\x00garbage", b"Exif\x00\x00MM\x00*\xff\xff\xff\xff", b""])
    def test_damaged_exif_is_ignored(self, photo: Image.Image, exif: bytes) -> None:
        assert images.open(encode(photo, "JPEG", exif=exif)).orientation == 1


class TestArrays:
    def test_shapes(self) -> None:
        assert images.open(np.zeros((5, 7), np.uint8)).image.size == (7, 5)
        assert images.open(np.zeros((5, 7, 1), np.uint8)).image.mode == "L"
        assert images.open(np.zeros((5, 7, 3), np.uint8)).image.mode == "RGB"
        assert images.open(np.zeros((5, 7, 4), np.uint8)).image.mode == "RGBA"

    @pytest.mark.parametrize("shape", [(), (5,), (3, 5, 7), (5, 7, 2), (1, 5, 7, 3), (0, 5), (5, 0, 3)])
    def test_rejects_other_shapes(self, shape: tuple[int, ...]) -> None:
        assert error_code(np.zeros(shape, np.uint8)) == "image_bad_shape"

    def test_the_error_of_a_channels_first_array_has_advice(self) -> None:
        with pytest.raises(ImageError, match=r"got \(3, 48, 48\): move the channels to the last axis"):
            images.open(np.zeros((3, 48, 48), np.uint8))

    def test_views_of_any_stride(self) -> None:
        array = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
        np.testing.assert_array_equal(images.load(array[::-1, :, ::-1]), array[::-1, :, ::-1])

    def test_rejects_values_that_are_not_real_numbers(self) -> None:
        assert error_code(np.array([[1.0, np.nan]])) == "image_not_finite"
        assert error_code(np.array([[np.inf, 0]], np.float16)) == "image_not_finite"
        assert error_code(np.array([["a"]])) == "image_bad_dtype"
        assert error_code(np.array([[1j]])) == "image_bad_dtype"

    def test_booleans_are_black_and_white(self) -> None:
        assert images.load(np.array([[True, False]]))[0, :, 0].tolist() == [255, 0]

    def test_a_constant_array_is_black(self) -> None:
        assert images.load(np.full((2, 2), 7.5)).max() == 0

    @pytest.mark.parametrize("ends", [(-1.7e308, 1.7e308), (0, 5e-324), (1, 1 + 2.3e-16)])
    def test_extreme_ranges(self, ends: tuple[float, float]) -> None:
        assert images.load(np.array([ends]))[0, :, 0].tolist() == [0, 255]

    @given(
        hnp.arrays(
            st.sampled_from(["i1", "u2", ">u2", "i2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"]),
            hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
        )
    )
    @settings(max_examples=60, deadline=None)
    def test_any_range_is_scaled_to_8_bits(self, array: np.ndarray) -> None:
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            assert error_code(array) == "image_not_finite"
            return
        grey = images.load(array)[:, :, 0]
        low, high = float(array.min()), float(array.max())
        if low == high:
            assert grey.max() == 0
            return
        assert (grey.min(), grey.max()) == (0, 255)
        order = np.argsort(array, axis=None, kind="stable")
        assert (np.diff(grey.ravel()[order].astype(int)) >= 0).all()


class TestFailures:
    def test_rejects_invalid_paths(self, tmp_path: Path) -> None:
        (tmp_path / "empty.png").touch()
        assert error_code(tmp_path / "secret-name.png") == "image_not_found"
        assert error_code("a\0b") == "image_not_found"
        assert error_code("iVBORw0KGgo" * 1000) == "image_not_found"
        assert error_code(tmp_path) == "image_is_directory"
        assert error_code(tmp_path / "empty.png") == "image_empty"
        assert error_code("https://example.org/a.png") == "image_url_refused"
        with pytest.raises(ImageError) as caught:
            images.open(tmp_path / "secret-name.png")
        assert "secret" not in str(caught.value)

    def test_rejects_sources_of_other_types(self) -> None:
        assert error_code(None) == "image_bad_source"
        assert error_code(17) == "image_bad_source"
        assert error_code(io.StringIO("text")) == "image_bad_source"

    @pytest.mark.parametrize("data", [b"hello", b"%PDF-1.7 ...", bytes(1000), b"\x1f\x8b\x08" + bytes(40), b"\x08"])
    def test_rejects_files_of_other_kinds(self, data: bytes) -> None:
        assert error_code(data) == "image_not_an_image"

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000", "PPM"])
    def test_a_truncated_file_is_complete_or_an_error(self, photo: Image.Image, kind: str) -> None:
        data = encode(photo, kind)
        whole = images.load(data)
        for cut in [*range(8, len(data), max(1, len(data) // 40)), *range(len(data) - 12, len(data))]:
            try:
                pixels = images.load(data[:cut])
            except ImageError as error:
                assert error.code in ("image_truncated", "image_not_an_image")  # noqa: PT017 - either outcome is right
                assert error.code == "image_truncated" or cut < 16  # noqa: PT017
            else:
                np.testing.assert_array_equal(pixels, whole)  # only an end marker was cut off

    @given(st.binary(max_size=300), st.sampled_from(["PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP", "JPEG2000"]))
    @settings(max_examples=50, deadline=None)
    def test_garbage_after_a_header_raises_only_image_errors(self, garbage: bytes, kind: str) -> None:
        data = encode(Image.new("RGB", (8, 8)), kind)[:60] + garbage
        with contextlib.suppress(ImageError):
            images.load(data)

    def test_rejects_large_images_by_their_header(self) -> None:
        assert error_code(png_header(50_000, 50_000)) == "image_too_large"
        small = images.Limits(max_pixels=99)
        assert error_code(png_header(10, 10), limits=small) == "image_too_large"
        assert error_code(np.zeros((10, 10), np.uint8), limits=small) == "image_too_large"
        assert error_code(Image.new("L", (10, 10)), limits=small) == "image_too_large"
        assert images.open(np.zeros((9, 11), np.uint8), limits=small).image.size == (11, 9)

    def test_an_image_above_pillows_warning_threshold_decodes_without_warning(self) -> None:
        data = encode(Image.new("1", (10_000, 9_500)), "PNG")
        assert images.open(data).image.size == (10_000, 9_500)

    def test_rejects_too_many_bytes(self, photo: Image.Image, tmp_path: Path) -> None:
        data = encode(photo, "PNG")
        path = tmp_path / "a.png"
        path.write_bytes(data)
        limits = images.Limits(max_bytes=len(data) - 1)
        uri = "data:;base64," + base64.b64encode(data).decode()
        for source in (data, path, io.BytesIO(data), uri):
            assert error_code(source, limits=limits) == "image_too_large"
            images.open(path, limits=images.Limits(max_bytes=len(data)))

    def test_rejects_an_empty_pil_image(self) -> None:
        assert error_code(Image.new("L", (0, 4))) == "image_bad_shape"


def test_opens_an_image_while_another_thread_imports_pydicom(
    photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pydicom.dataset", ModuleType("pydicom.dataset"))  # as in the midst of the import
    assert images.open(encode(photo, "PNG")).image.size == (120, 80)
