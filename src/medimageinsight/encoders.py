"""Encoders of images and texts: the interface that a local model and a remote endpoint have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Literal, Self, overload

from medimageinsight.embedder import BATCH_SIZE, collect_embeddings

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from medimageinsight.bundle import ModelIdentity, ValidationStatistics
    from medimageinsight.embedded import EmbeddedSource
    from medimageinsight.embedder import OnError, Progress
    from medimageinsight.errors import InputError
    from medimageinsight.images import Source, WindowLike


class Encoders(ABC):
    """Two encoders of one vector space, with the scale of its cosines."""

    batch_size: int = BATCH_SIZE  # images of a batch, unless a call overrides it

    @property
    @abstractmethod
    def logit_scale(self) -> float:
        """The logarithm of the scale of cosines before a softmax, as the scoring endpoint's ``scaling_factor``."""

    @property
    def identity(self) -> ModelIdentity | None:
        """The model and preprocessing that produce the vectors; None if a server does not report it."""
        return None

    @property
    def statistics(self) -> ValidationStatistics | None:
        """How the images that the model was validated on look to it; None if that is not known."""
        return None

    def unknown_words(self, texts: str | Iterable[str]) -> tuple[str, ...]:  # noqa: ARG002 - for subclasses
        """Return the words of texts that the model never learned, each once; none if its vocabulary is not known."""
        return ()

    @abstractmethod
    def embed_texts(self, texts: str | Iterable[str]) -> NDArray[np.float32]:
        """Return the embeddings of texts, (N, D) float32, L2-normalised; of a single text, (D,)."""

    @abstractmethod
    def stream_images(
        self,
        sources: Iterable[Source],
        *,
        batch_size: int | None = None,
        frame: int = 0,
        window: WindowLike | None = None,
    ) -> Generator[EmbeddedSource]:
        """Yield an `EmbeddedSource` for each source, in order, as batches complete, in bounded memory."""

    @overload
    def embed_images(
        self,
        sources: Source | Iterable[Source],
        *,
        errors: Literal["raise", "skip"] = ...,
        batch_size: int | None = ...,
        frame: int = ...,
        window: WindowLike | None = ...,
        progress: Progress | None = ...,
    ) -> NDArray[np.float32]: ...

    @overload
    def embed_images(
        self,
        sources: Source | Iterable[Source],
        *,
        errors: Literal["return"],
        batch_size: int | None = ...,
        frame: int = ...,
        window: WindowLike | None = ...,
        progress: Progress | None = ...,
    ) -> list[NDArray[np.float32] | InputError]: ...

    def embed_images(
        self,
        sources: Source | Iterable[Source],
        *,
        errors: OnError = "raise",
        batch_size: int | None = None,
        frame: int = 0,
        window: WindowLike | None = None,
        progress: Progress | None = None,
    ) -> NDArray[np.float32] | list[NDArray[np.float32] | InputError]:
        """Return the embeddings of images, (N, D) float32, L2-normalised; of a single source, (D,).

        Args:
            sources: One source, or any iterable of them.
            errors: Handling of invalid images: ``raise`` the first error, ``skip`` them, or ``return`` a list with an
                embedding (D,) or an error for each source. The error of a single source is raised unless returned.
            batch_size: As in `stream_images`.
            frame: As in `stream_images`.
            window: As in `images.open`; by default that of the model's preprocessing.
            progress: Called with the number of images done.

        Raises:
            InputError: An image (an `ImageError`, with a note of its index) or an argument is invalid.
            EndpointError: The server of a remote model cannot be reached, or failed; for any value of ``errors``.
        """
        stream = partial(self.stream_images, batch_size=batch_size, frame=frame, window=window)
        return collect_embeddings(stream, sources, errors=errors, progress=progress, stack=self._stack)

    @abstractmethod
    def _stack(self, rows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return embeddings (D,) as (N, D); N may be 0."""

    @abstractmethod
    def close(self) -> None:
        """Free the model's resources; later calls raise an error."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
