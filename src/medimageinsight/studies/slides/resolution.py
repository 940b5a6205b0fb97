"""The resolution of a slide, from its file or its objective."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.studies.warnings import StudyWarning

if TYPE_CHECKING:
    from medimageinsight.studies.slides.pyramid import Pyramid

_PLAUSIBLE = (
    0.02,
    60.0,
)  # microns per pixel of a scan; TIFF files often state 72 to 300 dots per inch, which are 85 to 353
_MICRONS_AT_1X = 10.0  # of a pixel, by convention: 0.25 at 40x, 0.5 at 20x


def find_resolution(pyramid: Pyramid) -> tuple[tuple[float, float] | None, tuple[StudyWarning, ...]]:
    """Return microns per pixel of the highest resolution, (horizontal, vertical) or None, and warnings about them."""
    low, high = _PLAUSIBLE
    stated = pyramid.stated_resolution
    if stated is not None and all(low <= value <= high for value in stated):
        return stated, ()
    problem = "states no resolution" if stated is None else f"states {stated[0]:g} µm per pixel, which no scan has"
    if pyramid.objective_power and low <= (value := _MICRONS_AT_1X / pyramid.objective_power) <= high:
        text = f"the slide {problem}: {value:g} µm per pixel were assumed from its objective"
        return (value, value), (StudyWarning("slide_resolution_assumed", text),)
    text = f"the slide {problem}, and no objective: its highest resolution was used"
    return None, (StudyWarning("slide_resolution_unknown", text),)
