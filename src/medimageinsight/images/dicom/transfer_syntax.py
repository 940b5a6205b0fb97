"""Recognise the transfer syntaxes that can be decoded (PS3.5 10)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from medimageinsight.errors import ImageError
from medimageinsight.images.dicom.elements import texts

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.uid import UID

_JPEG_FAMILY = "1.2.840.10008.1.2.4."
# JPEG, with its retired processes, lossless JPEG, JPEG-LS, JPEG 2000, high-throughput JPEG 2000
_JPEG_FAMILY_MEMBERS = frozenset(map(str, (*range(50, 67), 70, 80, 81, *range(90, 94), *range(201, 204))))


def transfer_syntax(dataset: Dataset) -> UID:
    """Return the dataset's transfer syntax; without one, the uncompressed syntax that it was parsed with.

    Raises:
        ImageError: ``image_is_video``; ``image_unsupported`` for other syntaxes that cannot be decoded.
    """
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

    meta = getattr(dataset, "file_meta", None)
    stated = next(iter(texts(meta, "TransferSyntaxUID")), "") if meta else ""
    if not stated:
        _, little_endian = dataset.original_encoding
        return ExplicitVRBigEndian if little_endian is False else ExplicitVRLittleEndian
    return _check(stated)


@lru_cache(maxsize=100)
def _check(stated: str) -> UID:
    from pydicom.uid import UID, MPEGTransferSyntaxes, RLELossless

    syntax = UID(stated)
    if syntax in MPEGTransferSyntaxes or "Video" in syntax.name:
        raise _video(syntax)
    family, _, member = syntax.rpartition(".")
    if syntax == RLELossless or (f"{family}." == _JPEG_FAMILY and member in _JPEG_FAMILY_MEMBERS):
        return syntax
    if not syntax.is_transfer_syntax or syntax.is_encapsulated:
        raise _unsupported(syntax)
    return syntax


def _video(syntax: UID) -> ImageError:
    return ImageError(
        f"expected a DICOM image, got a video ({syntax.name}), whose frames are not compressed one by one: "
        "extract its frames with a video tool such as ffmpeg and use those",
        code="image_is_video",
    )


def _unsupported(syntax: UID) -> ImageError:
    # Only a name from the standard is reported, never the text of the file.
    name = "a private or unknown transfer syntax" if syntax.name == str(syntax) else syntax.name
    return ImageError(
        f"expected a transfer syntax that can be decoded here, got {name}: "
        "convert the file to Explicit VR Little Endian",
        code="image_unsupported",
    )
