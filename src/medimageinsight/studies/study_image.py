"""One image of a study, with its origin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from medimageinsight.images import DeferredImage

if TYPE_CHECKING:
    from medimageinsight.images import DecodedImage, Limits, WindowSelection
    from medimageinsight.studies.origin import Origin

Decode: TypeAlias = Callable[["WindowSelection | None", "Limits"], "DecodedImage"]
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
    """

    origin: Origin
    read: Decode
    position_mm: float | None = None

    def decode(self, *, window: WindowSelection | None, limits: Limits) -> DecodedImage:
        """Return the decoded image."""
        return self.read(window, limits)
