"""What whatever embeds images and texts can do with them, be it a local model or a server's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal, Self, cast, overload

import numpy as np

from medimageinsight.embedder import BATCH_SIZE
from medimageinsight.errors import InputError
from medimageinsight.images import is_single
from medimageinsight.metrics.vectors import cosine_similarity
from medimageinsight.prompts import label_prompts
from medimageinsight.tagging.tags import check_tags, tag_vectors
from medimageinsight.tasks.zero_shot import Text, mean_by_label, probabilities

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from medimageinsight.bundle.identity import ModelIdentity
    from medimageinsight.embedder import OnError, Progress
    from medimageinsight.images import Source
    from medimageinsight.prompts import Labels
    from medimageinsight.tagging.tags import Tagged, Tags


class EmbeddingModel(ABC):
    """The tasks on top of two encoders and a scale, which a subclass has.

    Args:
        batch_size: How many images go together where a call does not say.
    """

    batch_size: int = BATCH_SIZE

    @property
    @abstractmethod
    def logit_scale(self) -> float:
        """The logarithm of the scale of cosines before a softmax, as the scoring endpoint's ``scaling_factor``."""

    @property
    def identity(self) -> ModelIdentity | None:
        """What makes the vectors, as files of learned numbers know it; None where a server does not say."""
        return None

    @abstractmethod
    def embed_texts(self, texts: str | Iterable[str]) -> NDArray[np.float32]:
        """Embeddings of texts, (N, D) float32, L2-normalised; a single text gives (D,)."""

    @overload
    @abstractmethod
    def embed_images(
        self,
        sources: Source | Iterable[Source],
        *,
        errors: Literal["raise", "skip"] = ...,
        batch_size: int = ...,
        frame: int = ...,
        progress: Progress | None = ...,
    ) -> NDArray[np.float32]: ...

    @overload
    @abstractmethod
    def embed_images(
        self,
        sources: Source | Iterable[Source],
        *,
        errors: Literal["return"],
        batch_size: int = ...,
        frame: int = ...,
        progress: Progress | None = ...,
    ) -> list[NDArray[np.float32] | InputError]: ...

    @abstractmethod
    def embed_images(
        self,
        sources: Source | Iterable[Source],
        *,
        errors: OnError = "raise",
        batch_size: int = BATCH_SIZE,
        frame: int = 0,
        progress: Progress | None = None,
    ) -> NDArray[np.float32] | list[NDArray[np.float32] | InputError]:
        """Embeddings of images, (N, D) float32, L2-normalised; a single source gives (D,)."""

    @abstractmethod
    def close(self) -> None:
        """Free what the model holds; calls after this are refused."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @overload
    def classify(
        self,
        sources: Source | Iterable[Source],
        labels: Labels,
        *,
        template: str | Sequence[str] | None = ...,
        fields: Mapping[str, str] | None = ...,
        errors: Literal["raise", "skip"] = ...,
        batch_size: int | None = ...,
        frame: int = ...,
        progress: Progress | None = ...,
    ) -> NDArray[np.float32]: ...

    @overload
    def classify(
        self,
        sources: Source | Iterable[Source],
        labels: Labels,
        *,
        template: str | Sequence[str] | None = ...,
        fields: Mapping[str, str] | None = ...,
        errors: Literal["return"],
        batch_size: int | None = ...,
        frame: int = ...,
        progress: Progress | None = ...,
    ) -> list[NDArray[np.float32] | InputError]: ...

    def classify(
        self,
        sources: Source | Iterable[Source],
        labels: Labels,
        *,
        template: str | Sequence[str] | None = None,
        fields: Mapping[str, str] | None = None,
        errors: OnError = "raise",
        batch_size: int | None = None,
        frame: int = 0,
        progress: Progress | None = None,
    ) -> NDArray[np.float32] | list[NDArray[np.float32] | InputError]:
        """Probabilities of labels that the model was never trained on, (N, L) float32, rows sum to 1.

        A single source gives (L,). The labels exclude each other: a picture that fits none still gets a sum of 1.

            model.classify("chest.dcm", ["normal", "pneumonia"], template="x-ray chest {}")
            model.classify("chest.dcm", {"normal": ["x-ray chest normal", "x-ray chest no finding"],
                                         "pneumonia": "x-ray chest pneumonia"})

        Args:
            sources: As in `embed_images`.
            labels: Names, or a mapping of each name to its prompt or prompts, whose embeddings are averaged.
            template: One or several with ``{}`` in the label's place, averaged too; other names come from ``fields``.
            fields: Values for the template's other names, such as ``{"modality": "x-ray"}``.
            errors: As in `embed_images`.
            batch_size: As in `embed_images`; the model's own when not given.
            frame: As in `embed_images`.
            progress: As in `embed_images`.

        Raises:
            InputError: An image, a label or an argument cannot be used.
            ModelError: An encoder cannot be loaded or run.
            EndpointError: The model is a server's, and it cannot be had.
        """
        texts = self._embed_labels(label_prompts(labels, template=template, fields=fields))
        size = self.batch_size if batch_size is None else batch_size
        found = self.embed_images(sources, errors=errors, batch_size=size, frame=frame, progress=progress)
        if isinstance(found, list):
            return [
                one if isinstance(one, InputError) else probabilities(one, texts, self.logit_scale) for one in found
            ]
        return probabilities(found, texts, self.logit_scale)

    @overload
    def tag(
        self,
        sources: Source | Iterable[Source],
        tags: Tags,
        *,
        threshold: float | None = ...,
        errors: Literal["return"],
        frame: int = ...,
        progress: Progress | None = ...,
    ) -> list[dict[str, Tagged] | InputError]: ...

    @overload
    def tag(  # type: ignore[overload-overlap]  # a string is an iterable of strings too
        self,
        sources: Source,
        tags: Tags,
        *,
        threshold: float | None = ...,
        errors: Literal["raise", "skip"] = ...,
        frame: int = ...,
        progress: Progress | None = ...,
    ) -> dict[str, Tagged]: ...

    @overload
    def tag(
        self,
        sources: Iterable[Source],
        tags: Tags,
        *,
        threshold: float | None = ...,
        errors: Literal["raise", "skip"] = ...,
        frame: int = ...,
        progress: Progress | None = ...,
    ) -> list[dict[str, Tagged]]: ...

    def tag(
        self,
        sources: Source | Iterable[Source],
        tags: Tags,
        *,
        threshold: float | None = None,
        errors: OnError = "raise",
        frame: int = 0,
        progress: Progress | None = None,
    ) -> list[dict[str, Tagged] | InputError] | list[dict[str, Tagged]] | dict[str, Tagged]:
        """Which tags images have, each by a threshold of its own: a mapping of names for each image.

        A single source gives one mapping.

            model.tag("chest.dcm", "modality")["x-ray"].present
            model.tag(files, tag_prompts(["Effusion", "Nodule"], negative=["x-ray chest No Finding"]))

        Args:
            sources: As in `embed_images`.
            tags: ``modality``, ``anatomy`` or ``view``, whose terms exclude each other; a tagger of
                `tasks.tagger_file.load_tagger`; or prompts of `tasks.tagging.tag_prompts`.
            threshold: Of a vocabulary or of prompts, see `tasks.tagged.thresholds_of`.
            errors: As in `embed_images`.
            frame: As in `embed_images`.
            progress: As in `embed_images`.

        Raises:
            InputError: ``vocabulary_unknown``, ``threshold_missing``, ``threshold_invalid``, a tagger with a server's
                model, which cannot be told to be the tagger's (``model_unknown``), or an image cannot be used.
            ModelError: The tagger belongs to another model (``adapter_other_model``), or an encoder cannot be run.
            EndpointError: The model is a server's, and it cannot be had.
        """
        check_tags(tags, self.identity, threshold)  # before any image is read
        found = self.embed_images(sources, errors=errors, batch_size=self.batch_size, frame=frame, progress=progress)
        single = isinstance(found, np.ndarray) and found.ndim == 1
        each: list[NDArray[np.float32] | InputError] = [found] if isinstance(found, np.ndarray) and single else [*found]
        rows = [one for one in each if not isinstance(one, InputError)]
        judged = iter(
            tag_vectors(
                np.stack(rows),
                tags,
                embed_texts=self.embed_texts,
                logit_scale=self.logit_scale,
                model="" if self.identity is None else self.identity.name,
                threshold=threshold,
            )
            if rows
            else ()
        )
        if single:
            return next(judged)
        return [one if isinstance(one, InputError) else next(judged) for one in each]

    def compare(
        self,
        a: Source | Text | Iterable[Source | Text],
        b: Source | Text | Iterable[Source | Text] | None = None,
        *,
        frame: int = 0,
    ) -> NDArray[np.float32]:
        """Cosine of every pair, (N, M) float32, of images and texts; a single one on either side drops its axis.

            model.compare("current.dcm", "prior.dcm")
            model.compare("skin.jpg", Text("dermoscopy skin Melanoma"))
            model.compare(files)                                                # (N, N), each with each

        Args:
            a: Images, and texts as `Text`.
            b: The same; those of ``a`` when not given.
            frame: Which frame of multi-frame images.

        Raises:
            InputError: An image or a text cannot be used; a note says which image.
            ModelError: An encoder cannot be loaded or run.
        """
        rows = self._embed_either(a, frame)
        return cosine_similarity(rows, rows if b is None else self._embed_either(b, frame))

    def _embed_either(self, given: Source | Text | Iterable[Source | Text], frame: int) -> NDArray[np.float32]:
        """(N, D), or (D,) of a single one."""
        if isinstance(given, Text):
            return self.embed_texts(given.text)
        if is_single(given):
            return self.embed_images(cast("Source", given), frame=frame)
        items = list(cast("Iterable[Source | Text]", given))
        images = iter(self.embed_images([one for one in items if not isinstance(one, Text)], frame=frame))
        texts = iter(self.embed_texts([one.text for one in items if isinstance(one, Text)]))
        rows = [next(texts if isinstance(one, Text) else images) for one in items]
        return np.stack(rows) if rows else self.embed_texts([])

    def similarity(self, a: ArrayLike, b: ArrayLike) -> NDArray[np.float32]:
        """Cosine of every pair, (N, M) float32, of embeddings (N, D) and (M, D); one of (D,) drops its axis.

        Raises:
            InputError: Not embeddings, or of different lengths.
        """
        return cosine_similarity(a, b)

    def _embed_labels(self, prompts: Mapping[str, Sequence[str]]) -> NDArray[np.float32]:
        """(L, D), one embedding a label."""
        embeddings = self.embed_texts([text for texts in prompts.values() for text in texts])
        return mean_by_label(embeddings, [len(texts) for texts in prompts.values()])
