"""Options of a batch that its output depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from medimageinsight.errors import InputError

BatchLevel: TypeAlias = Literal["image", "series"]

PART_ROWS = 1000  # at most a few minutes of work are lost with a part, and 100 million rows are 100,000 files
MAX_PART_ROWS = 100_000  # the vectors of a part are in memory


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How inputs are read.

    Args:
        level: What a row is of: ``image``, or ``series`` for the pooled vector of a series' selected images.
        select: Images of a series, as `studies.parse_selection`; None is the default of its kind.
        pooling: How the vectors of a series become one; None is the default.
        frame: Index of the frame of multi-frame files.
        window: As in `images.open`; None is the model's own.
        accept_maps: Whether segmentations and other maps are accepted as images.
        path_column: The table's column with paths, URIs or base64; None is ``path``, else ``image``.
        key_column: The table's column with the keys; None is ``key``, else the path.
        root: The folder that the paths of tables and lists are relative to; None is the table's.
        texts: Whether the column ``text`` of tables is embedded too, in a column ``text_embedding``.
        part_rows: Rows of a part.
    """

    level: BatchLevel = "image"
    select: str | None = None
    pooling: str | None = None
    frame: int = 0
    window: str | None = None
    accept_maps: bool = False
    path_column: str | None = None
    key_column: str | None = None
    root: str | None = None
    texts: bool = False
    part_rows: int = PART_ROWS

    def check(self) -> None:
        """Refuse values that cannot be used.

        Raises:
            InputError: ``batch_options_invalid``, ``level_unknown``, or the error of the window or selection.
        """
        from medimageinsight.images import parse_window
        from medimageinsight.studies import Pooling, parse_selection

        if self.level not in get_args(BatchLevel):
            raise InputError(
                f"expected a level of {', '.join(get_args(BatchLevel))}, got {self.level!r}: choose one of them",
                code="level_unknown",
            )
        if not 1 <= self.part_rows <= MAX_PART_ROWS:
            raise InputError(
                f"expected from 1 to {MAX_PART_ROWS:,} rows of a part, got {self.part_rows:,}",
                code="batch_options_invalid",
            )
        if self.level == "image" and (self.select or self.pooling):
            raise InputError(
                "expected --level series with a selection or pooling, got images: add it", code="batch_options_invalid"
            )
        if self.frame < 0 or (self.frame and self.level == "series"):
            raise InputError(
                "expected a frame from 0, of images alone, got another: choose frames of a series with --select",
                code="batch_options_invalid",
            )
        if self.pooling is not None and self.pooling not in get_args(Pooling):
            raise InputError(
                f"expected a pooling of {', '.join(get_args(Pooling))}, got another", code="pooling_unknown"
            )
        if self.select is not None:
            parse_selection(self.select)
        if self.window is not None:
            parse_window(self.window)
