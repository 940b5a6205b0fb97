"""The result of decoding one frame, and the ways in which its data fall short."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medimageinsight.errors import ImageError
from medimageinsight.images.decoded import ImageWarning

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredPixels:
    """The stored values of one frame."""

    values: NDArray[Any]  # (H, W), or (H, W, 3) for RGB
    photometric: str  # photometric interpretation of the values; YBR is converted to RGB
    bits: int  # stored, of a sample
    warnings: tuple[ImageWarning, ...] = ()


def header_overruled(header: str, pixel_data: str) -> ImageWarning:
    """Return the warning that the header and the pixel data contradict each other and the pixel data were followed."""
    return ImageWarning("header_overruled", f"the header states {header}, the pixel data have {pixel_data}")


def damaged() -> ImageError:
    """Return the error for pixel data that end early or cannot be decoded."""
    return ImageError(
        "expected a whole DICOM image, got one whose pixel data is cut off or damaged: copy it again from its source",
        code="image_truncated",
    )
