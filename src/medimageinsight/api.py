"""The public face: a model that embeds images and texts, compares them and classifies."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Self

from medimageinsight.bundle import Bundle, find
from medimageinsight.bundle.identity import ModelIdentity
from medimageinsight.embedder import Embedder
from medimageinsight.engine import Engine
from medimageinsight.images import Limits
from medimageinsight.model import EmbeddingModel
from medimageinsight.preprocess import Preprocessing

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from medimageinsight.bundle import Manifest
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

    @property
    def identity(self) -> ModelIdentity:
        """What makes the vectors, as files of learned numbers know it."""
        return ModelIdentity.of(self.manifest, self.preprocessing)

    def close(self) -> None:
        """Free the encoders; calls after this are refused."""
        self._engine.close()

    def __repr__(self) -> str:
        return f"MedImageInsight({self.name!r}, embedding_dim={self.embedding_dim})"
