"""Pages and frames of one file: the images of `images.open`, without reading the file for each."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from PIL import Image

from medimageinsight import images, studies
from medimageinsight.errors import ImageError
from medimageinsight.images.raster import pillow

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 24


def frames(depth: type) -> list[np.ndarray]:
    rng = np.random.default_rng(4)
    top = np.iinfo(depth).max
    return [rng.integers(0, top, (20 + index % 3, 30)).astype(depth) for index in range(COUNT)]


def write_tiff(path: Path, *, bigtiff: bool = False, byteorder: str = "<", depth: type = np.uint16, **options) -> None:
    with tifffile.TiffWriter(path, bigtiff=bigtiff, byteorder=byteorder) as writer:
        for page in frames(depth):
            writer.write(page, contiguous=False, photometric="minisblack", **options)


def write_animation(path: Path, **options) -> None:
    rng = np.random.default_rng(5)
    parts = [Image.fromarray(rng.integers(0, 255, (16, 16), np.uint8)) for _ in range(COUNT)]
    shown = []
    for index, part in enumerate(parts):  # each changes a part of the last, as loops do
        canvas = shown[-1].copy() if shown else Image.new("L", (48, 40), 90)
        canvas.paste(part, (index % 32, (3 * index) % 24))
        shown.append(canvas)
    shown[0].save(path, save_all=True, append_images=shown[1:], duration=50, **options)


FILES = {
    "grey16.tif": write_tiff,
    "deflate.tif": lambda path: write_tiff(path, compression="zlib", predictor=True),
    "tiled-big.tif": lambda path: write_tiff(path, bigtiff=True, byteorder=">", tile=(16, 16), compression="lzw"),
    "grey8.tif": lambda path: write_tiff(path, depth=np.uint8, rowsperstrip=4),
    "jpeg.tif": lambda path: write_tiff(path, depth=np.uint8, compression="jpeg"),
    "loop.gif": write_animation,
    "loop.png": write_animation,
    "loop.webp": lambda path: write_animation(path, lossless=True),
}


@pytest.mark.parametrize("name", FILES)
def test_pages_are_those_of_images_open(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    FILES[name](path)
    [study] = studies.read(path)
    [series] = study.series
    assert len(series.images) == COUNT
    order = list(range(COUNT))
    random.Random(6).shuffle(order)
    with ThreadPoolExecutor(4) as pool:
        found = dict(zip(order, pool.map(lambda index: images.load(series.images[index]), order), strict=True))
    for index in range(COUNT):
        assert np.array_equal(found[index], images.load(path, frame=index)), index
        assert series.images[index].origin.frame == index
    assert len({pixels.tobytes() for pixels in found.values()}) == COUNT


@pytest.mark.parametrize("name", ["grey8.tif", "loop.gif"])
def test_a_file_is_read_and_its_frames_decoded_once(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / name
    FILES[name](path)
    opened = []
    original = pillow.open_file
    monkeypatch.setattr(pillow, "open_file", lambda data: opened.append(len(data)) or original(data))
    [study] = studies.read(path)
    loaded = [images.load(image) for image in study.series[0].images]
    assert len(loaded) == COUNT
    # One decoder for all frames; of a TIFF file, the first page and then the bytes of each
    assert sum(opened) <= 2 * path.stat().st_size


def test_damaged_pages_are_reported_and_the_rest_continues(tmp_path: Path) -> None:
    path = tmp_path / "loop.gif"
    write_animation(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    [study] = studies.read(path)
    codes = [error_code(image) for image in study.series[0].images]
    assert {*codes} <= {"", "image_truncated"}
    assert codes.count("") >= 10


def error_code(image: studies.StudyImage) -> str:
    try:
        images.load(image)
    except ImageError as error:
        return error.code
    return ""


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "image_empty"), (b"Notes of today\n" * 9, "image_not_an_image"),
     (b"%PDF-1.7\n%\xe2\xe3", "image_not_an_image"), (b"\0\0\0\x20ftypisom" + bytes(99), "image_is_video")],
)  # fmt: skip
def test_a_file_that_is_no_image_is_reported(tmp_path: Path, content: bytes, code: str) -> None:
    (tmp_path / "a.bin").write_bytes(content)
    Image.new("L", (8, 8)).save(tmp_path / "b.png")
    failed = {}
    [study] = studies.read([tmp_path / "a.bin", tmp_path / "b.png"], failed=failed.__setitem__)
    assert study.source.endswith("b.png")
    assert [error.code for error in failed.values()] == [code]
