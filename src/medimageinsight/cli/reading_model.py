"""A model for tables: each row's file or folder becomes one image, series or study."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, cast

from medimageinsight.cli.used_images import (
    RecordedGroup,
    RecordedImage,
    UsedImages,
    describe,
    failed_image,
    print_used,
)
from medimageinsight.errors import InputError
from medimageinsight.images import Limits, read_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from medimageinsight.api import MedImageInsight
    from medimageinsight.cli.reading_options import ReadingOptions
    from medimageinsight.images import DecodedImage, Source, WindowSelection
    from medimageinsight.studies import Series, Study


class ReadingModel:
    """A local model whose images are what `reading` makes of the paths of a table; it prints which were used.

    All other attributes are the model's.
    """

    def __init__(self, model: MedImageInsight, reading: ReadingOptions) -> None:
        self._model = model
        self._reading = reading

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - of the model
        return getattr(self._model, name)

    def embed_images(
        self,
        sources: Iterable[Path | bytes | BinaryIO],
        /,
        *,
        errors: Literal["return"] = "return",
        progress: Callable[[int], None] | None = None,
        **options: Any,  # noqa: ANN401 - those of the model
    ) -> list[NDArray[np.float32] | InputError]:
        """Return the embedding (D,) of each row, or its error."""
        names: list[str] = []
        used: list[UsedImages] = []
        opened = self._open(sources, names, used)
        results = self._model.embed_images(opened, errors=errors, progress=progress, **options)
        print_used(names, used)
        return results

    def _open(
        self, sources: Iterable[Path | bytes | BinaryIO], names: list[str], recorded: list[UsedImages]
    ) -> Iterator[Source]:
        for source in sources:
            used = UsedImages()
            name = os.fspath(source) if isinstance(source, str | os.PathLike) else ""
            opened = self._open_study(source, used) if self._reading.reads_studies else _open_image(source, used)
            names.append(name)
            recorded.append(used)
            yield opened

    def _open_study(self, source: Path | bytes | BinaryIO, used: UsedImages) -> Source:
        failures: list[InputError] = []
        given = os.fspath(source) if isinstance(source, str | os.PathLike) else read_source(source, Limits())
        found = list(self._reading.read(given, lambda _, error: failures.append(error)))
        groups: Sequence[Series] | Sequence[Study] = found
        if self._reading.level == "series":
            groups = [part for study in found for part in study.series]
        if len(groups) != 1:
            error = InputError(
                f"expected one {self._reading.level} in a row of the table, got {len(groups)}: name them one by one",
                code="study_several",
            )
            return failed_image("", failures[0] if failures and not groups else error)
        (group,) = groups
        described = describe(group, self._reading.select, self._reading.pooling)
        used.__dict__.update(described.__dict__)
        used.header = group.header_source()
        return RecordedGroup(group, used)


def reading_model(model: MedImageInsight, reading: ReadingOptions) -> MedImageInsight:
    """Return a model that embeds the rows of a table as `reading` reads them.

    Raises:
        InputError: The results would not be one for each row (``reading_option_unused``).
    """
    if reading.level == "image" and reading.reads_studies:
        raise InputError(
            "expected --level study with the other options of reading, as each row of a table has one vector, got "
            "images: add it",
            code="reading_option_unused",
        )
    return cast("MedImageInsight", ReadingModel(model, reading))


def _open_image(source: Path | bytes | BinaryIO, used: UsedImages) -> RecordedImage:
    from medimageinsight import images

    def decode(window: WindowSelection | None, limits: Limits) -> DecodedImage:
        return images.open(source, window=window, limits=limits)

    return RecordedImage("", decode, used)
