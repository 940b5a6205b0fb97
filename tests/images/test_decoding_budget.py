"""Hostile and huge files: the memory and work of decoding are bounded before it starts."""

from __future__ import annotations

import contextlib
import io
import struct
import subprocess
import sys
import threading
import time
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from medimageinsight import images
from medimageinsight.errors import ImageError
from medimageinsight.images.budget import reserve

MEASURE = """
import sys
import numpy as np
from pathlib import Path
from medimageinsight import images

def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024

data = sys.stdin.buffer.read()
images.open(data[:0] + Path(sys.argv[1]).read_bytes())  # a small file of the same kind: imports
before = peak()
images.open(data)
print(peak() - before)
"""


def gif(width: int, height: int, frames: int) -> bytes:
    header = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"\x21\xf9\x04\x08\0\0\0\0\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return header + frame * frames + b"\x3b"


def tiff_of_pages(count: int, *, loops: bool = False) -> bytes:
    entries = {256: 1, 257: 1, 258: 8, 259: 1, 262: 1, 273: 8, 278: 1, 279: 1}
    body = struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHII", *(tag, 4, 1, v)) for tag, v in entries.items()
    )
    size = len(body) + 4
    offsets = [10 + size * number for number in range(count)]
    nexts = [*offsets[1:], offsets[0] if loops else 0]
    return b"II*\0" + struct.pack("<I", 10) + b"\x80\0" + b"".join(body + struct.pack("<I", n) for n in nexts)


def tiff(values: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, metadata=None, **options)
    return buffer.getvalue()


def patched(data: bytes, changes: dict[int, int]) -> bytes:
    """Return a TIFF with other values in tags of one number."""
    result = bytearray(data)
    page = tifffile.TiffFile(io.BytesIO(data)).pages.first
    for tag, value in changes.items():
        struct.pack_into("<H" if page.tags[tag].dtype == 3 else "<I", result, page.tags[tag].valueoffset, value)
    return bytes(result)


def error_code(data: bytes, **options: object) -> str:
    with pytest.raises(ImageError) as caught:
        images.open(data, **options)
    return caught.value.code


class TestMemory:
    @pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
    @pytest.mark.parametrize("kind", ["png grey", "png RGB", "png RGBA", "tiff float"])
    def test_deep_pixels_need_at_most_4_bytes_a_sample(self, kind: str, tmp_path) -> None:
        def make(side: int) -> bytes:
            if kind == "png grey":
                return bytes(
                    imagecodecs.png_encode(
                        np.zeros((side, side), np.uint16) + np.arange(side, dtype=np.uint16), level=1
                    )
                )
            if kind.startswith("png RGB"):
                return bytes(imagecodecs.png_encode(np.zeros((side, side, channels), np.uint16), level=1))
            return tiff(np.zeros((side, side), np.float32), compression="zlib", rowsperstrip=64)

        side, channels = 2000, {"png RGB": 3, "png RGBA": 4}.get(kind, 1)
        stored = 4 if kind == "tiff float" else 0  # the values themselves
        (tmp_path / "small").write_bytes(make(16))
        run = subprocess.run(
            [sys.executable, "-c", MEASURE, str(tmp_path / "small")], input=make(side), capture_output=True, check=True
        )
        assert int(run.stdout) < side * side * channels * (4 + stored) + (4 << 20)

    def test_an_image_beyond_the_bound_is_refused(self) -> None:
        data = bytes(imagecodecs.png_encode(np.zeros((100, 100), np.uint16)))
        images.open(data, limits=images.Limits(max_decoded_bytes=100_000))
        assert error_code(data, limits=images.Limits(max_decoded_bytes=10_000)) == "image_too_large"

    def test_threads_wait_for_each_other_and_all_end(self) -> None:
        limits, together, most, lock = images.Limits(max_decoded_bytes=100), [0], [0], threading.Lock()

        def work(count: int) -> None:
            for _ in range(20):
                with reserve(count, limits):
                    with lock:
                        together[0] += count
                        most[0] = max(most[0], together[0])
                    time.sleep(0.0001)
                    with lock:
                        together[0] -= count

        threads = [threading.Thread(target=work, args=(count,)) for count in (100, 60, 50, 40, 30, 7, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)
        assert 50 < most[0] <= 100

    def test_a_failure_gives_the_reservation_back(self) -> None:
        limits = images.Limits(max_decoded_bytes=200_000)
        damaged = bytes(imagecodecs.png_encode(np.random.default_rng(0).integers(0, 999, (100, 100)).astype(np.uint16)))
        for _ in range(20):
            assert error_code(damaged[:300], limits=limits) == "image_truncated"


class TestFrames:
    def test_a_late_frame_of_a_large_animation_is_refused(self) -> None:
        data = gif(13_000, 13_000, 100)
        assert images.count_frames(data) == 100
        assert error_code(data, frame=99) == "image_too_large"
        assert error_code(data, frame=100) == "image_frame_out_of_range"
        assert images.open(gif(20, 10, 100), frame=99).image.size == (20, 10)

    @pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
    def test_the_walk_is_bounded_for_every_animation(self, kind: str) -> None:
        frames = [Image.new("RGB", (40, 30), (n * 50, 0, 0)) for n in range(4)]
        buffer = io.BytesIO()
        frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
        limits = images.Limits(max_walked_pixels=2 * 40 * 30)
        assert images.count_frames(buffer.getvalue()) == 4
        assert images.open(buffer.getvalue(), frame=1, limits=limits).image.size == (40, 30)
        assert error_code(buffer.getvalue(), frame=2, limits=limits) == "image_too_large"

    def test_pages_are_found_without_reading_those_before(self) -> None:
        start, data = time.process_time(), tiff_of_pages(30_000)
        assert images.count_frames(data) == 30_000
        assert images.open(data, frame=29_999).image.size == (1, 1)
        assert error_code(data, frame=30_000) == "image_frame_out_of_range"
        assert time.process_time() - start < 5  # quadratic reading took minutes

    def test_the_number_of_frames_is_bounded(self) -> None:
        limits = images.Limits(max_frames=10)
        for data in (gif(4, 4, 50), tiff_of_pages(50)):
            assert images.count_frames(data, limits=limits) == 10
            assert error_code(data, frame=10, limits=limits) == "image_frame_out_of_range"

    def test_a_loop_of_pages_ends(self) -> None:
        data = tiff_of_pages(5, loops=True)
        assert images.count_frames(data) == 5
        assert error_code(data, frame=5) == "image_frame_out_of_range"


class TestTiffBombs:
    def test_more_strips_than_an_image_has_use_for(self) -> None:
        data = tiff(np.zeros((200_000, 1), np.uint16), rowsperstrip=1)
        assert error_code(data) == "image_too_large"

    def test_strips_that_share_their_data(self) -> None:
        rows = 500
        data = bytearray(tiff(np.zeros((rows, 8), np.uint16), rowsperstrip=1, compression="zlib"))
        page = tifffile.TiffFile(io.BytesIO(data)).pages.first
        large = len(data)
        data += bytes(1 << 20)
        struct.pack_into(f"<{rows}I", data, page.tags[273].valueoffset, *[large] * rows)
        counts = page.tags[279]
        struct.pack_into(f"<{rows}{'H' if counts.dtype == 3 else 'I'}", data, counts.valueoffset, *[60_000] * rows)
        assert error_code(bytes(data)) == "image_too_large"

    def test_a_tile_larger_than_any_image(self) -> None:
        data = tiff(np.zeros((16, 16), np.uint16), tile=(16, 16), compression="zlib")
        assert error_code(patched(data, {322: 60_000, 323: 60_000})) == "image_too_large"

    @pytest.mark.parametrize("compression", ["zlib", "lzma", "zstd", "lerc", "png", "jpeg2000", "webp", "jpegxl"])
    def test_a_segment_that_inflates_beyond_its_size(self, compression: str) -> None:
        large = np.zeros((1000, 1000, 3), np.uint8)
        fast = {"effort": 1} if compression == "jpegxl" else None
        data = tiff(large, compression=compression, compressionargs=fast, photometric="rgb", rowsperstrip=1000)
        small = patched(data, {256: 10, 257: 10, 278: 10})
        if compression in ("zlib", "lzma", "zstd"):  # the first bytes are enough
            with contextlib.suppress(ImageError):
                assert images.open(small).image.size == (10, 10)
        else:
            assert error_code(small) == "image_truncated"

    def test_a_tag_of_many_values(self) -> None:
        values = 600_000
        data = tiff(np.zeros((4, 4), np.uint16), extratags=[(50_000, 4, values, [0] * values, True)])
        assert error_code(data) == "image_too_large"


class TestOtherBombs:
    def test_a_jpeg_of_many_scans(self) -> None:
        buffer = io.BytesIO()
        Image.new("RGB", (64, 64)).save(buffer, "JPEG", progressive=True)
        data = buffer.getvalue()
        scan = data.rindex(b"\xff\xda")
        assert error_code(data[:scan] + data[scan:-2] * 200 + data[-2:]) == "image_too_large"

    @pytest.mark.parametrize("kind", ["jpegxl", "jpegls", "jpeg2k"])
    def test_a_size_in_the_header_is_checked_before_decoding(self, kind: str) -> None:
        data = bytes(getattr(imagecodecs, f"{kind}_encode")(np.zeros((50, 60), np.uint16)))
        assert error_code(data, limits=images.Limits(max_pixels=2999)) == "image_too_large"
        images.open(data, limits=images.Limits(max_pixels=3000))

    def test_a_text_chunk_that_inflates(self) -> None:
        text = b"Comment\0\0" + zlib.compress(bytes(80 << 20), 1)
        chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
        plain = bytes(imagecodecs.png_encode(np.zeros((4, 4, 3), np.uint8)))
        start = time.process_time()
        try:
            images.open(plain[:33] + chunk * 20 + plain[33:])
        except ImageError as error:
            assert error.code.startswith("image_")  # noqa: PT017
        assert time.process_time() - start < 5
