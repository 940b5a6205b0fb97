"""The choice of images of a file: one of its frames, or several whose vectors are pooled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medimageinsight.errors import RequestError
from medimageinsight.studies import DEFAULT_POOLING

if TYPE_CHECKING:
    from medimageinsight.studies import Pooling


@dataclass(frozen=True, kw_only=True)
class ImageChoice:
    """Which images of a file are embedded; hashable.

    Args:
        frame: The index of a single image, without `select`.
        window: As in `Preprocessing`, which it overrides.
        select: As in `studies.parse_selection`: the vectors of the chosen images are pooled.
        pooling: As in `studies.pool`.
    """

    frame: int = 0
    window: str | None = None
    select: str | None = None
    pooling: Pooling = DEFAULT_POOLING


FIRST_IMAGE = ImageChoice()


def check_choice(frame: object, select: object, pooling: object) -> None:
    """Refuse members of a request that contradict each other; 0 and None are absent.

    Raises:
        RequestError: ``selection_invalid``.
    """
    if frame and select is not None:
        raise RequestError("expected 'frame' or 'select', got both: leave one out", code="selection_invalid")
    if pooling is not None and select is None:
        raise RequestError("expected 'select' with 'pooling', got 'pooling' alone: add it", code="selection_invalid")
