"""Results of embedding, and the vectors of groups of images among single ones."""

from __future__ import annotations

from collections import deque
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.images import DeferredImage, ImageGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from medimageinsight.images import ImageWarning, Source


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddedImages:
    """The images of a group and their vectors, which were pooled.

    Attributes:
        images: Those that the group selected, in order.
        embeddings: (n, D) float32, of those that can be used.
        indices: Position in `images` of each embedding.
        errors: Position in `images` to the error of an image that cannot be used.
    """

    images: Sequence[DeferredImage]
    embeddings: NDArray[np.float32]
    indices: tuple[int, ...]
    errors: Mapping[int, InputError] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddedSource:
    """The embedding or the error of one source; the other of the two is None."""

    index: int  # position of the source, from 0
    embedding: NDArray[np.float32] | None = None  # (D,), L2-normalised
    error: InputError | None = None
    warnings: tuple[ImageWarning, ...] = ()  # defects of the file that did not prevent its use
    parts: EmbeddedImages | None = None  # of a group, such as a study, whose embedding is theirs pooled


class _Group:
    """Results of a group's images so far."""

    def __init__(self, group: ImageGroup, images: Sequence[DeferredImage]) -> None:
        self._group = group
        self._images = images
        self._done = 0
        self._embeddings: dict[int, NDArray[np.float32]] = {}
        self._errors: dict[int, InputError] = {}
        self._warnings: dict[ImageWarning, None] = {}  # each once, in order

    def add(self, result: EmbeddedSource) -> bool:
        """Add the result of the next image; return whether it was the last."""
        if result.embedding is not None:
            self._embeddings[self._done] = result.embedding
        elif result.error is not None:
            self._errors[self._done] = result.error
        self._warnings |= dict.fromkeys(result.warnings)
        self._done += 1
        return self._done == len(self._images)

    def result(self, index: int) -> EmbeddedSource:
        """Return the result of the group, whose images are all done; an error if none of them can be used."""
        if not self._embeddings:
            return EmbeddedSource(index=index, error=next(iter(self._errors.values())))
        embeddings = np.stack(list(self._embeddings.values()))
        parts = EmbeddedImages(
            images=self._images, embeddings=embeddings, indices=tuple(self._embeddings), errors=self._errors
        )
        pooled = self._group.pool(embeddings)
        return EmbeddedSource(index=index, embedding=pooled, warnings=tuple(self._warnings), parts=parts)


def stream_groups(
    stream: Callable[[Iterable[Source]], Generator[EmbeddedSource]], sources: Iterable[Source]
) -> Generator[EmbeddedSource]:
    """Yield the result of each source, that of a group pooled, on top of a function that embeds single images.

    The images of all sources go through one call of `stream`, so that its batches are full. A group without a usable
    image has the error of its first.
    """
    plan: deque[InputError | _Group | None] = deque()  # for each source that was read; None is a single image

    def flatten() -> Iterator[Source]:
        for source in sources:
            if not isinstance(source, ImageGroup):
                plan.append(None)
                yield source
                continue
            try:
                images = _select(source)
            except InputError as error:
                plan.append(error)
            else:
                plan.append(_Group(source, images))
                yield from images

    index = 0
    with closing(stream(flatten())) as results:
        for result in results:
            while isinstance(plan[0], InputError):
                yield EmbeddedSource(index=index, error=plan.popleft())  # type: ignore[arg-type]
                index += 1
            entry = plan[0]
            if entry is not None and not entry.add(result):
                continue
            plan.popleft()
            yield replace(result, index=index) if entry is None else entry.result(index)
            index += 1
    for error in plan:  # of groups after the last image
        yield EmbeddedSource(index=index, error=error)  # type: ignore[arg-type]
        index += 1


def _select(group: ImageGroup) -> Sequence[DeferredImage]:
    images = group.selected()
    if not images:
        raise InputError("expected a study with at least one image, got none", code="study_empty")
    return images
