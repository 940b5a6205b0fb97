"""Files that Pillow refuses or reduces to their high byte, compared with the documented rule computed by numpy."""

from __future__ import annotations

import contextlib
import io
import struct
import sys

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from medimageinsight import images
from medimageinsight.errors import ImageError

HEIGHT, WIDTH = 37, 53
RNG = np.random.default_rng(3)
GREY16 = RNG.integers(300, 4000, (HEIGHT, WIDTH)).astype(np.uint16)
RGB16 = RNG.integers(300, 4000, (HEIGHT, WIDTH, 3)).astype(np.uint16)
RGB8 = RNG.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
MINISWHITE, MINISBLACK = 0, 1


def stretched(values: np.ndarray) -> np.ndarray:
    """Return the documented rule: the values' own minimum..maximum to 0..255, NaN to 0."""
    low, high = np.nanmin(values).astype(float), np.nanmax(values).astype(float)
    return np.nan_to_num(np.rint((values.astype(float) - low) / (high - low) * 255)).astype(int)


def tiff(values: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **options)
    return buffer.getvalue()


def pixels(data: bytes, **options: object) -> np.ndarray:
    return np.asarray(images.open(data, **options).image).astype(int)


def assert_close(got: np.ndarray, expected: np.ndarray) -> None:
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= 1


def error_code(data: bytes, **options: object) -> str:
    with pytest.raises(ImageError) as caught:
        images.open(data, **options)
    return caught.value.code


class TestTiff:
    @pytest.mark.parametrize("photometric", [MINISBLACK, MINISWHITE])
    @pytest.mark.parametrize("dtype", ["i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"])
    def test_grey_of_every_type_and_polarity(self, dtype: str, photometric: int) -> None:
        unit = RNG.random((HEIGHT, WIDTH))
        kind = np.dtype(dtype)
        ends = (-2000.0, 3000.0) if kind.kind == "f" else (float(np.iinfo(kind).min), float(np.iinfo(kind).max) * 0.99)
        values = (ends[0] + unit * (ends[1] - ends[0])).astype(kind)
        expected = stretched(values)
        got = pixels(tiff(values, photometric=photometric))
        assert_close(got, 255 - expected if photometric == MINISWHITE else expected)

    @pytest.mark.parametrize("bits", [3, 5, 6, 7])
    def test_packed_bits_below_8_span_their_depth(self, bits: int) -> None:
        values = np.arange(64, dtype=np.uint8).reshape(8, 8) % (1 << bits)
        got = pixels(tiff(values, bitspersample=bits, photometric=MINISBLACK))
        assert_close(got, np.rint(values.astype(float) * 255 / ((1 << bits) - 1)).astype(int))

    @pytest.mark.parametrize("bits", [9, 10, 12, 14, 15])
    def test_packed_bits_above_8(self, bits: int) -> None:
        values = (GREY16 % (1 << bits)).astype(np.uint16)
        assert_close(pixels(tiff(values, bitspersample=bits, photometric=MINISBLACK)), stretched(values))

    def test_nan_is_background(self) -> None:
        values = GREY16.astype(np.float32)
        values[:5] = np.nan
        values[5, :2] = np.inf, -np.inf
        finite = np.where(np.isfinite(values), values, np.nan)
        expected = stretched(finite)
        expected[5, 0] = 255
        assert_close(pixels(tiff(values)), expected)
        assert error_code(tiff(np.full((4, 4), np.nan, np.float32))) == "image_not_finite"

    @pytest.mark.parametrize("dtype", ["u2", "f4", "f8", "i2"])
    @pytest.mark.parametrize("planar", ["contig", "separate"])
    def test_deep_colour_has_one_range(self, dtype: str, planar: str) -> None:
        values = RGB16.astype(dtype)
        stored = np.moveaxis(values, -1, 0) if planar == "separate" else values
        assert_close(pixels(tiff(stored, photometric="rgb", planarconfig=planar)), stretched(values))

    def test_alpha_does_not_count_for_the_range(self) -> None:
        alpha = np.full((HEIGHT, WIDTH, 1), 65535, np.uint16)
        grey = tiff(np.concatenate([GREY16[..., None], alpha], 2), photometric=MINISBLACK, extrasamples=[2])
        colour = tiff(np.concatenate([RGB16, alpha], 2), photometric="rgb", extrasamples=[2])
        assert_close(pixels(grey), stretched(GREY16))
        assert_close(pixels(colour), stretched(RGB16))

    @pytest.mark.parametrize(
        ("compression", "options"),
        [
            (compression, options)
            for compression in ("zlib", "lzw", "packbits", "lzma", "zstd", "lerc", "png", "jpegxl", "jpeg2000")
            for options in (
                {"rowsperstrip": 10},
                {"tile": (16, 32)},
                {"byteorder": ">"},
                {"bigtiff": True},
                {"predictor": True},
            )
            if compression not in ("lerc", "png", "jpegxl", "jpeg2000") or not {"predictor", "byteorder"} & set(options)
        ]
        + [("lerc", {"compressionargs": {"compression": name}}) for name in ("deflate", "zstd")],
    )
    def test_compressions_and_layouts(self, compression: str, options: dict[str, object]) -> None:
        extra = {"compressionargs": {"lossless": True}} if compression == "jpegxl" else {}
        if compression == "jpeg2000":
            extra = {"compressionargs": {"reversible": True}}
        data = tiff(GREY16, compression=compression, photometric=MINISBLACK, **(extra | options))
        assert_close(pixels(data), stretched(GREY16))

    @pytest.mark.parametrize("compression", ["jpeg2000", "webp", "png", "jpegxl", "zstd", "lzma"])
    def test_8_bit_colour_in_any_compression_is_unchanged(self, compression: str) -> None:
        lossless = {"jpeg2000": {"reversible": True}, "webp": {"lossless": True}, "jpegxl": {"lossless": True}}
        data = tiff(RGB8, compression=compression, photometric="rgb", compressionargs=lossless.get(compression))
        np.testing.assert_array_equal(pixels(data), RGB8)

    @pytest.mark.parametrize("lossless", [True, False])
    @pytest.mark.parametrize("channels", [3, 4])
    def test_webp_in_tiff(self, channels: int, lossless: bool) -> None:
        ramp = np.linspace(0, 255, WIDTH).astype(np.uint8)
        values = np.broadcast_to(ramp[None, :, None], (HEIGHT, WIDTH, channels)).copy()
        values[:, :, 3:] = 200
        options = {"extrasamples": [2]} if channels == 4 else {}
        data = tiff(values, compression="webp", photometric="rgb", compressionargs={"lossless": lossless}, **options)
        assert np.abs(pixels(data) - values[:, :, :3]).max() <= (0 if lossless else 12)

    @pytest.mark.parametrize("bits", [12, 16])
    def test_lossless_jpeg_in_tiff(self, bits: int) -> None:
        values = (GREY16 << (bits - 12)).astype(np.uint16)
        data = tiff(
            values,
            compression="jpeg",
            photometric=MINISBLACK,
            compressionargs={"lossless": True, "bitspersample": bits},
        )
        assert_close(pixels(data), stretched(values))

    def test_a_float_predictor(self) -> None:
        values = RNG.normal(size=(HEIGHT, WIDTH)).astype(np.float32)
        assert_close(pixels(tiff(values, compression="zlib", predictor=3)), stretched(values))

    @pytest.mark.parametrize(
        "data",
        [
            tiff(np.zeros((5, 7, 5), np.uint8), photometric=MINISBLACK, planarconfig="contig"),
            tiff(np.zeros((5, 7, 3), np.uint16), photometric=MINISBLACK, planarconfig="contig"),
            tiff(np.zeros((5, 7), np.complex64)),
            tiff(GREY16, compression=22610),
        ],
    )
    def test_other_flavours_are_called_unsupported(self, data: bytes) -> None:
        assert error_code(data) == "image_unsupported"

    @pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"compression": "lzma", "tile": (16, 16)}])
    @pytest.mark.parametrize("values", [GREY16, RGB16, GREY16.astype(np.float32), RGB8])
    def test_a_truncated_file_is_an_error(self, values: np.ndarray, options: dict[str, object]) -> None:
        data = tiff(values, metadata=None, **options)
        page = tifffile.TiffFile(io.BytesIO(data)).pages.first
        end = page.dataoffsets[-1] + page.databytecounts[-1]
        assert error_code(data[: end - 20]) == "image_truncated"
        if values.dtype == np.uint8:
            return  # Pillow reads such files
        sparse = bytearray(data)
        tag = page.tags[325 if page.is_tiled else 279]
        struct.pack_into("<I", sparse, tag.valueoffset, 0)
        assert error_code(bytes(sparse)) == "image_truncated"

    def test_nothing_is_printed_for_a_damaged_file(self, capfd: pytest.CaptureFixture[str]) -> None:
        buffer = io.BytesIO()
        Image.fromarray(RGB8).save(buffer, "TIFF", compression="jpeg")
        data = buffer.getvalue()
        samples = tiff(np.zeros((5, 7, 9), np.uint8), photometric=MINISBLACK, planarconfig="contig")
        assert error_code(samples) == "image_unsupported"
        for position in range(150, len(data), 50):
            with contextlib.suppress(ImageError):
                images.open(data[:position] + b"\xff\xff" + data[position + 2 :])
        assert capfd.readouterr() == ("", "")

    def test_pages_of_different_kinds(self) -> None:
        buffer = io.BytesIO()
        with tifffile.TiffWriter(buffer) as writer:
            for page in (RGB8, GREY16, GREY16.astype(np.float64)):
                writer.write(page, photometric="rgb" if page.ndim == 3 else "minisblack")
        data = buffer.getvalue()
        assert images.count_frames(data) == 3
        np.testing.assert_array_equal(pixels(data), RGB8)
        for frame in (1, 2):
            assert_close(pixels(data, frame=frame), stretched(GREY16))
        assert error_code(data, frame=3) == "image_frame_out_of_range"

    def test_the_orientation_of_a_deep_page(self) -> None:
        data = tiff(GREY16, extratags=[(274, 3, 1, 6, True)])
        assert images.load(data).shape == (WIDTH, HEIGHT, 3)

    def test_a_window(self) -> None:
        expected = np.clip(np.rint((GREY16 - 1499.5) / 999 * 255 + 127.5), 0, 255).astype(int)
        assert_close(pixels(tiff(GREY16), window="1500/1000"), expected)
        low, high = np.percentile(GREY16, [5, 90])
        expected = np.clip(np.rint((GREY16 - low) / (high - low) * 255), 0, 255).astype(int)
        assert_close(pixels(tiff(GREY16), window="5%-90%"), expected)
        assert error_code(tiff(GREY16), window="lung") == "image_window_not_applicable"
        warned = images.open(tiff(RGB16, photometric="rgb"), window="1500/1000")
        assert [warning.code for warning in warned.warnings] == ["window_not_applied"]


def netpbm(kind: bytes, values: np.ndarray) -> bytes:
    head = kind + b"\n# a comment\n%d %d\n4095\n" % (WIDTH, HEIGHT)
    return head + (values.astype(">u2").tobytes() if kind == b"P6" else " ".join(map(str, values.ravel())).encode())


class TestDeepFiles:
    @pytest.mark.parametrize(
        ("data", "values"),
        [
            (imagecodecs.png_encode(GREY16), GREY16),
            (imagecodecs.png_encode(RGB16), RGB16),
            (imagecodecs.png_encode(np.stack([GREY16, GREY16 * 0 + 65535], 2)), GREY16),
            (imagecodecs.png_encode(np.dstack([RGB16, GREY16 * 0 + 65535])), RGB16),
            (imagecodecs.jpeg2k_encode(GREY16, reversible=True), GREY16),
            (imagecodecs.jpeg2k_encode(RGB16, reversible=True), RGB16),
            (imagecodecs.jpeg2k_encode(RGB16, reversible=True, codecformat="j2k"), RGB16),
            (imagecodecs.jpegls_encode(GREY16), GREY16),
            (imagecodecs.jpegls_encode(RGB16), RGB16),
            (imagecodecs.jpegxl_encode(GREY16, lossless=True), GREY16),
            (imagecodecs.jpegxl_encode(RGB16, lossless=True), RGB16),
            (imagecodecs.jpegxl_encode(RGB16.astype(np.float32) / 4096, lossless=True), RGB16),
            (imagecodecs.jpeg8_encode(GREY16, lossless=True, bitspersample=12), GREY16),
            (imagecodecs.jpeg8_encode(GREY16 * 16, lossless=True, bitspersample=16), GREY16),
            (netpbm(b"P6", RGB16), RGB16),
            (netpbm(b"P3", RGB16), RGB16),
        ],
    )
    def test_values_are_stretched_and_cut_files_are_errors(self, data: bytes, values: np.ndarray) -> None:
        data = bytes(data)
        assert_close(pixels(data), stretched(values))
        assert images.count_frames(data) == 1
        assert error_code(data, frame=1) == "image_frame_out_of_range"
        for cut in (len(data) // 2, len(data) * 9 // 10):
            assert error_code(data[:cut]) == "image_truncated"

    @pytest.mark.parametrize(
        "data",
        [
            imagecodecs.jpegls_encode(RGB8),
            imagecodecs.jpegxl_encode(RGB8, lossless=True),
            imagecodecs.jpeg8_encode(RGB8, lossless=True, colorspace="rgb", outcolorspace="rgb"),
        ],
    )
    def test_8_bits_are_unchanged(self, data: bytes) -> None:
        np.testing.assert_array_equal(pixels(bytes(data)), RGB8)

    def test_jpeg_of_12_bits(self) -> None:
        smooth = np.tile(np.linspace(100, 4000, WIDTH), (HEIGHT, 1)).astype(np.uint16)
        got = pixels(bytes(imagecodecs.jpeg8_encode(smooth, level=100, bitspersample=12)))
        assert np.abs(got - stretched(smooth)).max() <= 2  # lossy

    def test_exif_orientation_of_deep_files(self) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        plain = bytes(imagecodecs.png_encode(RGB16))
        body = exif.tobytes()[6:]
        import zlib

        chunk = struct.pack(">I", len(body)) + b"eXIf" + body + struct.pack(">I", zlib.crc32(b"eXIf" + body))
        assert images.load(plain[:33] + chunk + plain[33:]).shape == (WIDTH, HEIGHT, 3)
        jpeg = bytes(imagecodecs.jpeg8_encode(GREY16, lossless=True, bitspersample=12))
        segment = b"\xff\xe1" + struct.pack(">H", len(exif.tobytes()) + 2) + exif.tobytes()
        assert images.load(jpeg[:2] + segment + jpeg[2:]).shape == (WIDTH, HEIGHT, 3)

    @pytest.mark.parametrize("size", [(1, 1), (8, 8), (256, 256), (300, 200), (64, 96), (1000, 7)])
    def test_the_size_in_a_jpeg_xl_header(self, size: tuple[int, int]) -> None:
        from medimageinsight.images.raster.jpeg_xl import read_size

        for values in (np.zeros((*size, 4), np.uint8), np.zeros(size, np.uint16), np.zeros((*size, 3), np.float32)):
            assert read_size(bytes(imagecodecs.jpegxl_encode(values, lossless=True))) == (size[1], size[0])


@pytest.mark.parametrize(
    "data", [b"\0\0\0\x18ftypisom" + bytes(99), b"\x1a\x45\xdf\xa3" + bytes(99), b"RIFF\0\0\0\0AVI LIST"]
)
def test_a_video_is_named(data: bytes) -> None:
    assert error_code(data) == "image_is_video"


class TestAvifAndHeic:
    def test_avif(self) -> None:
        buffer = io.BytesIO()
        Image.fromarray(RGB8).save(buffer, "AVIF", quality=100, subsampling="4:4:4", exif=orientation_exif())
        decoded = images.open(buffer.getvalue())
        assert decoded.orientation == 6
        assert np.abs(np.asarray(decoded.image).astype(int) - RGB8).mean() < 3

    def test_frames_of_an_animated_avif(self) -> None:
        pages = [Image.new("RGB", (16, 16), (60 * n, 0, 0)) for n in range(3)]
        buffer = io.BytesIO()
        pages[0].save(buffer, "AVIF", save_all=True, append_images=pages[1:])
        data = buffer.getvalue()
        assert images.count_frames(data) == 3
        assert abs(pixels(data, frame=2)[0, 0, 0] - 120) < 6

    @pytest.mark.parametrize("bits", [10, 12])
    def test_deep_avif_is_stretched(self, bits: int) -> None:
        ramp = np.tile(np.linspace(100, 900, WIDTH), (HEIGHT, 1)).astype(np.uint16)
        for values in (ramp, np.stack([ramp, ramp[:, ::-1], ramp], 2)):
            data = bytes(imagecodecs.avif_encode(values, level=100, bitspersample=bits))
            assert np.abs(pixels(data) - stretched(values)).max() <= 3
            assert error_code(data, frame=1) == "image_frame_out_of_range"
            assert error_code(data[: len(data) // 2]) == "image_truncated"

    @pytest.mark.parametrize("mode", ["I;16", "RGB;16"])
    def test_deep_heic_is_stretched(self, mode: str) -> None:
        heif = pytest.importorskip("pillow_heif")
        ramp = np.tile(np.linspace(6400, 57600, 64), (64, 1)).astype(np.uint16)
        values = np.stack([ramp, ramp[:, ::-1], ramp], 2) if mode == "RGB;16" else ramp
        buffer = io.BytesIO()
        heif.encode(mode, (64, 64), values.tobytes(), buffer, quality=-1)
        assert np.abs(pixels(buffer.getvalue()) - stretched(values)).max() <= 6

    def test_heic(self) -> None:
        heif = pytest.importorskip("pillow_heif")
        smooth = Image.linear_gradient("L").resize((128, 96)).convert("RGB")
        buffer = io.BytesIO()
        heif.from_pillow(smooth).save(buffer, quality=95)
        data = buffer.getvalue()
        assert np.abs(pixels(data) - np.asarray(smooth).astype(int)).mean() < 5
        assert images.count_frames(data) == 1
        assert error_code(data, frame=1) == "image_frame_out_of_range"
        assert error_code(data[: len(data) // 2]) == "image_truncated"

    def test_heic_without_the_extra_names_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pillow_heif", None)
        with pytest.raises(ImageError, match=r"\[heic\]"):
            images.open(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(50))


def orientation_exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes()
