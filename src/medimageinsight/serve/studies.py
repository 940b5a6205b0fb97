"""Files with several images in requests: multi-frame files, volumes and archives; their images and pooled vectors."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from medimageinsight import studies
from medimageinsight.errors import ImageError, InputError
from medimageinsight.serve.caller import count_images
from medimageinsight.studies.files import BEGINNING
from medimageinsight.studies.formats import recognise

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from medimageinsight.images import Limits
    from medimageinsight.preprocess import Preprocessing
    from medimageinsight.serve.batcher import Batcher
    from medimageinsight.serve.image_choice import ImageChoice
    from medimageinsight.serve.job import Ticket

Vector: TypeAlias = "NDArray[np.float32]"  # (D,)

_ONE_IMAGE = ("dicom", "raster", "slide")  # formats that `images.open` reads
FILES_FAILED = "files_failed"


@dataclass(frozen=True, kw_only=True)
class StudyLimits:
    """The limits of each image of a file, and of the number that one row may embed."""

    images: Limits
    max_images: int


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddedPart:
    """One image of a file whose vectors were pooled, with its vector (D,) or its error."""

    series: int  # index in the file
    frame: int  # index in the series
    position_mm: float | None
    result: Vector | InputError


@dataclass(frozen=True, kw_only=True, eq=False)
class PooledVector:
    """One vector (D,) of several images of a file, with theirs."""

    vector: Vector
    parts: tuple[EmbeddedPart, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class ChosenImages:
    """Images of a file, the position of each (series, frame), and codes of warnings about the file."""

    images: tuple[studies.StudyImage, ...]
    positions: tuple[tuple[int, int], ...]
    warnings: frozenset[str]


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenedStudy:
    """The study of a file, and codes of what could not be used."""

    study: studies.Study
    warnings: frozenset[str]
    failed: int  # files of an archive

    @property
    def count(self) -> int:
        """The number of images of all series."""
        return sum(len(series.images) for series in self.study.series)

    def image(self, frame: int) -> studies.StudyImage:
        """Return an image by its index in the file.

        Raises:
            ImageError: ``image_frame_out_of_range``.
        """
        index = frame
        for series in self.study.series:
            if index < len(series.images):
                return series.images[index]
            index -= len(series.images)
        raise ImageError(
            f"expected a frame from 0 to {self.count - 1:,}, got {frame:,}", code="image_frame_out_of_range"
        )


def needs_reader(data: bytes) -> bool:
    """Return whether a file is a volume or an archive, which is no image by itself."""
    return recognise(data[:BEGINNING], "") not in _ONE_IMAGE


def open_study(
    source: bytes | Path,
    limits: Limits,
    *,
    select: str | None = None,
    pooling: studies.Pooling = studies.DEFAULT_POOLING,
) -> OpenedStudy:
    """Return the one study of a file or folder.

    Raises:
        InputError: It cannot be read, or has several studies (``studies_several``).
    """
    errors: list[InputError] = []
    found = list(
        studies.read(
            source, select=select, pooling=pooling, failed=lambda _, error: errors.append(error), limits=limits
        )
    )
    if not found:
        raise errors[0] if errors else ImageError("expected images, got a file without any", code="study_empty")
    if len(found) > 1:
        raise InputError(
            f"expected the images of one study, got those of {len(found):,}: send each by itself",
            code="studies_several",
        )
    warnings = {warning.code for series in found[0].series for warning in series.warnings}
    failed = len(errors) + len(found[0].failed)
    if failed:
        warnings.add(FILES_FAILED)
    return OpenedStudy(study=found[0], warnings=frozenset(warnings), failed=failed)


def check_count(count: int, max_images: int) -> None:
    """Refuse a choice of more images than a request may have.

    Raises:
        InputError: ``study_too_large``.
    """
    if count > max_images:
        raise InputError(
            f"expected at most {max_images:,} images, got {count:,}: choose fewer with select", code="study_too_large"
        )


def choose_images(data: bytes, choice: ImageChoice, limits: StudyLimits) -> ChosenImages:
    """Return the chosen image or images of a file with several.

    Raises:
        InputError: The file or the choice is invalid, or too many images are chosen (``study_too_large``).
    """
    opened = open_study(data, limits.images, select=choice.select)
    if choice.select is None:
        return ChosenImages(
            images=(opened.image(choice.frame),), positions=((0, choice.frame),), warnings=opened.warnings
        )
    series = opened.study.series
    positions = [(number, frame) for number, part in enumerate(series) for frame in part.selected_indices()]
    check_count(len(positions), limits.max_images)
    images = tuple(series[number].images[frame] for number, frame in positions)
    return ChosenImages(images=images, positions=tuple(positions), warnings=opened.warnings)


async def embed_chosen(
    batcher: Batcher,
    ticket: Ticket,
    data: bytes,
    choice: ImageChoice,
    settings: Preprocessing,
    limits: StudyLimits,
) -> Vector | PooledVector:
    """Embed the chosen image or images of a file; errors as `Batcher.submit_image` and `choose_images`.

    Raises:
        Rejection: 429, as `Batcher.admit`.
    """
    if choice.select is None and not needs_reader(data):
        return await batcher.submit_image(ticket, data, settings, frame=choice.frame, window=choice.window)
    chosen = await batcher.submit_call(ticket, partial(choose_images, data, choice, limits))
    ticket.warnings |= chosen.warnings
    further = len(chosen.images) - 1
    count_images(further)
    with batcher.admit(further):
        submit = partial(batcher.submit_image, ticket, settings=settings, window=choice.window)
        results = await asyncio.gather(*map(submit, chosen.images), return_exceptions=True)
    return pool_results(chosen, results, choice)


def pool_results(chosen: ChosenImages, results: Sequence[Any], choice: ImageChoice) -> Vector | PooledVector:
    """Return the vector of a single image, else one of all results, which are vectors (D,) or errors.

    Raises:
        InputError: No image can be used: the error of the first.
        BaseException: The first result that is another error.
    """
    usable = []
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, InputError):
            raise result
        if not isinstance(result, InputError):
            usable.append(result)
    if not usable:
        raise results[0]
    if choice.select is None:
        vector: Vector = usable[0]
        return vector
    parts = tuple(
        EmbeddedPart(series=number, frame=frame, position_mm=image.position_mm, result=result)
        for (number, frame), image, result in zip(chosen.positions, chosen.images, results, strict=True)
    )
    return PooledVector(vector=studies.pool(np.stack(usable), choice.pooling), parts=parts)
