"""Both encoders of a bundle on ONNX Runtime: arrays in, embeddings out."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from medimageinsight.bundle import IMAGE_ENCODER, TEXT_ENCODER
from medimageinsight.bundle.bundle import EXTERNAL_DATA_SUFFIX, half_graph
from medimageinsight.engine.batching import batches_by_length
from medimageinsight.engine.graph_cache import graph_copy
from medimageinsight.engine.providers import choose_providers, computes_half
from medimageinsight.engine.session import Session
from medimageinsight.errors import InputError, ModelError
from medimageinsight.tokenizer import pad

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from medimageinsight.bundle import Bundle

TEXT_BATCH = 32


class Engine:
    """Loads each encoder when it is first used, checksum first; safe to call from many threads.

    A large encoder on the CPU is loaded from this machine's optimised copy (`graph_cache`), made of the checked files.

        with Engine(Bundle.open(folder), threads=4) as engine:
            engine.embed_pixels(pixels)                            # (N, 3, H, W) float32 to (N, D) float32
            engine.embed_tokens([[0, 17, 1], [0, 5, 9, 1]])        # to (2, D) float32

    The same batch gives the same bits each time and in each process, with or without the copy. Another number of
    threads, or other rows in the batch, may change the last bits: an embedding moves by less than 1e-6.

    Args:
        bundle: The opened bundle.
        providers: Execution providers, such as ``["cuda"]``; the best that can be started when not given.
        threads: CPU threads of one call; all cores the process may use when not given.
        cuda_graph: On CUDA, record the kernels of each batch shape and replay them (see `Session`).

    Raises:
        InputError: A provider is unknown, or ``threads`` is below 1.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        cuda_graph: bool = False,
    ) -> None:
        if threads is not None and threads < 1:
            raise InputError(f"expected at least 1 thread, got {threads}", code="threads_invalid")
        choose_providers(providers)  # a wrong name is the caller's to hear now, not with the first image
        self._bundle = bundle
        self._providers = providers
        self._threads = threads
        self._cuda_graph = cuda_graph
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()
        self._closed = False

    @property
    def embedding_dim(self) -> int:
        """Length D of an embedding."""
        return self._bundle.manifest.embedding_dim

    def embed_pixels(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """L2-normalised embeddings (N, D) float32 of preprocessed images (N, 3, H, W) float32, in one batch.

        Raises:
            InputError: Another shape (``pixels_bad_shape``) or dtype (``pixels_bad_dtype``).
            ModelError: The encoder cannot be loaded or run.
        """
        session = self._session(IMAGE_ENCODER)
        _check_pixels(pixels, session.inputs["pixel_values"])
        if not len(pixels):
            return self._nothing()
        return session.run("image_embeddings", {"pixel_values": pixels})

    def embed_tokens(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """L2-normalised embeddings (N, D) float32 of `Tokenizer.encode`'s rows, each with its end token last.

        Rows are run with rows of similar length, so that little is spent on padding.

        Raises:
            InputError: A row is empty or longer than the context (``tokens_bad_length``).
            ModelError: The encoder cannot be loaded or run.
        """
        context = self._bundle.manifest.context_length
        if bad := [len(row) for row in rows if not 0 < len(row) <= context]:
            raise InputError(f"expected 1 to {context} tokens a text, got {bad[0]}", code="tokens_bad_length")
        session = self._session(TEXT_ENCODER)
        embeddings = np.empty((len(rows), self.embedding_dim), dtype=np.float32)
        for batch in batches_by_length([len(row) for row in rows], TEXT_BATCH):
            input_ids, attention_mask = pad([rows[index] for index in batch], rows[batch[0]][-1])
            embeddings[batch] = session.run(
                "text_embeddings", {"input_ids": input_ids, "attention_mask": attention_mask}
            )
        return embeddings

    def close(self) -> None:
        """Free both encoders; calls after this are refused."""
        with self._lock:
            self._closed = True
            self._sessions.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _session(self, graph: str) -> Session:
        with self._lock:
            if self._closed:
                raise ModelError("expected an open model, this one was closed: load it again", code="model_closed")
            if graph not in self._sessions:
                self._sessions[graph] = self._load(graph)
            return self._sessions[graph]

    def _load(self, graph: str) -> Session:
        files = self._bundle.manifest.files
        weights = graph + EXTERNAL_DATA_SUFFIX
        if half_graph(graph) in files and computes_half(choose_providers(self._providers)[0]):
            graph = half_graph(graph)  # on the same weights
        parts = [name for name in (graph, weights) if name in files]
        path = self._bundle.path(graph)
        checksums = [files[name].sha256 for name in parts]
        return Session(
            path,
            providers=self._providers,
            threads=self._threads,
            copy=graph_copy(path, checksums),
            verify=functools.partial(self._bundle.verify, *parts),
            cuda_graph=self._cuda_graph,
        )

    def _nothing(self) -> NDArray[np.float32]:
        return np.empty((0, self.embedding_dim), dtype=np.float32)


def _check_pixels(pixels: NDArray[Any], declared: Sequence[int | str | None]) -> None:
    """Against the graph's own input shape, whose free axes are names."""
    expected = ("batch", *declared[1:])
    shape = pixels.shape
    same = len(shape) == len(expected) and all(
        not isinstance(size, int) or size == got for size, got in zip(expected, shape, strict=True)
    )
    if not same:
        wanted = ", ".join(str(size) for size in expected)
        advice = ": add a batch axis" if len(shape) == len(expected) - 1 else ": preprocess the images first"
        raise InputError(f"expected shape ({wanted}), got {shape}{advice}", code="pixels_bad_shape")
    if pixels.dtype != np.float32:
        raise InputError(
            f"expected dtype float32, got {pixels.dtype}: preprocess the images first", code="pixels_bad_dtype"
        )
