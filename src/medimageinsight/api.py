"""The public face: a model that embeds images and texts, compares them and classifies."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal, Self, overload

from medimageinsight import tasks
from medimageinsight.bundle import Bundle, find
from medimageinsight.embedder import BATCH_SIZE, Embedder, OnError, Progress
from medimageinsight.engine import Engine
from medimageinsight.errors import InputError
from medimageinsight.preprocess import Preprocessing

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from medimageinsight.bundle import Manifest
    from medimageinsight.images import Source
    from medimageinsight.preprocess import Steps


class MedImageInsight(Embedder):
    """Medical images of any kind and medical text as vectors of one space.

        model = MedImageInsight.load()
        vectors = model.embed_images(["chest.dcm", "skin.jpg"])             # (2, D) float32, L2-normalised
        chances = model.classify("chest.dcm", ["normal", "pneumonia"], template="x-ray chest {}")      # (2,)

    For research and development, not for diagnosis or treatment. Calls from many threads at once are fine.
    """

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str] | None = None,
        *,
        preprocessing: Steps | None = None,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
    ) -> Self:
        """Open a model. Its encoders are loaded when they are first used.

        Args:
            model: A known name or a bundle folder; the built-in model when not given (or what ``MI2_MODEL`` says).
            preprocessing: ``direct``, or ``azure`` as the hosted endpoint does it; the bundle's default when not given.
            providers: Execution providers such as ``["cuda"]``; the best that is there when not given.
            threads: CPU threads of one call; all cores the process may use when not given.

        Raises:
            BundleError: There is no such model, or it cannot be trusted.
            InputError: An argument is not one of those it may be.
        """
        bundle = Bundle.open(find(model))
        settings = Preprocessing.from_dict(bundle.manifest.preprocessing)
        if preprocessing is not None:
            settings = dataclasses.replace(settings, default=preprocessing)
        engine = Engine(bundle, providers=providers, threads=threads)
        return cls(bundle, engine, preprocessing=settings)

    @property
    def manifest(self) -> Manifest:
        """What the bundle says of itself."""
        return self._bundle.manifest

    @property
    def name(self) -> str:
        """The model's name."""
        return self.manifest.name

    @property
    def embedding_dim(self) -> int:
        """Length D of an embedding."""
        return self.manifest.embedding_dim

    @property
    def logit_scale(self) -> float:
        """The logarithm of the scale of cosines before a softmax, as the scoring endpoint's ``scaling_factor``."""
        return self.manifest.logit_scale

    @overload
    def classify(
        self,
        sources: Source | Iterable[Source],
        labels: tasks.Labels,
        *,
        template: str | Sequence[str] | None = ...,
        fields: Mapping[str, str] | None = ...,
        errors: Literal["raise", "skip"] = ...,
        batch_size: int = ...,
        frame: int = ...,
        progress: Progress | None = ...,
    ) -> NDArray[np.float32]: ...

    @overload
    def classify(
        self,
        sources: Source | Iterable[Source],
        labels: tasks.Labels,
        *,
        template: str | Sequence[str] | None = ...,
        fields: Mapping[str, str] | None = ...,
        errors: Literal["return"],
        batch_size: int = ...,
        frame: int = ...,
        progress: Progress | None = ...,
    ) -> list[NDArray[np.float32] | InputError]: ...

    def classify(
        self,
        sources: Source | Iterable[Source],
        labels: tasks.Labels,
        *,
        template: str | Sequence[str] | None = None,
        fields: Mapping[str, str] | None = None,
        errors: OnError = "raise",
        batch_size: int = BATCH_SIZE,
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
            batch_size: As in `embed_images`.
            frame: As in `embed_images`.
            progress: As in `embed_images`.

        Raises:
            InputError: An image, a label or an argument cannot be used.
            ModelError: An encoder cannot be loaded or run.
        """
        texts = self._embed_labels(tasks.label_prompts(labels, template=template, fields=fields))
        found = self.embed_images(sources, errors=errors, batch_size=batch_size, frame=frame, progress=progress)
        if isinstance(found, list):
            return [
                one if isinstance(one, InputError) else tasks.probabilities(one, texts, self.logit_scale)
                for one in found
            ]
        return tasks.probabilities(found, texts, self.logit_scale)

    def similarity(self, a: ArrayLike, b: ArrayLike) -> NDArray[np.float32]:
        """Cosine of every pair, (N, M) float32, of embeddings (N, D) and (M, D); one of (D,) drops its axis.

        Raises:
            InputError: Not embeddings, or of different lengths.
        """
        return tasks.cosine_similarity(a, b)

    def close(self) -> None:
        """Free the encoders; calls after this are refused."""
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"MedImageInsight({self.name!r}, embedding_dim={self.embedding_dim})"

    def _embed_labels(self, prompts: Mapping[str, Sequence[str]]) -> NDArray[np.float32]:
        """(L, D), one embedding a label."""
        embeddings = self.embed_texts([text for texts in prompts.values() for text in texts])
        return tasks.mean_by_label(embeddings, [len(texts) for texts in prompts.values()])
