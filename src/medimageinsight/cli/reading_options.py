"""Options of how files are read: one image a file, or the images of series and studies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, get_args

import typer

from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from medimageinsight.studies import OnFailure, Study

Level: TypeAlias = Literal["image", "series", "study"]

LevelOption = Annotated[
    str,
    typer.Option(
        "--level",
        metavar="image|series|study",
        help="One result for each image, series or study: a pooled vector of its selected images.",
    ),
]
SelectOption = Annotated[
    str | None,
    typer.Option(
        "--select",
        metavar="WHICH",
        help="Images of a series: all, every:3, even:16, centre:5, mm:-40..60 or frames:0,5,10-19. Default: even:16.",
    ),
]
PoolingOption = Annotated[
    str | None,
    typer.Option(
        "--pooling",
        metavar="NAME",
        help="With --level series or study: mean, median, max, std, or statistics (7 times as long, not for texts).",
    ),
]
PlaneOption = Annotated[
    str | None,
    typer.Option(
        "--plane",
        metavar="axial|coronal|sagittal",
        help="Slices of this plane of volumes, resampled to equal spacing. Default: as they are stored.",
    ),
]
WindowsOption = Annotated[
    str | None,
    typer.Option(
        "--windows",
        metavar="NAME,NAME,...",
        help="Several windows of each image, such as lung,soft-tissue,bone: an image for each of them.",
    ),
]
SlidesOption = Annotated[
    str | None,
    typer.Option(
        "--slides",
        metavar="OPTIONS",
        help="Tiles of slides, such as mpp=1,tile=480,overlap=48,tissue=0.5. Default: mpp=0.5,tile=256,tissue=0.1.",
    ),
]

WindowChannelsOption = Annotated[
    bool,
    typer.Option(
        "--window-channels", help="With three --windows: one image whose red, green and blue are the windows."
    ),
]

OPTIONS: dict[str, tuple[Any, object]] = {
    "level": (LevelOption, "image"),
    "select": (SelectOption, None),
    "pooling": (PoolingOption, None),
    "plane": (PlaneOption, None),
    "windows": (WindowsOption, None),
    "window_channels": (WindowChannelsOption, False),
    "slides": (SlidesOption, None),
}
"""The options that `verbs.register` gives to a verb with a parameter ``reading``: name to annotation and default."""


@dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """How the sources of a call are read.

    Args:
        levels: What a result is of; several only for stores.
        select: Which images of a series are used; None is the default of its kind.
        pooling: How the vectors of a series or study become one; None is the default.
        plane: The plane of slices of volumes.
        windows: Several windows of each image.
        window_channels: Whether three windows are the channels of one image.
        slides: The tiles of slides, see `studies.SlideOptions.parse`; None is the default.
    """

    levels: tuple[Level, ...] = ("image",)
    select: str | None = None
    pooling: str | None = None
    plane: str | None = None
    windows: tuple[str, ...] = ()
    window_channels: bool = False
    slides: str | None = None

    @classmethod
    def parse(
        cls,
        *,
        level: str,
        select: str | None,
        pooling: str | None,
        plane: str | None,
        windows: str | None,
        window_channels: bool,
        slides: str | None,
    ) -> ReadingOptions:
        """Return the checked options of a command line.

        Raises:
            InputError: ``level_unknown``, ``plane_unknown``, ``selection_invalid``, ``pooling_unknown``,
                ``window_invalid``, ``slide_options_invalid``, or ``reading_option_unused`` for a pooling without a
                series.
        """
        from medimageinsight.images import parse_window
        from medimageinsight.studies import Plane, Pooling, SlideOptions, parse_selection

        levels = tuple(dict.fromkeys(name.strip() for name in level.split(",")))
        for name in levels:
            _check_choice("--level", name, get_args(Level), "level_unknown")
        if pooling is not None:
            _check_choice("--pooling", pooling, get_args(Pooling), "pooling_unknown")
            if levels == ("image",):
                raise InputError(
                    "expected --level series or study with --pooling, got images, which are not pooled: add it",
                    code="reading_option_unused",
                )
        if plane is not None:
            _check_choice("--plane", plane, get_args(Plane), "plane_unknown")
        if select is not None:
            select = str(parse_selection(select))
        if slides is not None:
            slides = str(SlideOptions.parse(slides))
        names = tuple(str(parse_window(name.strip())) for name in windows.split(",")) if windows else ()
        if window_channels and len(names) != 3:
            raise InputError(
                f"expected three --windows with --window-channels, one for each channel, got {len(names)}: name three",
                code="window_invalid",
            )
        return cls(
            levels=levels,  # type: ignore[arg-type]  # checked above, as the others are
            select=select,
            pooling=pooling,
            plane=plane,
            windows=names,
            window_channels=window_channels,
            slides=slides,
        )

    @property
    def level(self) -> Level:
        """The level of all results.

        Raises:
            InputError: There are several (``level_unknown``).
        """
        if len(self.levels) > 1:
            raise InputError(
                f"expected one --level, got {len(self.levels)}, which only mi2 index add can store: choose one",
                code="level_unknown",
            )
        return self.levels[0]

    @property
    def reads_studies(self) -> bool:
        """Whether every file is read as a study, not only those of formats with many images."""
        return self != ReadingOptions()

    @property
    def vector_lengths(self) -> int:
        """The length of a result's vector, in lengths of an image's vector."""
        return 7 if self.pooling == "statistics" else 1

    def to_options(self) -> dict[str, object]:
        """Return the options that repeat the call; None for one that was not given."""
        return {
            "--level": None if self.levels == ("image",) else ",".join(self.levels),
            "--select": self.select,
            "--pooling": self.pooling,
            "--plane": self.plane,
            "--windows": ",".join(self.windows) or None,
            "--window-channels": self.window_channels or None,
            "--slides": self.slides,
        }

    def check_frame(self, frame: int) -> None:
        """Refuse ``--frame`` with options that choose frames in another way.

        Raises:
            InputError: ``reading_option_unused``.
        """
        if frame and self.reads_studies:
            raise InputError(
                f"expected --select frames:{frame} to choose a frame of a study, got --frame: replace it",
                code="reading_option_unused",
            )

    def check_comparable(self) -> None:
        """Refuse a pooling whose vectors cannot be compared with those of texts and images.

        Raises:
            InputError: ``pooling_not_comparable``.
        """
        if self.vector_lengths > 1:
            raise InputError(
                "expected a pooling whose vectors can be compared with those of texts and images, got statistics: "
                "choose mean, median or max",
                code="pooling_not_comparable",
            )

    def read(
        self,
        source: Any,  # noqa: ANN401 - anything that is read
        failed: OnFailure,
        others: Callable[[str], None] | None = None,
    ) -> Iterator[Study]:
        """Yield the studies of one source with these options; `others` is called with files that are no images."""
        from medimageinsight import studies

        given: dict[str, Any] = {"select": self.select, "plane": self.plane, "windows": list(self.windows) or None}
        if self.slides is not None:
            given["slides"] = studies.SlideOptions.parse(self.slides)
        options = {name: value for name, value in given.items() if value is not None}
        if self.pooling is not None:
            options["pooling"] = self.pooling
        if self.window_channels:
            options["window_channels"] = True
        return studies.read([source], failed=failed, others=others, **options)


def _check_choice(option: str, value: str, choices: tuple[str, ...], code: str) -> None:
    if value not in choices:
        raise InputError(f"expected {option} to be {', '.join(choices)}, got {value!r}: choose one of them", code=code)
