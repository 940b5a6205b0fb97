"""The public face: a model that embeds images and texts, compares them and classifies."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Self, cast

import numpy as np

from medimageinsight.bundle import Bundle, find
from medimageinsight.embedder import Embedder
from medimageinsight.engine import Engine
from medimageinsight.errors import InputError
from medimageinsight.images import Limits, is_single
from medimageinsight.preprocess import Preprocessing
from medimageinsight.tasks.identity import ModelIdentity
from medimageinsight.tasks.model import EmbeddingModel
from medimageinsight.tasks.tagged import Tagged, tag_vectors
from medimageinsight.tasks.tagging import Tagger
from medimageinsight.tasks.vocabularies import vocabulary

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence

    from medimageinsight.bundle import Manifest
    from medimageinsight.embedder import OnError, Progress
    from medimageinsight.images import Source
    from medimageinsight.preprocess import Steps


class MedImageInsight(Embedder, EmbeddingModel):
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
        cuda_graph: bool = False,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> Self:
        """Open a model. Its encoders are loaded when they are first used.

        Args:
            model: A known name or a bundle folder; the built-in model when not given (or what ``MI2_MODEL`` says).
            preprocessing: ``direct``, or ``azure`` as the hosted endpoint does it; the bundle's default when not given.
            providers: Execution providers such as ``["cuda"]``; the best that can be started when not given.
            threads: CPU threads of one call; all cores the process may use when not given.
            cuda_graph: On CUDA, record the kernels of each batch shape once and replay them.
            limits: What an image may not exceed.

        Raises:
            BundleError: There is no such model, or it cannot be trusted.
            InputError: An argument is not one of those it may be.
        """
        bundle = Bundle.open(find(model))
        settings = Preprocessing.from_dict(bundle.manifest.preprocessing)
        if preprocessing is not None:
            settings = dataclasses.replace(settings, default=preprocessing)
        engine = Engine(bundle, providers=providers, threads=threads, cuda_graph=cuda_graph)
        return cls(bundle, engine, preprocessing=settings, limits=limits)

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

    def tag(
        self,
        sources: Source | Iterable[Source],
        tags: str | Tagger,
        *,
        threshold: float | None = None,
        errors: OnError = "raise",
        frame: int = 0,
        progress: Progress | None = None,
    ) -> list[dict[str, Tagged] | InputError]:
        """Which tags images have, each by a threshold of its own.

            (found,) = model.tag(["chest.dcm"], "modality")
            [name for name, tag in found.items() if tag.present]

        Args:
            sources: As in `embed_images`; a single one gives a list of one.
            tags: ``modality``, ``anatomy`` or ``view``, whose terms exclude each other, or a tagger, see
                `tasks.tagger_file.load_tagger`.
            threshold: Of a vocabulary's probabilities, 0.5 when not given.
            errors: As in `embed_images`.
            frame: As in `embed_images`.
            progress: As in `embed_images`.

        Returns:
            Of each image all tags by name; with ``errors="return"`` the error of one that cannot be used.

        Raises:
            InputError: ``vocabulary_unknown``, ``threshold_invalid``, or an image cannot be used.
            ModelError: The tagger belongs to another model (``adapter_other_model``), or an encoder cannot be run.
        """
        if isinstance(tags, Tagger):
            tags.model.check(ModelIdentity.of(self.manifest, self.preprocessing), texts=tags.adapter is None)
        else:
            vocabulary(tags, model=self.name)  # refuses an unknown name before any image is read
        several = [cast("Source", sources)] if is_single(sources) else cast("Iterable[Source]", sources)
        embedded = list(self.embed_images(iter(several), errors=errors, frame=frame, progress=progress))
        rows = [one for one in embedded if not isinstance(one, InputError)]
        found = iter(
            tag_vectors(
                np.stack(rows),
                tags,
                embed_texts=self.embed_texts,
                logit_scale=self.logit_scale,
                model=self.name,
                threshold=threshold,
            )
            if rows
            else ()
        )
        return [one if isinstance(one, InputError) else next(found) for one in embedded]

    def close(self) -> None:
        """Free the encoders; calls after this are refused."""
        self._engine.close()

    def __repr__(self) -> str:
        return f"MedImageInsight({self.name!r}, embedding_dim={self.embedding_dim})"
