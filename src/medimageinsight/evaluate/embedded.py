"""A table's pictures and captions as vectors: embedded once, and scored in many ways."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from medimageinsight.datasets.table import broken_images
from medimageinsight.errors import ImageError, InputError
from medimageinsight.evaluate.zeroshot import caption_prompts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from medimageinsight.datasets import Sample, Table
    from medimageinsight.metrics.scores import Integers

_CHUNK = 256  # pictures at a time: those that lie in a file of many are read into memory


class Model(Protocol):
    """What an evaluation asks of a model; ``MedImageInsight`` is one."""

    @property
    def logit_scale(self) -> float:
        """Logarithm of the factor on cosine similarities."""

    def embed_images(
        self, sources: Sequence[Path | bytes], /, *, errors: Literal["return"], progress: Callable[[int], None] | None
    ) -> list[NDArray[np.float32] | InputError]:
        """For each source (D,) float32, L2-normalised, or its error."""

    def embed_texts(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """(N, D) float32, L2-normalised."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddedTable:
    """A table seen by one model.

    Attributes:
        table: All its splits.
        images: (N, D) float32, L2-normalised, one for each picture of ``table`` in order.
        prompts: P texts, the table's distinct captions.
        prompt_embeddings: (P, D) float32, L2-normalised.
        logit_scale: A logarithm.
    """

    table: Table
    images: NDArray[np.float32]
    prompts: tuple[str, ...]
    prompt_embeddings: NDArray[np.float32]
    logit_scale: float

    def rows_of(self, split: str | None) -> Integers:
        """The places in the table of the pictures of one split, of all for None."""
        return np.flatnonzero([split is None or sample.split == split for sample in self.table])


def embed_table(model: Model, table: Table, *, progress: Callable[[int], None] | None = None) -> EmbeddedTable:
    """Embeds every picture and every distinct caption of a table.

    Raises:
        DatasetError: Pictures cannot be read (``dataset_broken_images``).
    """
    prompts = caption_prompts(table)
    return EmbeddedTable(
        table=table,
        images=embed_samples(model, table, table.samples, progress=progress),
        prompts=prompts,
        prompt_embeddings=model.embed_texts(prompts),
        logit_scale=model.logit_scale,
    )


def embed_samples(
    model: Model, table: Table, samples: Sequence[Sample], *, progress: Callable[[int], None] | None = None
) -> NDArray[np.float32]:
    """(N, D) float32 of some pictures of a table; one error names all that cannot be read."""
    vectors: list[NDArray[np.float32]] = []
    problems: dict[Path, InputError] = {}
    for start in range(0, len(samples), _CHUNK):
        some = samples[start : start + _CHUNK]
        report = None if progress is None else lambda done, start=start: progress(start + done)
        opened = [_open(sample) for sample in some]
        given = [one for one in opened if not isinstance(one, ImageError)]
        embedded = iter(model.embed_images(given, errors="return", progress=report))
        for sample, one in zip(some, opened, strict=True):
            result = one if isinstance(one, ImageError) else next(embedded)
            if isinstance(result, InputError):
                problems[Path(table.place(sample))] = result
            else:
                vectors.append(result)
    if problems:
        raise broken_images(problems)
    return np.stack(vectors)


def _open(sample: Sample) -> Path | bytes | ImageError:
    try:
        return sample.picture()
    except ImageError as error:
        return error
