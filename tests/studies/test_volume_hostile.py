"""Damaged and hostile volumes: each has its own error, before memory is allocated, and the rest continues."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medimageinsight import images, studies
from medimageinsight.errors import ImageError, InputError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

nibabel = pytest.importorskip("nibabel", reason="volumes need the extra")
nrrd = pytest.importorskip("nrrd", reason="volumes need the extra")

VALUES = np.random.default_rng(1).integers(0, 4000, (8, 9, 5)).astype(np.int16)


def nifti_bytes(values: np.ndarray = VALUES, kind: type = nibabel.Nifti1Image) -> bytes:
    return kind(values, np.eye(4)).to_bytes()


def metaimage(size: str = "8 9 5", data: bytes | None = None, **fields: str) -> bytes:
    stated = {"ObjectType": "Image", "NDims": "3", "DimSize": size, "ElementType": "MET_SHORT", **fields}
    stated["ElementDataFile"] = stated.pop("ElementDataFile", "LOCAL")  # the last field
    text = "".join(f"{name} = {value}\n" for name, value in stated.items())
    return text.encode() + (VALUES.tobytes(order="F") if data is None else data)


def nrrd_bytes(sizes: str = "8 9 5", data: bytes | None = None, **fields: str) -> bytes:
    stated = {"type": "int16", "dimension": "3", "sizes": sizes, "endian": "little", "encoding": "raw", **fields}
    text = "NRRD0004\n" + "".join(f"{name.replace('_', ' ')}: {value}\n" for name, value in stated.items()) + "\n"
    return text.encode() + (VALUES.tobytes(order="F") if data is None else data)


def patched(offset: int, form: str, *values: float, data: bytes | None = None) -> bytes:
    header = bytearray(data or nifti_bytes())
    struct.pack_into(form, header, offset, *values)
    return bytes(header)


def code_of(path: Path, **options: object) -> str:
    """The error of a file at the latest when an image of it is opened; it names neither the path nor its content."""
    with pytest.raises(InputError) as caught:
        open_first(path, options)
    assert str(path) not in caught.value.message
    assert "\n" not in caught.value.message
    return caught.value.code


def open_first(path: Path, options: dict[str, object]) -> None:
    for study in studies.read(path, **options):
        images.open(study.series[0].images[0], limits=options.get("limits", images.Limits()))


# The dimensions are at 40, the type at 70, the spacings at 76, the offset of the values at 108.
HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "negative.nii": (lambda: patched(42, "<h", -8), "volume_bad_header"),
    "zero.nii": (lambda: patched(44, "<h", 0), "volume_bad_header"),
    "axes.nii": (lambda: patched(40, "<h", 77), "volume_bad_header"),
    "huge.nii": (lambda: patched(42, "<3h", 32767, 32767, 32767), "volume_too_large"),
    "beyond.nii": (lambda: patched(108, "<f", 1e6), "volume_truncated"),
    "far.nii": (lambda: patched(108, "<f", 1e15), "volume_too_large"),
    "offset-nan.nii": (lambda: patched(108, "<f", float("nan")), "volume_bad_header"),
    "type.nii": (lambda: patched(70, "<h", 12345), "volume_bad_header"),
    "complex.nii": (lambda: nifti_bytes(VALUES.astype(np.complex64)), "volume_unsupported"),
    "short.nii": (lambda: nifti_bytes()[:-1], "volume_truncated"),
    "magic.nii": (lambda: b"x" + nifti_bytes(), "image_not_an_image"),
    "magic.mha": (lambda: b"Comment: nothing else\n", "image_not_an_image"),
    "header.nii": (lambda: nifti_bytes()[:350], "volume_truncated"),
    "negative2.nii": (
        lambda: patched(16, "<2q", 3, -(1 << 60), data=nifti_bytes(kind=nibabel.Nifti2Image)), "volume_bad_header"
    ),
    "huge2.nii": (
        lambda: patched(16, "<4q", 3, 1 << 40, 1 << 40, 1 << 40, data=nifti_bytes(kind=nibabel.Nifti2Image)),
        "volume_too_large",
    ),
    "cut.nii.gz": (lambda: gzip.compress(nifti_bytes())[:-60], "volume_truncated"),
    "flipped.nii.gz": (
        lambda: gzip.compress(nifti_bytes())[:400] + b"\xff\0" * 9 + gzip.compress(nifti_bytes())[418:],
        "volume_truncated",
    ),
    "bomb.nii.gz": (
        lambda: gzip.compress(patched(42, "<3h", 30000, 30000, 30000) + bytes(1 << 20)), "volume_too_large"
    ),
    "pixels.nii.gz": (lambda: gzip.compress(patched(42, "<3h", 32767, 32767, 1)), "image_too_large"),
    "matrix.nii": (lambda: patched(280, "<12f", *[0.0] * 12), "volume_bad_header"),
    "infinite.nii": (lambda: patched(280, "<12f", *[float("inf")] * 12), "volume_bad_header"),
    "negative.mha": (lambda: metaimage("8 -9 5"), "volume_bad_header"),
    "huge.mha": (lambda: metaimage("99999999 99999999 9999999"), "volume_too_large"),
    "short.mha": (lambda: metaimage()[:-1], "volume_truncated"),
    "text.mha": (lambda: metaimage(BinaryData="False"), "volume_unsupported"),
    "fields.mha": (lambda: metaimage("8 9"), "volume_bad_header"),
    "numbers.mha": (lambda: metaimage(Offset="0 0 zero"), "volume_bad_header"),
    "type.mha": (lambda: metaimage(ElementType="MET_STRING"), "volume_unsupported"),
    "zlib.mha": (
        lambda: metaimage(CompressedData="True", data=zlib.compress(VALUES.tobytes())[:-40]), "volume_truncated"
    ),
    "short-zlib.mha": (
        lambda: metaimage(CompressedData="True", data=zlib.compress(VALUES.tobytes()[:-2])), "volume_truncated"
    ),
    "outside.mhd": (lambda: metaimage(ElementDataFile="../secret.raw"), "volume_data_outside"),
    "absolute.mhd": (lambda: metaimage(ElementDataFile="/etc/passwd"), "volume_data_outside"),
    "missing.mhd": (lambda: metaimage(ElementDataFile="none.raw"), "volume_data_missing"),
    "list.mhd": (lambda: metaimage(ElementDataFile="LIST"), "volume_unsupported"),
    "negative.nrrd": (lambda: nrrd_bytes("8 -9 5"), "volume_bad_header"),
    "huge.nrrd": (lambda: nrrd_bytes("99999999 99999999 99999999"), "volume_too_large"),
    "short.nrrd": (lambda: nrrd_bytes()[:-1], "volume_truncated"),
    "skip.nrrd": (lambda: nrrd_bytes(byte_skip="99999"), "volume_truncated"),
    "minus.nrrd": (lambda: nrrd_bytes(byte_skip="-7"), "volume_bad_header"),
    "text.nrrd": (lambda: nrrd_bytes(encoding="ascii"), "volume_unsupported"),
    "block.nrrd": (lambda: nrrd_bytes(type="block"), "volume_unsupported"),
    "bomb.nrrd": (lambda: nrrd_bytes(encoding="gzip", byte_skip=str(1 << 50)), "volume_too_large"),
    "end.nrrd": (lambda: b"NRRD0004\n" + b"# no end\n" * 200_000, "volume_bad_header"),
    "outside.nhdr": (lambda: nrrd_bytes(data_file="../secret.raw"), "volume_data_outside"),
    "windows.nhdr": (lambda: nrrd_bytes(data_file="..\\secret.raw"), "volume_data_outside"),
    "missing.nhdr": (lambda: nrrd_bytes(data_file="none.raw"), "volume_data_missing"),
    "pattern.nhdr": (lambda: nrrd_bytes(data_file="slice%03d.raw 1 5 1"), "volume_unsupported"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_each_defect_has_its_error(tmp_path: Path, name: str) -> None:
    make, code = HOSTILE[name]
    folder = tmp_path / "inside"
    folder.mkdir()
    (tmp_path / "secret.raw").write_bytes(VALUES.tobytes())
    (folder / name).write_bytes(make())
    tracemalloc.start()
    assert code_of(folder / name) == code
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()
    # In a folder, the others are read.
    (folder / "whole.nii").write_bytes(nifti_bytes())
    failed: dict[str, InputError] = {}
    usable = 0
    for study in studies.read(folder, failed=failed.__setitem__):
        try:
            images.open(study.series[0].images[0])
        except ImageError as error:
            failed[study.source] = error
        else:
            usable += 1
    assert usable == 1
    assert [error.code for error in failed.values()] == [code]


def test_limits_are_those_of_the_caller(tmp_path: Path) -> None:
    path = tmp_path / "volume.nii.gz"
    path.write_bytes(gzip.compress(nifti_bytes()))
    assert code_of(path, limits=images.Limits(max_decoded_bytes=VALUES.nbytes - 1)) == "volume_too_large"
    assert code_of(path, limits=images.Limits(max_bytes=100)) == "image_too_large"
    assert code_of(path, limits=images.Limits(max_pixels=71)) == "image_too_large"
    assert code_of(path, limits=images.Limits(max_frames=4)) == "image_too_large"
    assert len(next(studies.read(path, limits=images.Limits(max_decoded_bytes=VALUES.nbytes))).series[0].images) == 5


@pytest.mark.parametrize("spacings", [(1e-7, 1, 1), (1, 2e-6, 1e3)])
def test_a_plane_of_absurd_spacings_is_refused(tmp_path: Path, spacings: tuple[float, ...]) -> None:
    path = tmp_path / "volume.nii"
    nibabel.save(nibabel.Nifti1Image(VALUES, np.diag([*spacings, 1])), path)
    assert code_of(path, plane="sagittal") in ("volume_bad_header", "plane_not_applicable", "image_too_large")


def test_a_plane_of_an_image_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "slice.nii"
    nibabel.save(nibabel.Nifti1Image(VALUES[..., :1], np.eye(4)), path)
    assert code_of(path, plane="coronal") == "plane_not_applicable"
    assert code_of(path, plane="oblique") == "plane_unknown"


def test_a_data_file_without_a_header_is_reported(tmp_path: Path) -> None:
    (tmp_path / "alone.raw").write_bytes(VALUES.tobytes())
    assert code_of(tmp_path) == "image_not_an_image"


@pytest.mark.parametrize(("name", "module"), [("a.nii", "nibabel.nifti1"), ("a.nrrd", "nrrd")])
def test_a_missing_library_is_named_by_its_extra(
    tmp_path: Path, name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_bytes(nifti_bytes() if name == "a.nii" else nrrd_bytes())
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(MissingExtraError, match=r"medimageinsight-onnx\[volumes\]"):
        next(studies.read(tmp_path / name))
