"""Errors of volumes."""

from __future__ import annotations

from medimageinsight.errors import ImageError


def bad_header(got: str) -> ImageError:
    """Return the error for a header that contradicts itself or cannot be read."""
    return ImageError(
        f"expected the header of a volume, got {got}: check that the file is whole and opens in a viewer",
        code="volume_bad_header",
    )


def unsupported(got: str, advice: str = "convert it to NIfTI with integers or floats") -> ImageError:
    """Return the error for a valid volume of a flavour that is not read."""
    return ImageError(f"expected a volume of integers, floats or RGB, got {got}: {advice}", code="volume_unsupported")


def truncated() -> ImageError:
    """Return the error for values that end early or are damaged."""
    return ImageError(
        "expected all values that the header of the volume states, got data that ends early or is damaged: "
        "copy the file again from its source",
        code="volume_truncated",
    )


def too_large(count: int, maximum: int) -> ImageError:
    """Return the error for a volume that exceeds the limits by its header."""
    return ImageError(
        f"expected a volume of at most {maximum:,} bytes, got {count:,}: crop it, store it with fewer bits or raise "
        "the limit",
        code="volume_too_large",
    )


def data_missing() -> ImageError:
    """Return the error for a header whose detached data file does not exist."""
    return ImageError(
        "expected the data file that the header of the volume names in the same folder, got none: "
        "copy both files together",
        code="volume_data_missing",
    )


def data_outside() -> ImageError:
    """Return the error for a header that names a data file elsewhere."""
    return ImageError(
        "expected a header whose data file is in the same folder, got the path of another folder: "
        "copy the data next to the header and correct the name in it",
        code="volume_data_outside",
    )


def plane_not_applicable(got: str) -> ImageError:
    """Return the error for images that cannot be reformatted to a plane."""
    return ImageError(
        f"expected a volume, or parallel slices of one size at equal distances, for a plane, got {got}: "
        "read it without a plane",
        code="plane_not_applicable",
    )
