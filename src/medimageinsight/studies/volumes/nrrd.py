"""Read the headers of NRRD and NHDR files with pynrrd."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.errors import ImageError, missing_extra
from medimageinsight.studies.volumes.errors import bad_header, unsupported
from medimageinsight.studies.volumes.header import ORIENTATION_UNKNOWN, Header, first_volume_used
from medimageinsight.studies.volumes.samples import Compression, Samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medimageinsight.studies.files import StudyFile

_MAX_HEADER = 1 << 20
_COMPRESSIONS: dict[str, Compression] = {
    "raw": "none",
    "gzip": "gzip",
    "gz": "gzip",
    "bzip2": "bzip2",
    "bz2": "bzip2",
}
# From the space of the header to DICOM's: the signs of its axes.
_SPACES = {
    "left-posterior-superior": (1, 1, 1),
    "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
    "las": (1, -1, 1),
}
_COLOURS = ("rgb-color", "rgba-color", "3-color", "4-color")


def matches(beginning: bytes) -> bool:
    """Return whether the bytes begin as a NRRD header."""
    return beginning.startswith(b"NRRD000") and beginning[7:8].isdigit()


def read_header(file: StudyFile) -> Header:
    """Return the header of a file.

    Raises:
        ImageError: ``volume_bad_header``, ``volume_unsupported``, ``volume_data_missing``, ``volume_data_outside``.
        MissingExtraError: Without pynrrd.
    """
    try:
        from nrrd import read_header as parse
    except ImportError:
        raise missing_extra("volumes", "reading NRRD") from None
    with file.open() as opened:
        beginning = opened.read(_MAX_HEADER)
    text, length = _split(beginning)
    try:
        fields = parse(text.splitlines(keepends=True))
        return _describe(file, fields, length)
    except ImageError:
        raise
    except Exception:  # pynrrd raises anything for a damaged header
        raise bad_header("a NRRD header that cannot be read") from None


def _split(beginning: bytes) -> tuple[bytes, int]:
    """Return the header, and its length with the empty line."""
    ends = [(beginning.find(mark), len(mark)) for mark in (b"\n\n", b"\n\r\n")]
    found = [(at, length) for at, length in ends if at >= 0]
    if not found:
        if len(beginning) == _MAX_HEADER:
            raise bad_header("a NRRD header without an end")
        return beginning, len(beginning)  # a detached header may end with the file
    at, length = min(found)
    return beginning[: at + 1], at + length


def _describe(file: StudyFile, fields: dict[str, Any], length: int) -> Header:
    sizes = tuple(int(size) for size in fields["sizes"])
    if len(sizes) != fields["dimension"] or min(sizes) < 1:
        raise bad_header("sizes that are not positive or not one for each axis")
    data_file, start = _data_file(file, fields, length)
    if _skips(fields, "line"):
        raise unsupported("lines before its values", "save it again with a present tool")
    encoding = str(fields["encoding"]).lower()
    if encoding not in _COMPRESSIONS:
        raise unsupported("values written as text", "save it with encoding gzip")
    kinds = [str(kind).lower() for kind in fields.get("kinds", [])]
    directions, origin, warnings = _space(fields, len(sizes), kinds)
    space_axes = tuple(axis for axis, direction in enumerate(directions) if direction is not None)
    if not 2 <= len(space_axes) <= 3:
        raise unsupported(f"{len(space_axes)} axes of space")
    channel = next((axis for axis, kind in enumerate(kinds) if kind in _COLOURS and sizes[axis] in (3, 4)), None)
    others = [axis for axis in range(len(sizes)) if axis not in (*space_axes, channel)]
    several = math.prod(sizes[axis] for axis in others)
    used = sizes
    if others and min(others) > max(space_axes) and (channel is None or channel < min(others)):
        used = sizes[: min(others)]  # the first volume comes first in the file
    samples = Samples(
        file=data_file,
        dtype=_dtype(fields),
        shape=used,
        start=start,
        offset=_skips(fields, "byte"),
        compression=_COMPRESSIONS[encoding],
    )
    return Header(
        samples=samples,
        channel_axis=channel,
        space_axes=space_axes,
        affine=_affine([direction for direction in directions if direction is not None], origin),
        stored_size=math.prod(sizes) * samples.dtype.itemsize,
        warnings=(*warnings, *((first_volume_used(several),) if several > 1 else ())),
    )


def _data_file(file: StudyFile, fields: dict[str, Any], length: int) -> tuple[StudyFile, int]:
    """Return the file of the values, and the bytes before them."""
    name = fields.get("data file", fields.get("datafile"))
    if name is None:
        return file, length
    if str(name).startswith("LIST") or "%" in str(name):
        raise unsupported("values in several files", "save it as one file")
    return file.sibling(str(name).removeprefix("./")), 0


def _skips(fields: dict[str, Any], unit: str) -> int:
    return int(fields.get(f"{unit} skip", fields.get(f"{unit}skip", 0)))


def _dtype(fields: dict[str, Any]) -> np.dtype[Any]:
    from nrrd.reader import _TYPEMAP_NRRD2NUMPY

    name = _TYPEMAP_NRRD2NUMPY.get(str(fields["type"]).lower())
    if name is None or name == "V":
        raise unsupported("values of a type without numbers")
    dtype: np.dtype[Any] = np.dtype(name)
    if dtype.itemsize > 1:
        dtype = np.dtype({"little": "<", "big": ">"}[str(fields["endian"]).lower()] + name)
    return dtype


def _space(
    fields: dict[str, Any], count: int, kinds: list[str]
) -> tuple[list[NDArray[np.float64] | None], NDArray[np.float64], tuple[Any, ...]]:
    """Return each axis's step in DICOM's coordinates, None for an axis that is none of space, the origin, warnings."""
    space = str(fields.get("space", "")).lower()
    known = next((signs for name, signs in _SPACES.items() if space in (name, f"{name}-time", f"{name}t")), None)
    signs = np.array(known or (1, 1, 1), float)
    stated = fields.get("space directions")
    if stated is not None:
        rows = [None if row is None else np.asarray(row, float)[:3] for row in stated]
        steps = [None if row is None or len(row) < 3 or not np.isfinite(row).all() else row * signs for row in rows]
    else:
        plain = [axis for axis in range(count) if not kinds or kinds[axis] in ("domain", "space", "???", "none")][:3]
        spacings = np.nan_to_num(np.asarray(fields.get("spacings", np.ones(count)), float), nan=1.0)
        steps = [
            np.eye(3)[plain.index(axis)] * float(spacings[axis]) if axis in plain else None for axis in range(count)
        ]
    origin = np.zeros(3)
    if "space origin" in fields:
        origin = np.nan_to_num(np.asarray(fields["space origin"], float)[:3]) * signs
    return steps, origin, () if known and stated is not None else (ORIENTATION_UNKNOWN,)


def _affine(steps: list[NDArray[np.float64]], origin: NDArray[np.float64]) -> NDArray[np.float64]:
    affine = np.eye(4)
    if len(steps) == 2:  # one slice
        normal = np.cross(steps[0], steps[1])
        steps = [*steps, normal / (np.linalg.norm(normal) or 1)]
    affine[:3, :3] = np.stack(steps, axis=1)
    affine[:3, 3] = origin
    return affine
