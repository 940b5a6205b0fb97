"""The levels of a slide, whatever library reads them, and the errors of all of these."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medimageinsight.errors import ImageError, missing_extra
from medimageinsight.images.decoder_warnings import suppress_decoder_warnings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from medimageinsight.studies.warnings import StudyWarning

_MAX_SIDE = 1 << 24


@dataclass(frozen=True)
class SlideLevel:
    """One resolution of a slide.

    Args:
        width: In pixels.
        height: In pixels.
        downsample: Pixels of the highest resolution for one of this.
    """

    width: int
    height: int
    downsample: float


class Pyramid(ABC):
    """An open slide; all methods may be called from several threads at once.

    Attributes:
        levels: The highest resolution first.
        stated_resolution: Microns per pixel of the highest resolution, (horizontal, vertical), as the file states them;
            None where it states none.
        objective_power: The magnification of the objective, None where it is not stated.
        vendor: The format or maker, for information.
        warnings: Defects that did not prevent its use.
        base: The index of the file with the highest resolution, among those that it was opened with.
    """

    levels: Sequence[SlideLevel]
    stated_resolution: tuple[float, float] | None = None
    objective_power: float | None = None
    vendor: str = ""
    warnings: tuple[StudyWarning, ...] = ()
    base: int = 0

    @abstractmethod
    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Return pixels (height, width, 3) RGB of a level, in its own coordinates, within its bounds.

        Parts that the file does not store are white.

        Raises:
            ImageError: They cannot be decoded.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the files."""

    def best_level(self, downsample: float) -> int:
        """Return the coarsest level that has at least the resolution of a downsampling, within one per cent."""
        fitting = [index for index, level in enumerate(self.levels) if level.downsample <= downsample * 1.01]
        return max(fitting, key=lambda index: self.levels[index].downsample, default=0)


def make_levels(sizes: Sequence[tuple[int, int]]) -> list[SlideLevel]:
    """Return the levels of their widths and heights, the highest resolution first.

    Raises:
        ImageError: ``slide_damaged``, ``slide_too_large``.
    """
    if not sizes or min(map(min, sizes)) < 1:
        raise damaged()
    width, height = sizes[0]
    if max(width, height) > _MAX_SIDE:
        raise ImageError(
            f"expected a slide of at most {_MAX_SIDE:,} pixels a side, got {width:,} x {height:,}: "
            "check that the file is whole",
            code="slide_too_large",
        )
    return [SlideLevel(w, h, (width / w + height / h) / 2) for w, h in sizes]


@contextmanager
def slide_errors() -> Iterator[None]:
    """Turn whatever a library raises inside the block into an `ImageError`, and suppress its warnings."""
    try:
        with suppress_decoder_warnings():
            yield
    except ImageError:
        raise
    except MemoryError:
        raise ImageError(
            "expected a slide whose parts fit in memory, got one that does not fit: check that the file is whole",
            code="slide_too_large",
        ) from None
    except NotImplementedError:
        raise unsupported("channels, focal planes or pixels of another kind") from None
    except Exception:  # the libraries' messages quote values of the file: none is repeated
        raise damaged() from None


def damaged() -> ImageError:
    """Return the error for a slide that ends too early or contradicts itself."""
    return ImageError(
        "expected a whole slide, got one that is cut off or damaged: copy it again from its source",
        code="slide_damaged",
    )


def unsupported(got: str) -> ImageError:
    """Return the error for a valid slide of a kind that is not read."""
    return ImageError(
        f"expected a slide of 8-bit grey or RGB pixels in a known compression, got {got}: "
        "convert it, for example to an OME-TIFF with JPEG tiles",
        code="slide_unsupported",
    )


def extra_missing(extra: str, purpose: str) -> ImageError:
    """Return the error for a slide that needs an optional dependency; other files can still be read."""
    return ImageError(missing_extra(extra, purpose).message, code="slide_extra_missing")
