"""One image of a study, with its origin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from medimageinsight.errors import ImageError
from medimageinsight.images import DeferredImage, FramesUnused, Limits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medimageinsight.images import DecodedImage, WindowSelection
    from medimageinsight.studies.origin import Origin

Decode: TypeAlias = Callable[["WindowSelection | None", "Limits"], "DecodedImage"]
ReadValues: TypeAlias = Callable[["Limits"], "NDArray[Any]"]
Kind: TypeAlias = Literal["image", "frames", "loop", "slices", "volume", "slide"]
"""A single image; frames or pages without an order in space or time; a cine loop; parallel slices with positions in
millimetres; a volume with all three axes in memory; tiles of a slide."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyImage(DeferredImage):
    """One image of a series: a source of `embed_images`, decoded when it is needed.

    Args:
        origin: Where it comes from.
        read: Decodes it with a window (None is the image's own choice) and limits; called from any thread.
        position_mm: The position along the normal of its slices, in millimetres; None where it has none.
        time_ms: The time from the first frame of a loop, or from the R peak, in milliseconds; None if it is unknown.
        read_values: Reads the values before windowing; None for formats without.
    """

    origin: Origin
    read: Decode
    position_mm: float | None = None
    time_ms: float | None = None
    read_values: ReadValues | None = None

    def values(self, *, limits: Limits = Limits()) -> NDArray[Any]:  # noqa: B008 - frozen
        """Return the values (H, W) before windowing, Hounsfield units for CT.

        Raises:
            ImageError: ``image_without_values`` for colour and formats without them; otherwise as `decode`.
        """
        if self.read_values is None:
            raise ImageError(
                "expected an image with values of its own, got one of a format without: use its pixels",
                code="image_without_values",
            )
        return self.read_values(limits)

    def decode(self, *, window: WindowSelection | None, limits: Limits) -> DecodedImage:
        """Return the decoded image."""
        image = self.read(window, limits)
        # It is one of several on purpose, also where it is the first.
        warnings = tuple(warning for warning in image.warnings if not isinstance(warning, FramesUnused))
        return image if len(warnings) == len(image.warnings) else replace(image, warnings=warnings)

    def header_source(self) -> str | None:
        """Return the path of its file, unless that is a member of an archive."""
        return None if self.origin.member else self.origin.path or None
