"""Several windows of each image: as images of their own, or as the three channels of one."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from PIL import Image

from medimageinsight.errors import InputError
from medimageinsight.images import DecodedImage, parse_window, to_rgb
from medimageinsight.studies.warnings import StudyWarning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.images import Limits, WindowLike, WindowSelection
    from medimageinsight.studies.series import Series, Study
    from medimageinsight.studies.study_image import StudyImage

_CHANNELS = 3
_NOT_APPLIED = StudyWarning(
    "windows_not_applied", "the selected windows were not applied: the tiles of a slide are in colour"
)


def parse_windows(windows: Sequence[WindowLike], *, channels: bool) -> tuple[WindowSelection, ...]:
    """Return the selections of a list of windows.

    Raises:
        InputError: ``window_invalid``; ``windows_invalid`` for none, for a window twice, or for other than three that
            are to be the channels of one image.
    """
    selections = tuple(parse_window(window) for window in windows)
    if not selections or len(set(selections)) < len(selections):
        raise InputError("expected a list of different windows, got none or one twice", code="windows_invalid")
    if channels and len(selections) != _CHANNELS:
        raise InputError(
            f"expected three windows for the three channels of an image, got {len(selections)}: name three",
            code="windows_invalid",
        )
    return selections


def with_windows(study: Study, windows: Sequence[WindowSelection], *, channels: bool) -> Study:
    """Return the study with each image once for each window, or with the three windows as its channels."""
    return replace(study, series=tuple(_with_windows(series, windows, channels=channels) for series in study.series))


def with_window(image: StudyImage, text: str) -> StudyImage:
    """Return an image with the windows that its origin states, as text.

    Raises:
        InputError: ``window_invalid``, ``windows_invalid``.
    """
    names = text.split(",")
    selections = parse_windows(names, channels=len(names) > 1)
    return _channels_image(image, selections) if len(selections) > 1 else _window_image(image, selections[0])


def _with_windows(series: Series, windows: Sequence[WindowSelection], *, channels: bool) -> Series:
    if series.kind == "slide":
        return replace(series, warnings=(*series.warnings, _NOT_APPLIED))
    if channels:
        return replace(series, images=[_channels_image(image, windows) for image in series.images])
    images = [_window_image(image, window) for image in series.images for window in windows]
    return replace(series, images=images, windows_per_image=len(windows))


def _window_image(image: StudyImage, window: WindowSelection) -> StudyImage:
    return replace(image, origin=replace(image.origin, window=str(window)), read=partial(_decode, image, window))


def _channels_image(image: StudyImage, windows: Sequence[WindowSelection]) -> StudyImage:
    text = ",".join(map(str, windows))
    return replace(image, origin=replace(image.origin, window=text), read=partial(_decode_channels, image, windows))


def _decode(
    image: StudyImage,
    own: WindowSelection,
    _window: WindowSelection | None,
    limits: Limits,
) -> DecodedImage:
    """Decode an image in its own window, whatever the window of the call is."""
    return image.decode(window=own, limits=limits)


def _decode_channels(
    image: StudyImage,
    own: Sequence[WindowSelection],
    _window: WindowSelection | None,
    limits: Limits,
) -> DecodedImage:
    decoded = [image.decode(window=selection, limits=limits) for selection in own]
    warnings = tuple(dict.fromkeys(warning for part in decoded for warning in part.warnings))
    first = decoded[0]
    if any(part.image.mode != "L" for part in decoded):  # colour, which has no windows
        return replace(first, image=to_rgb(first.image), warnings=warnings)
    merged = Image.merge("RGB", [part.image for part in decoded])
    return DecodedImage(image=merged, orientation=first.orientation, warnings=warnings)
