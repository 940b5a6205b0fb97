"""Read the headers of NIfTI-1, NIfTI-2 and Analyze files with nibabel."""

from __future__ import annotations

import gzip
import logging
import math
import zlib
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from medimageinsight.errors import ImageError, missing_extra
from medimageinsight.studies.volumes.errors import bad_header, data_missing, truncated, unsupported
from medimageinsight.studies.volumes.geometry import FROM_RAS, check_affine
from medimageinsight.studies.volumes.header import ORIENTATION_UNKNOWN, Header, first_volume_used
from medimageinsight.studies.volumes.samples import Samples

if TYPE_CHECKING:
    from nibabel.analyze import AnalyzeHeader
    from numpy.typing import NDArray

    from medimageinsight.studies.files import StudyFile

_GZIP = b"\x1f\x8b"
_HEADER_BYTES = 540  # of NIfTI-2; NIfTI-1 has 348
_COLOURS = {3: ("R", "G", "B"), 4: ("R", "G", "B", "A")}

_quiet = logging.Logger("nibabel", level=logging.CRITICAL + 1)  # for what nibabel repairs


def matches(beginning: bytes) -> bool:
    """Return whether the bytes begin as a NIfTI header, or as an Analyze header of plausible axes."""
    sizes = {int.from_bytes(beginning[:4], order) for order in ("little", "big")}
    if 540 in sizes:
        return beginning[4:8] in (b"n+2\0", b"ni2\0")
    if 348 not in sizes or len(beginning) < 348:
        return False
    if beginning[344:348] in (b"n+1\0", b"ni1\0"):
        return True
    axes = {int.from_bytes(beginning[40:42], order) for order in ("little", "big")}
    return beginning[38:39] == b"r" and bool(axes & {2, 3, 4, 5})  # the field "regular" of Analyze 7.5


def read_header(file: StudyFile) -> Header:
    """Return the header of a file.

    Raises:
        ImageError: ``volume_bad_header``, ``volume_truncated``, ``volume_unsupported``, ``volume_data_missing``.
        MissingExtraError: Without nibabel.
    """
    with file.open() as opened:
        beginning = opened.read(2)
        opened.seek(0)
        compressed = beginning == _GZIP
        try:
            stream = gzip.GzipFile(fileobj=opened) if compressed else opened
            data = stream.read(_HEADER_BYTES)
        except (EOFError, OSError, zlib.error):
            raise truncated() from None
    header, magic = _parse(data)
    try:
        return _describe(file, header, magic, compressed=compressed)
    except ImageError:
        raise
    except (ValueError, OverflowError, TypeError, KeyError):  # nibabel's HeaderDataError is none of them
        raise bad_header("values that contradict each other") from None


def _parse(data: bytes) -> tuple[AnalyzeHeader, bytes]:
    """Return nibabel's header, repaired where nibabel can, and the magic bytes; empty for Analyze."""
    try:
        from nibabel.nifti1 import Nifti1Header
        from nibabel.nifti2 import Nifti2Header
        from nibabel.spm2analyze import Spm2AnalyzeHeader
    except ImportError:
        raise missing_extra("volumes", "reading NIfTI") from None
    if data[4:7] in (b"n+2", b"ni2"):
        kind, magic, size = Nifti2Header, data[4:7], 540
    elif data[344:347] in (b"n+1", b"ni1"):
        kind, magic, size = Nifti1Header, data[344:347], 348
    else:
        kind, magic, size = Spm2AnalyzeHeader, b"", 348
    if len(data) < size:
        raise truncated()
    try:
        header = cast("Any", kind)(data[:size], check=False)
        header.check_fix(logger=_quiet, error_level=100)
    except Exception:  # whatever nibabel raises for a damaged header
        raise bad_header("a NIfTI header that cannot be read") from None
    return header, magic


def _describe(file: StudyFile, header: AnalyzeHeader, magic: bytes, *, compressed: bool) -> Header:
    from nibabel.spatialimages import HeaderDataError

    try:
        dtype = header.get_data_dtype()
        shape = tuple(int(size) for size in header.get_data_shape())
        slope, inter = header.get_slope_inter()
        affine = np.asarray(header.get_best_affine(), np.float64)
        slice_axis = header.get_dim_info()[2] if magic else None
    except HeaderDataError:
        raise bad_header("values that contradict each other") from None
    if not shape or min(shape) < 1:
        raise bad_header("sizes below 1")
    channels = _channels(dtype)
    data_file = file if magic in (b"n+1", b"n+2") else _pair(file)
    space = (*shape, 1, 1)[:3]
    several = math.prod(shape[3:])
    value = np.dtype(np.uint8) if channels else dtype
    samples = Samples(
        file=data_file,
        dtype=value,
        shape=((channels, *space) if channels else space),
        offset=int(header["vox_offset"]),
        compression="gzip" if (compressed if data_file is file else _is_gzip(data_file)) else "none",
    )
    stated = bool(magic) and (int(header["qform_code"]) > 0 or int(header["sform_code"]) > 0)
    return Header(
        samples=samples,
        channel_axis=0 if channels else None,
        space_axes=(1, 2, 3) if channels else (0, 1, 2),
        affine=FROM_RAS @ check_affine(affine),
        stored_size=samples.size * several,
        slice_axis=slice_axis,
        scale=partial(_scale, slope=1.0 if slope is None else slope, inter=0.0 if inter is None else inter),
        warnings=(
            *(() if stated else (ORIENTATION_UNKNOWN,)),
            *((first_volume_used(several),) if several > 1 else ()),
        ),
    )


def _scale(values: NDArray[Any], *, slope: float, inter: float) -> NDArray[Any]:
    """Return values as nibabel's ``dataobj`` has them; those of a colour are never scaled."""
    from nibabel.volumeutils import apply_read_scaling

    if values.ndim > 2 or not np.isfinite([slope, inter]).all() or slope == 0:
        return values
    scaled: NDArray[Any] = apply_read_scaling(values, slope, inter)
    return scaled


def _channels(dtype: np.dtype[Any]) -> int:
    """Return the number of channels of a colour, 0 for grey."""
    if dtype.fields is None:
        return 0
    for count, names in _COLOURS.items():
        if dtype.names == names:
            return count
    raise unsupported("values of several parts that are no RGB")


def _pair(file: StudyFile) -> StudyFile:
    """Return the ``.img`` file of a ``.hdr`` file."""
    name = file.name.replace("\\", "/").rpartition("/")[2]
    for ending, image in ((".hdr", ".img"), (".hdr.gz", ".img.gz"), (".HDR", ".IMG")):
        if name.endswith(ending):
            return file.sibling(name.removesuffix(ending) + image)
    raise data_missing()


def _is_gzip(file: StudyFile) -> bool:
    with file.open() as opened:
        return opened.read(2) == _GZIP
