"""Embedding images with one or more encoders in turn, with the time of each call."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import numpy as np

from medimageinsight.datasets import broken_images
from medimageinsight.embedder import prefetch_map
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from medimageinsight.embedder import Embedder

    Pixels = NDArray[np.float32]
    Embeddings = NDArray[np.float32]

BATCH = 1  # images per call
_PREPARED = 8  # images prepared together while no time is measured; 22 MB at 480 x 480 pixels


class Encoders(Protocol):
    """The methods that are measured; ``Engine`` and ``PyTorchEncoders`` have them."""

    def embed_pixels(self, pixels: Pixels, /) -> Embeddings:
        """Encode (N, 3, H, W) float32 as (N, D) float32, L2-normalised."""

    def embed_tokens(self, rows: Sequence[Sequence[int]], /) -> Embeddings:
        """Encode rows of token ids as (N, D) float32, L2-normalised."""


@dataclass(frozen=True, slots=True)
class EncoderRun:
    """One encoder on all images, in order."""

    embeddings: Embeddings  # (N, D)
    milliseconds: NDArray[np.float64]  # (N,)


def run_encoders(
    paths: Sequence[Path], embedder: Embedder, encoders: Sequence[Encoders], progress: Callable[[int], None] | None
) -> list[EncoderRun]:
    """Embed every image with every encoder, a few prepared images at a time.

    After the first broken image the remaining ones are only prepared, so that the error comes soon and names them all.

    Raises:
        DatasetError: Images cannot be read (``dataset_broken_images``).
    """

    def prepare(path: Path) -> Pixels | InputError:
        try:
            return embedder.prepare_image(path)
        except InputError as error:
            return error

    errors: dict[Path, InputError] = {}
    embeddings: list[list[Embeddings]] = [[] for _ in encoders]
    times: list[list[float]] = [[] for _ in encoders]
    remaining, done = iter(paths), 0
    while chunk := list(islice(remaining, _PREPARED)):
        prepared = list(prefetch_map(prepare, chunk, ahead=_PREPARED))
        errors |= {path: result for path, result in zip(chunk, prepared, strict=True) if isinstance(result, InputError)}
        images = [] if errors else [image[np.newaxis] for image in prepared if not isinstance(image, InputError)]
        for pixels in images:
            for encoder, vectors, milliseconds in zip(encoders, embeddings, times, strict=True):
                if not done:
                    encoder.embed_pixels(pixels)  # the first call loads the graph and reserves memory
                start = time.perf_counter()
                vector = encoder.embed_pixels(pixels)
                milliseconds.append(1000 * (time.perf_counter() - start))
                vectors.append(vector)
            done += 1
            if progress is not None:
                progress(done)
    if errors:
        raise broken_images(errors)
    return [
        EncoderRun(np.concatenate(vectors), np.array(milliseconds))
        for vectors, milliseconds in zip(embeddings, times, strict=True)
    ]
