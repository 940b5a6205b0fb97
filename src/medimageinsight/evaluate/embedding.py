"""Images and captions of a table as vectors, embedded once and scored in many ways, and sets of embeddings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from medimageinsight.datasets import broken_images, patient_ids, read_patient, read_vectors, with_dicom_patients
from medimageinsight.errors import ImageError, InputError
from medimageinsight.evaluate.prompt_set import PromptSet, caption_prompts, select_prompts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from medimageinsight.bundle import VectorIdentity
    from medimageinsight.datasets import Sample, Table
    from medimageinsight.metrics.scores import Integers

_CHUNK = 256  # images at a time: images stored together in one file are read into memory


class Model(Protocol):
    """The methods of a model that an evaluation calls; ``MedImageInsight`` has them."""

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
    """A table embedded by one model.

    Attributes:
        table: All its splits.
        images: (N, D) float32, L2-normalised, one for each image of ``table`` in order.
        prompts: P prompts; or P texts, the table's distinct captions, see `select_prompts`.
        prompt_embeddings: (P, D) float32, L2-normalised.
        logit_scale: A logarithm.
    """

    table: Table
    images: NDArray[np.float32]
    prompts: tuple[str, ...] | PromptSet
    prompt_embeddings: NDArray[np.float32]
    logit_scale: float

    @property
    def prompt_set(self) -> PromptSet:
        """The prompts with the classes that they name."""
        if isinstance(self.prompts, PromptSet):
            return self.prompts
        return PromptSet(rows=self.table.samples, source="the captions of the table")

    def rows_of(self, split: str | None) -> Integers:
        """Return the table rows of one split, of all splits for None: (n,) int."""
        return np.flatnonzero([split is None or sample.split == split for sample in self.table])

    def with_prompts_for(self, split: str | None) -> EmbeddedTable:
        """Return the same table without prompts that are captions of images to score only.

        Raises:
            InputError: As `select_prompts`.
        """
        prompts, embeddings = select_prompts(self.prompts, self.prompt_embeddings, self.table, split)
        return replace(self, prompts=prompts, prompt_embeddings=embeddings)


def embed_table(
    model: Model,
    table: Table,
    *,
    prompts: PromptSet | None = None,
    progress: Callable[[int], None] | None = None,
) -> EmbeddedTable:
    """Embed every image of a table, and prompts; by default every distinct caption.

    Raises:
        DatasetError: Images cannot be read (``dataset_broken_images``).
    """
    images = embed_samples(model, table, table.samples, progress=progress)
    given = prompts or caption_prompts(table)
    return EmbeddedTable(
        table=table,
        images=images,
        prompts=given,
        prompt_embeddings=embed_prompts(model, given, images.shape[1]),
        logit_scale=model.logit_scale,
    )


def embed_prompts(model: Model, prompts: PromptSet | Sequence[str], dim: int) -> NDArray[np.float32]:
    """Embed the texts of prompts: (P, D) float32; P may be 0."""
    texts = prompts.texts if isinstance(prompts, PromptSet) else tuple(prompts)
    return model.embed_texts(texts) if texts else np.zeros((0, dim), dtype=np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSet:
    """Embeddings of a set of images, for outliers and drift.

    Attributes:
        embeddings: (N, D) float32.
        patients: A patient id for each image ('' where unknown), or None where none is known.
    """

    embeddings: NDArray[np.float32]
    patients: Sequence[str] | None = None


def embed_image_table(model: Model, table: Table, *, progress: Callable[[int], None] | None = None) -> ImageSet:
    """Embed all images of a table, without its captions.

    Raises:
        DatasetError: Images cannot be read, all in one message (``dataset_broken_images``).
    """
    embeddings = embed_samples(model, table, table.samples, progress=progress)
    return ImageSet(embeddings=embeddings, patients=_known_patients(patient_ids(with_dicom_patients(table.samples))))


def file_patients(paths: Sequence[str | Path | None]) -> list[str] | None:
    """Return the patient of each file, from DICOM files only, '' for others; None if no patient is known."""
    return _known_patients(["" if path is None else read_patient(Path(path)) for path in paths])


def _known_patients(patients: list[str]) -> list[str] | None:
    return patients if any(patients) else None


def read_embeddings(path: str | Path, *, identity: VectorIdentity | None = None) -> ImageSet:
    """Read a file of ``mi2 embed --out``, without the rows of images that failed; see `datasets.read_vectors`.

    Raises:
        InputError: No such file (``vectors_invalid``), or vectors of another model than ``identity``
            (``vectors_other_model``).
        OSError: The file cannot be read.
        MissingExtraError: Parquet without pyarrow.
    """
    found = read_vectors(path)
    if identity is not None:
        found.check_model(identity)
    return ImageSet(embeddings=found.vectors[found.succeeded])


def embed_samples(
    model: Model, table: Table, samples: Sequence[Sample], *, progress: Callable[[int], None] | None = None
) -> NDArray[np.float32]:
    """Embed some images of a table: (N, D) float32; one error names all images that cannot be read."""
    vectors: list[NDArray[np.float32]] = []
    problems: dict[Path, InputError] = {}
    for start in range(0, len(samples), _CHUNK):
        chunk = samples[start : start + _CHUNK]
        report = None if progress is None else lambda done, start=start: progress(start + done)
        sources = [_image_source(sample) for sample in chunk]
        readable = [source for source in sources if not isinstance(source, ImageError)]
        embedded = iter(model.embed_images(readable, errors="return", progress=report))
        for sample, source in zip(chunk, sources, strict=True):
            result = source if isinstance(source, ImageError) else next(embedded)
            if isinstance(result, InputError):
                problems[Path(table.relative_location(sample))] = result
            else:
                vectors.append(result)
    if problems:
        raise broken_images(problems)
    return np.stack(vectors)


def _image_source(sample: Sample) -> Path | bytes | ImageError:
    try:
        return sample.image_source()
    except ImageError as error:
        return error
