"""Measure the memory and time that decoding a large image of each format needs.

    python benchmarks/decoding.py [--megapixels 170]

Each file is a repeated tile of slopes and noise, made here, and is decoded in a process of its own. A file that the
default limits refuse is scaled down until they accept it. The columns: kilobytes of the file, megapixels, CPU seconds
of `images.open`, and the growth of the process's peak memory, in megabytes and in bytes for each pixel.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from medimageinsight import images
from medimageinsight.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_REFUSED = 3  # exit code of a process whose file is refused


def _pixels(side: int, channels: int, dtype: str) -> NDArray[Any]:
    noise = np.random.default_rng(0).integers(0, 8, (64, 64, channels))
    tile = (np.arange(64)[:, None, None] * 3 + noise) * (257 if dtype == "u2" else 1)
    pixels = np.tile(tile.astype(dtype), (-(-side // 64), -(-side // 64), 1))[:side, :side]
    return pixels[:, :, 0] if channels == 1 else pixels


def _by_pillow(format_name: str, channels: int, **options: Any) -> Callable[[int], bytes]:
    def encode(side: int) -> bytes:
        file = io.BytesIO()
        image = Image.fromarray(_pixels(side, channels, "u1"))
        if options.get("save_all"):
            options["append_images"] = [image.rotate(90), image.rotate(180)]
        image.save(file, format_name, **options)
        return file.getvalue()

    return encode


def _by_imagecodecs(name: str, channels: int, dtype: str, **options: Any) -> Callable[[int], bytes]:
    encode = getattr(imagecodecs, f"{name}_encode")
    return lambda side: bytes(encode(_pixels(side, channels, dtype), **options))


def _tiff(channels: int, dtype: str, **options: Any) -> Callable[[int], bytes]:
    def encode(side: int) -> bytes:
        file = io.BytesIO()
        tifffile.imwrite(file, _pixels(side, channels, dtype), photometric="rgb" if channels > 1 else None, **options)
        return file.getvalue()

    return encode


FORMATS: dict[str, Callable[[int], bytes]] = {
    "PNG grey, 8 bits": _by_pillow("PNG", 1, compress_level=1),
    "PNG RGBA, 8 bits": _by_pillow("PNG", 4, compress_level=1),
    "PNG grey, 16 bits": _by_imagecodecs("png", 1, "u2", level=1),
    "PNG RGB, 16 bits": _by_imagecodecs("png", 3, "u2", level=1),
    "PNG RGBA, 16 bits": _by_imagecodecs("png", 4, "u2", level=1),
    "JPEG": _by_pillow("JPEG", 3),
    "JPEG, progressive": _by_pillow("JPEG", 3, progressive=True),
    "JPEG, lossless, 16 bits": _by_imagecodecs("jpeg8", 1, "u2", lossless=True, bitspersample=16),
    "JPEG-LS, 16 bits": _by_imagecodecs("jpegls", 1, "u2"),
    "JPEG 2000 RGB, 8 bits": _by_pillow("JPEG2000", 3),
    "JPEG 2000 grey, 16 bits": _by_imagecodecs("jpeg2k", 1, "u2", reversible=True),
    "JPEG 2000 RGB, 16 bits": _by_imagecodecs("jpeg2k", 3, "u2", reversible=True),
    "JPEG XL RGB, 8 bits": _by_imagecodecs("jpegxl", 3, "u1", effort=1, distance=1.0),
    "JPEG XL grey, 16 bits": _by_imagecodecs("jpegxl", 1, "u2", effort=1, lossless=True),
    "WebP": _by_pillow("WEBP", 3, method=0),
    "WebP, lossless": _by_pillow("WEBP", 3, lossless=True, quality=0, method=0),
    "AVIF": _by_pillow("AVIF", 3, speed=10),
    "GIF": _by_pillow("GIF", 1),
    "GIF, third frame": _by_pillow("GIF", 1, save_all=True),
    "BMP": _by_pillow("BMP", 3),
    "TIFF RGB, 8 bits, LZW": _by_pillow("TIFF", 3, compression="tiff_lzw"),
    "TIFF grey, 16 bits, Deflate": _tiff(1, "u2", compression="zlib", rowsperstrip=16),
    "TIFF RGB, 16 bits, Deflate, one strip": _tiff(3, "u2", compression="zlib", rowsperstrip=1 << 20),
    "TIFF grey, 64-bit floats": _tiff(1, "f8", rowsperstrip=16),
}


def main() -> None:
    """Print a line for each format."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megapixels", type=float, default=170)
    parser.add_argument("--only", default="", help="formats whose name contains this text")
    parser.add_argument("--decode", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.decode:
        _decode(arguments.decode, frame=2 if "third" in arguments.only else 0)
        return
    Image.MAX_IMAGE_PIXELS = None
    print(f"{'format':38} {'kB':>9} {'MP':>6} {'CPU s':>6} {'MB':>6} {'B/pixel':>7}")
    for name, encode in FORMATS.items():
        if arguments.only in name:
            _measure(name, encode, int((arguments.megapixels * 1e6) ** 0.5))


def _measure(name: str, encode: Callable[[int], bytes], side: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "image")
        while True:
            try:
                path.write_bytes(encode(side))
            except ValueError:  # WebP has a limit of its own
                side = int(side * 0.9)
                continue
            command = [sys.executable, __file__, "--only", name, "--decode", str(path)]
            run = subprocess.run(command, capture_output=True, text=True, check=False)
            if run.returncode != _REFUSED:
                break
            side = int(side * 0.9)
        if run.returncode:
            print(f"{name:38} failed: {run.stderr.strip().splitlines()[-1]}")
            return
        seconds, megabytes = map(float, run.stdout.split())
        pixels = side * side
        print(
            f"{name:38} {path.stat().st_size / 1e3:9.0f} {pixels / 1e6:6.0f} {seconds:6.1f} {megabytes:6.0f} "
            f"{megabytes * 1e6 / pixels:7.1f}",
            flush=True,
        )


def _decode(path: Path, frame: int) -> None:
    data = path.read_bytes()
    images.open(np.zeros((2, 2)))  # imports that no file adds
    before, start = _peak(), time.process_time()
    try:
        images.open(data, frame=frame)
    except ImageError as error:
        print(error.message, file=sys.stderr)
        sys.exit(_REFUSED if error.code == "image_too_large" else 1)
    print(time.process_time() - start, (_peak() - before) / 1e6)


def _peak() -> int:
    status = Path("/proc/self/status").read_text()  # Linux; getrusage would count the parent process
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    main()
