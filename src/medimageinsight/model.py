"""The tasks common to a local model and a remote endpoint."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal, cast, overload

import numpy as np

from medimageinsight.encoders import Encoders
from medimageinsight.errors import InputError
from medimageinsight.images import is_single
from medimageinsight.metrics.vectors import cosine_similarity, stack_embeddings
from medimageinsight.prompts import exclusive_prompts
from medimageinsight.tagging import check_tags, tag_vectors
from medimageinsight.tasks import Text, classify_vectors, mean_by_label, probabilities

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from medimageinsight.embedder import OnError, Progress
    from medimageinsight.images import Source, WindowLike
    from medimageinsight.prompts import Labels
    from medimageinsight.tagging import ImageTags, Tags
    from medimageinsight.tasks import ZeroShotResult


class EmbeddingModel(Encoders):
    """Classification, tagging and comparison on top of a subclass's two encoders and scale."""

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
        window: WindowLike | None = ...,
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
        window: WindowLike | None = ...,
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
        window: WindowLike | None = None,
        progress: Progress | None = None,
    ) -> NDArray[np.float32] | list[NDArray[np.float32] | InputError]:
        """Return zero-shot probabilities of labels, (N, L) float32, rows sum to 1; of a single source, (L,).

        The labels are mutually exclusive: the row of an image that fits none of them also sums to 1.

            model.classify("chest.dcm", ["normal", "pneumonia"], template="x-ray chest {}")
            model.classify("chest.dcm", {"normal": ["x-ray chest normal", "x-ray chest no finding"],
                                         "pneumonia": "x-ray chest pneumonia"})

        The `labels` are names, or a mapping of each name to its prompt or prompts, whose embeddings are averaged; so
        are those of several templates. A template has ``{}`` for the label; its other names come from `fields`, such as
        ``{"modality": "x-ray"}``. The other arguments are those of `embed_images`. `zero_shot` also tells whether any
        label fits.

        Raises:
            InputError: A single label (``labels_too_few``); an image, a label or an argument is invalid.
            ModelError: An encoder cannot be loaded or run.
            EndpointError: The server of a remote model cannot be reached, or failed.
        """
        texts = self._embed_labels(exclusive_prompts(labels, template=template, fields=fields))  # (L, D)
        size = self.batch_size if batch_size is None else batch_size
        embedded = self.embed_images(
            sources, errors=errors, batch_size=size, frame=frame, window=window, progress=progress
        )
        if isinstance(embedded, list):
            return [
                item if isinstance(item, InputError) else probabilities(item, texts, self.logit_scale)
                for item in embedded
            ]
        return probabilities(embedded, texts, self.logit_scale)

    def zero_shot(
        self,
        sources: Iterable[Source],
        labels: Labels,
        *,
        template: str | Sequence[str] | None = None,
        fields: Mapping[str, str] | None = None,
        errors: OnError = "raise",
        frame: int = 0,
        window: WindowLike | None = None,
        progress: Progress | None = None,
    ) -> list[ZeroShotResult | InputError]:
        """Return the probabilities of labels as `classify`, and for each image what shows whether a label fits.

            (result,) = model.zero_shot(["banana.jpg"], ["x-ray chest normal", "x-ray chest pneumonia"])
            result.probabilities, result.cosine, result.unlike_validation, result.unknown_words

        With ``errors="return"`` the list has the error of an unusable image. Arguments and errors as `classify`.
        """
        prompts = exclusive_prompts(labels, template=template, fields=fields)
        texts = self._embed_labels(prompts)
        embedded = list(
            self.embed_images(
                sources, errors=errors, batch_size=self.batch_size, frame=frame, window=window, progress=progress
            )
        )
        unknown = self.unknown_words(text for listed in prompts.values() for text in listed)
        usable = [item for item in embedded if not isinstance(item, InputError)]
        results = iter(
            classify_vectors(
                self._stack(usable), texts, list(prompts), self.logit_scale,
                statistics=self.statistics, unknown_words=unknown,
            )
        )  # fmt: skip
        return [item if isinstance(item, InputError) else next(results) for item in embedded]

    def _embed_labels(self, prompts: Mapping[str, Sequence[str]]) -> NDArray[np.float32]:
        """Return the mean embedding of each label's prompts, (L, D)."""
        embeddings = self.embed_texts([text for texts in prompts.values() for text in texts])
        return mean_by_label(embeddings, [len(texts) for texts in prompts.values()])

    @overload
    def tag(
        self,
        sources: Source | Iterable[Source],
        tags: Tags,
        *,
        threshold: float | None = ...,
        errors: Literal["return"],
        frame: int = ...,
        window: WindowLike | None = ...,
        progress: Progress | None = ...,
    ) -> list[ImageTags | InputError]: ...

    @overload
    def tag(  # type: ignore[overload-overlap]  # a string is an iterable of strings too
        self,
        sources: Source,
        tags: Tags,
        *,
        threshold: float | None = ...,
        errors: Literal["raise", "skip"] = ...,
        frame: int = ...,
        window: WindowLike | None = ...,
        progress: Progress | None = ...,
    ) -> ImageTags: ...

    @overload
    def tag(
        self,
        sources: Iterable[Source],
        tags: Tags,
        *,
        threshold: float | None = ...,
        errors: Literal["raise", "skip"] = ...,
        frame: int = ...,
        window: WindowLike | None = ...,
        progress: Progress | None = ...,
    ) -> list[ImageTags]: ...

    def tag(
        self,
        sources: Source | Iterable[Source],
        tags: Tags,
        *,
        threshold: float | None = None,
        errors: OnError = "raise",
        frame: int = 0,
        window: WindowLike | None = None,
        progress: Progress | None = None,
    ) -> list[ImageTags | InputError] | list[ImageTags] | ImageTags:
        """Return the tags of images, each with its own threshold: a mapping of names for each image.

        A single source gives one mapping.

            model.tag("chest.dcm", "modality")["x-ray"].present
            model.tag(files, tag_prompts(["Effusion", "Nodule"], negative=["x-ray chest No Finding"]))

        The `tags` are ``modality``, ``anatomy`` or ``view``, whose terms are mutually exclusive; a tagger of
        `tagging.load_tagger`; or prompts of `tagging.tag_prompts`. For `threshold`, that of a vocabulary or of prompts,
        see `tagging.tags.tag_thresholds`. The mappings are `ImageTags`, which have the image's best cosine too. The
        other arguments are those of `embed_images`.

        Raises:
            InputError: ``vocabulary_unknown``, ``threshold_missing``, ``threshold_invalid``, a tagger with a model
                whose identity is unknown (``model_unknown``), or an image is invalid.
            ModelError: The tagger belongs to another model (``adapter_other_model``), or an encoder cannot be run.
            EndpointError: The server of a remote model cannot be reached, or failed.
        """
        identity = self.identity and self.identity.with_window(window)
        check_tags(tags, identity, threshold)  # before any image is read
        embedded = self.embed_images(
            sources, errors=errors, batch_size=self.batch_size, frame=frame, window=window, progress=progress
        )
        if isinstance(embedded, np.ndarray) and embedded.ndim == 1:
            return self._tag_embeddings([embedded], tags, threshold)[0]
        embeddings = [item for item in embedded if not isinstance(item, InputError)]
        results = iter(self._tag_embeddings(embeddings, tags, threshold))
        return [item if isinstance(item, InputError) else next(results) for item in embedded]

    def _tag_embeddings(
        self, embeddings: Sequence[NDArray[np.float32]], tags: Tags, threshold: float | None
    ) -> list[ImageTags]:
        if not embeddings:
            return []
        return tag_vectors(
            stack_embeddings(embeddings),
            tags,
            embed_texts=self.embed_texts,
            logit_scale=self.logit_scale,
            model="" if self.identity is None else self.identity.name,
            threshold=threshold,
            statistics=self.statistics,
            unknown_words=self.unknown_words,
        )

    def compare(
        self,
        a: Source | Text | Iterable[Source | Text],
        b: Source | Text | Iterable[Source | Text] | None = None,
        *,
        frame: int = 0,
        window: WindowLike | None = None,
    ) -> NDArray[np.float32]:
        """Return the cosine of every pair, (N, M) float32, of images and `Text` objects; a single item drops its axis.

            model.compare("current.dcm", "prior.dcm")
            model.compare("skin.jpg", Text("dermoscopy skin Melanoma"))
            model.compare(files)                                                # (N, N), all pairs

        Raises:
            InputError: An image (with a note of its index) or a text is invalid.
            ModelError: An encoder cannot be loaded or run.
        """
        embed_images = partial(self.embed_images, frame=frame, window=window)
        rows = self._embed_mixed(a, embed_images)
        return cosine_similarity(rows, rows if b is None else self._embed_mixed(b, embed_images))

    def _embed_mixed(
        self,
        inputs: Source | Text | Iterable[Source | Text],
        embed_images: Callable[[Source | Iterable[Source]], NDArray[np.float32]],
    ) -> NDArray[np.float32]:
        """Return the embeddings of images and texts, (N, D); of a single item, (D,)."""
        if isinstance(inputs, Text):
            return self.embed_texts(inputs.text)
        if is_single(inputs):
            return embed_images(cast("Source", inputs))
        items = list(cast("Iterable[Source | Text]", inputs))
        images = iter(embed_images([item for item in items if not isinstance(item, Text)]))
        texts = iter(self.embed_texts([item.text for item in items if isinstance(item, Text)]))
        rows = [next(texts if isinstance(item, Text) else images) for item in items]
        return stack_embeddings(rows) if rows else self.embed_texts([])

    def similarity(self, a: ArrayLike, b: ArrayLike) -> NDArray[np.float32]:
        """Return the cosine of every pair, (N, M) float32, of embeddings (N, D) and (M, D); one of (D,) drops its axis.

        Raises:
            InputError: The shapes are invalid or the lengths differ (``embeddings_bad_shape``).
        """
        return cosine_similarity(a, b)
