"""Bad images: one line for each with the expected, the actual and an advice; the others are embedded."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file


def png_header(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return start + struct.pack(">I", 1 << 20) + b"IDAT" + bytes(99)


def truncated(path: Path) -> bytes:
    return path.read_bytes()[: path.stat().st_size // 2]


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (lambda good: b"", "image_empty", ("an empty file",)),
        (truncated, "image_truncated", ("whole",)),
        (lambda good: b"just some text\n" * 9, "image_not_an_image", ("PNG, JPEG",)),
        (lambda good: png_header(50_000, 50_000), "image_too_large", ("178,956,970 pixels", "scale")),
        (lambda good: Path(get_testdata_file("rtplan.dcm")).read_bytes(), "image_no_pixels", ("RT Plan", "choose")),
        (lambda good: Path(get_testdata_file("MR_truncated.dcm")).read_bytes(), "image_truncated", ("copy it again",)),
    ],
    ids=["empty", "truncated", "no image", "too large", "DICOM without pixels", "truncated DICOM"],
)
def test_reports_bad_image_in_one_line(mi2, image_files: list[Path], tmp_path: Path, content, code: str, words) -> None:
    bad = tmp_path / "bad"
    bad.write_bytes(content(image_files[0]))
    result = mi2("embed", bad, image_files[0], "--json")
    assert result.code == 1
    assert result.json[0]["error"]["code"] == code
    assert "embedding" in result.json[1]
    assert result.err.count("\n") == 1
    assert result.err.startswith(f"error: {bad}: expected ")
    assert all(word in result.err for word in words)
    assert mi2("compare", bad, "x-ray").code == 1
    assert mi2("classify", bad, "--labels", "a", "b").code == 1
