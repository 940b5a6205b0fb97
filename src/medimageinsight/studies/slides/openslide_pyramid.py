"""Slides that tiffslide does not read and OpenSlide does, such as MIRAX and Ventana, where OpenSlide is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from medimageinsight.studies.slides.pyramid import Pyramid, extra_missing, make_levels, slide_errors, unsupported
from medimageinsight.studies.slides.tiff import excluded_images

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def has_openslide() -> bool:
    """Return whether openslide-python and its library are installed."""
    try:
        import openslide  # noqa: F401
    except (ImportError, OSError):  # OSError: the library itself is missing
        return False
    return True


class OpenSlidePyramid(Pyramid):
    """A slide that OpenSlide reads."""

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            ImageError: ``slide_damaged``, ``slide_unsupported``, ``slide_extra_missing``, ``slide_too_large``.
        """
        try:
            import openslide
        except (ImportError, OSError):
            raise extra_missing("openslide", "reading this format of slides") from None
        with slide_errors():
            try:
                self._slide = openslide.OpenSlide(str(path))
            except openslide.OpenSlideUnsupportedFormatError:
                raise unsupported("a format that OpenSlide does not know either") from None
            properties = self._slide.properties
            self.levels = make_levels(self._slide.level_dimensions)
            self.vendor = properties.get("openslide.vendor", "")
            x, y = (_number(properties.get(f"openslide.mpp-{axis}")) for axis in "xy")
            self.stated_resolution = (x, y) if x and y else None
            self.objective_power = _number(properties.get("openslide.objective-power"))
            if names := sorted(self._slide.associated_images):
                self.warnings = (excluded_images(names),)

    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Return pixels of a level; transparent parts are white."""
        with slide_errors():
            factor = self._slide.level_downsamples[level]
            corner = (round(x * factor), round(y * factor))
            pixels = self._slide.read_region(corner, level, (width, height))
            white = Image.new("RGBA", pixels.size, (255, 255, 255, 255))
            return np.array(Image.alpha_composite(white, pixels).convert("RGB"))

    def close(self) -> None:
        """Close the file."""
        self._slide.close()


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 < number < float("inf") else None
