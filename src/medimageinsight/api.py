"""The public class: a model that embeds, compares and classifies images and texts."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import TYPE_CHECKING, Self

from medimageinsight.bundle import Bundle, ModelIdentity, find, find_unknown, read_statistics, read_words
from medimageinsight.embedder import Embedder
from medimageinsight.engine import Engine
from medimageinsight.images import Limits
from medimageinsight.model import EmbeddingModel
from medimageinsight.preprocess import Preprocessing

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence

    from medimageinsight.bundle import Manifest, ValidationStatistics
    from medimageinsight.images import WindowLike
    from medimageinsight.preprocess import Steps


class MedImageInsight(Embedder, EmbeddingModel):
    """A model that embeds medical images of any kind and medical texts in one vector space.

        model = MedImageInsight.load()
        vectors = model.embed_images(["chest.dcm", "skin.jpg"])             # (2, D) float32, L2-normalised
        probabilities = model.classify("chest.dcm", ["normal", "pneumonia"], template="x-ray chest {}")      # (2,)

    For research and development, not for diagnosis or treatment. Thread-safe.
    """

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str] | None = None,
        *,
        preprocessing: Steps | None = None,
        window: WindowLike | None = None,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        cuda_graph: bool = False,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> Self:
        """Open a model; its encoders are loaded when they are first used.

        Args:
            model: A known name or a bundle folder; by default ``MI2_MODEL``, else the built-in model.
            preprocessing: ``direct``, or ``azure`` as the hosted endpoint; by default that of the bundle.
            window: Window of images of more than 8 bits, as in `images.open`; by default the image's own.
            providers: Execution providers such as ``["cuda"]``; by default the best available.
            threads: CPU threads of one call; by default all cores that the process may use.
            cuda_graph: On CUDA, record the kernels of each batch shape once and replay them.
            limits: Bounds on the size of an image, and whether segmentations and other maps are accepted.

        Raises:
            BundleError: The model does not exist, or fails its checks.
            ModelError: Its statistics belong to another model (``statistics_other_model``) or are invalid.
            InputError: An argument is invalid.
        """
        bundle = Bundle.open(find(model))
        settings = Preprocessing.from_dict(bundle.manifest.preprocessing).with_window(window)
        if preprocessing is not None:
            settings = dataclasses.replace(settings, default=preprocessing)
        engine = Engine(bundle, providers=providers, threads=threads, cuda_graph=cuda_graph)
        opened = cls(bundle, engine, preprocessing=settings, limits=limits)
        _ = opened._stored_statistics, opened._words  # a damaged file is an error at once, not at some later call
        return opened

    @property
    def manifest(self) -> Manifest:
        """The manifest of the bundle."""
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
        """The model and preprocessing that produce the vectors, recorded in files of fitted parameters."""
        return ModelIdentity.of(self.manifest, self.preprocessing)

    @property
    def statistics(self) -> ValidationStatistics | None:
        """How the images that the model was validated on look to it; None without them, or with other preprocessing."""
        return self.statistics_for(self.preprocessing)

    def statistics_for(self, preprocessing: Preprocessing) -> ValidationStatistics | None:
        """Return the statistics that hold for images prepared like this; None if there are none."""
        stored = self._stored_statistics
        return stored if stored is not None and stored.fits(preprocessing) else None

    def unknown_words(self, texts: str | Iterable[str]) -> tuple[str, ...]:
        """Return the words of texts that the model never learned, each once; none if its vocabulary is not known."""
        return find_unknown(self._words, [texts] if isinstance(texts, str) else texts)

    @cached_property
    def _stored_statistics(self) -> ValidationStatistics | None:
        return read_statistics(self._bundle)

    @cached_property
    def _words(self) -> frozenset[str] | None:
        return read_words(self._bundle)

    def close(self) -> None:
        """Free the encoders; later calls raise a `ModelError`."""
        self._engine.close()

    def __repr__(self) -> str:
        return f"MedImageInsight({self.name!r}, embedding_dim={self.embedding_dim})"
