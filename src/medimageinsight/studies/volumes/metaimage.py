"""Read the headers of MetaImage files, MHA and MHD.

The text of the header is parsed here and not by ITK, whose reader follows the file names that a header states.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.errors import ImageError
from medimageinsight.studies.volumes.errors import bad_header, unsupported
from medimageinsight.studies.volumes.header import ORIENTATION_UNKNOWN, Header, first_volume_used
from medimageinsight.studies.volumes.samples import Samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medimageinsight.studies.files import StudyFile

_MAX_HEADER = 1 << 16
_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_FIELD = re.compile(rb"[a-z]{1,40}[ \t]*=[ \t]*[^\0]{0,200}?\r?\n")  # the first line
_ORIGIN = ("offset", "position", "origin")
_MATRIX = ("transformmatrix", "rotation", "orientation")


def matches(beginning: bytes) -> bool:
    """Return whether the bytes begin as a header with the sizes and the data of a MetaImage."""
    head = beginning.lower()
    return _FIELD.match(head) is not None and all(name in head for name in (b"ndims", b"dimsize", b"\nelementdatafile"))


def read_header(file: StudyFile) -> Header:
    """Return the header of a file.

    Raises:
        ImageError: ``volume_bad_header``, ``volume_unsupported``, ``volume_data_missing``, ``volume_data_outside``.
    """
    with file.open() as opened:
        fields, length = _parse(opened.read(_MAX_HEADER))
    try:
        return _describe(file, fields, length)
    except ImageError:
        raise
    except (KeyError, ValueError, OverflowError):
        raise bad_header("a MetaImage header with missing or unreadable fields") from None


def _parse(beginning: bytes) -> tuple[dict[str, str], int]:
    """Return the fields, names in lower case, and the bytes up to the values."""
    fields: dict[str, str] = {}
    position = 0
    while (end := beginning.find(b"\n", position)) >= 0 or position < len(beginning):
        end = end if end >= 0 else len(beginning)
        name, mark, value = beginning[position:end].decode("latin-1").partition("=")
        position = end + 1
        if not mark:
            break
        fields[name.strip().lower()] = value.strip()
        if name.strip().lower() == "elementdatafile":  # the last field
            return fields, position
    raise bad_header("a MetaImage header without an end")


def _describe(file: StudyFile, fields: dict[str, str], length: int) -> Header:
    count = int(fields["ndims"])
    sizes = tuple(int(size) for size in fields["dimsize"].split())
    if not 2 <= count <= 5 or len(sizes) != count or min(sizes) < 1:
        raise bad_header("sizes that are not positive or not one for each axis")
    if fields.get("binarydata", "true").lower() != "true":
        raise unsupported("values written as text", "save it in binary")
    channels = int(fields.get("elementnumberofchannels", "1"))
    if not 1 <= channels <= 4 or channels == 2:
        raise unsupported(f"{channels} channels", "save each channel as a volume")
    name = fields["elementdatafile"]
    if name.upper().startswith("LIST") or "%" in name:
        raise unsupported("values in several files", "save it as one file")
    local = name.upper() == "LOCAL"
    skipped = 0 if local else int(fields.get("headersize", "0"))
    compressed = fields.get("compresseddata", "false").lower() == "true"
    space = (*sizes, 1)[:3]
    several = math.prod(sizes[3:])
    dtype = _dtype(fields)
    samples = Samples(
        file=file if local else file.sibling(name.removeprefix("./")),
        dtype=dtype,
        shape=(channels, *space) if channels > 1 else space,
        start=length if local else max(skipped, 0) if compressed else 0,
        offset=0 if compressed else skipped,
        compression="zlib" if compressed else "none",
    )
    affine, stated = _affine(fields, count)
    return Header(
        samples=samples,
        channel_axis=0 if channels > 1 else None,
        space_axes=(1, 2, 3) if channels > 1 else (0, 1, 2),
        affine=affine,
        stored_size=samples.size * several,
        hounsfield=fields.get("modality", "").upper() == "MET_MOD_CT",
        warnings=(
            *(() if stated else (ORIENTATION_UNKNOWN,)),
            *((first_volume_used(several),) if several > 1 else ()),
        ),
    )


def _dtype(fields: dict[str, str]) -> np.dtype[Any]:
    name = fields["elementtype"].upper().removesuffix("_ARRAY")
    if name not in _TYPES:
        raise unsupported("values of a type without numbers")
    order = fields.get("binarydatabyteordermsb", fields.get("elementbyteordermsb", "false")).lower()
    return np.dtype(_TYPES[name]).newbyteorder(">" if order in ("true", "1", "yes") else "<")


def _affine(fields: dict[str, str], count: int) -> tuple[NDArray[np.float64], bool]:
    """Return the affine (4, 4) and whether its axes are stated."""
    spacing = np.ones(max(count, 3))
    text = fields.get("elementspacing", fields.get("elementsize", ""))
    if text:
        spacing[:count] = _floats(text, count)
    directions, origin = np.eye(max(count, 3)), np.zeros(max(count, 3))
    matrix = next((fields[name] for name in _MATRIX if name in fields), "")
    if matrix:  # a row for each axis: its direction
        directions[:count, :count] = np.reshape(_floats(matrix, count * count), (count, count)).T
    position = next((fields[name] for name in _ORIGIN if name in fields), "")
    if position:
        origin[:count] = _floats(position, count)
    affine = np.eye(4)
    affine[:3, :3] = directions[:3, :3] * spacing[:3]
    affine[:3, 3] = origin[:3]
    return affine, bool(matrix) and count >= 3


def _floats(text: str, count: int) -> list[float]:
    values = [float(part) for part in text.split()]
    if len(values) != count:
        raise bad_header("numbers that are not one for each axis")
    return values
