"""Both encoders of a bundle on ONNX Runtime: arrays in, embeddings out."""

from __future__ import annotations

import functools
import threading
import warnings
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from medimageinsight.bundle import EXTERNAL_DATA_SUFFIX, IMAGE_ENCODER, TEXT_ENCODER, half_graph
from medimageinsight.engine.graph_cache import graph_copy
from medimageinsight.engine.machine import lacks_int8_instructions
from medimageinsight.engine.providers import CPU, choose_providers, computes_half
from medimageinsight.engine.session import Session
from medimageinsight.errors import InputError, ModelError
from medimageinsight.tokenizer import pad

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from medimageinsight.bundle import Bundle

TEXT_BATCH = 32
MIN_FILL = 0.8  # a batch's shortest row, as a share of its longest: computing padding is wasted


class Engine:
    """Image and text encoder of a bundle, each verified and loaded at its first use. Safe to call from many threads.

    A large encoder on the CPU is loaded from this machine's optimised copy (`graph_cache`), made of verified files.

        with Engine(Bundle.open(folder), threads=4) as engine:
            engine.embed_pixels(pixels)                            # (N, 3, H, W) float32 to (N, D) float32
            engine.embed_tokens([[0, 17, 1], [0, 5, 9, 1]])        # to (2, D) float32

    The same batch gives the same bits each time and in each process, with or without the copy. A different number of
    threads, or other rows in the batch, may change the last bits: an embedding changes by less than 1e-6.

    Args:
        bundle: The opened bundle.
        providers: Execution providers, such as ``["cuda"]``; by default the best that can be started.
        threads: CPU threads of one call; by default all cores available to the process.
        cuda_graph: On CUDA, record the kernels of each batch shape and replay them (see `Session`).

    Warns with a `RuntimeWarning` for an int8 bundle on a CPU without instructions for it.

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
        chosen = choose_providers(providers)  # refuse a wrong name now, not with the first image
        if bundle.manifest.precision == "int8" and chosen[0] == CPU and lacks_int8_instructions():
            warnings.warn(
                "an int8 model on a processor without VNNI: its embeddings may differ more from float32, and it is not "
                "faster; measure it with mi2 verify, or use fp32 or fp16",
                RuntimeWarning,
                stacklevel=2,
            )
        self._bundle = bundle
        self._providers = providers
        self._threads = threads
        self._cuda_graph = cuda_graph
        self._sessions: dict[str, Session] = {}
        self._derived: list[Engine] = []
        self._lock = threading.Lock()
        self._closed = False

    def with_threads(self, threads: int) -> Engine:
        """Return another engine of the same bundle and providers, with its own sessions; closed with this one.

        Raises:
            InputError: ``threads`` is below 1.
        """
        engine = Engine(self._bundle, providers=self._providers, threads=threads, cuda_graph=self._cuda_graph)
        self._derived.append(engine)
        return engine

    @property
    def embedding_dim(self) -> int:
        """Length D of an embedding."""
        return self._bundle.manifest.embedding_dim

    def embed_pixels(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return L2-normalised embeddings (N, D) float32 of preprocessed images (N, 3, H, W) float32, in one batch.

        Raises:
            InputError: Wrong shape (``pixels_bad_shape``) or dtype (``pixels_bad_dtype``).
            ModelError: The encoder cannot be loaded or run.
        """
        session = self._session(IMAGE_ENCODER)
        _check_pixels(pixels, session.inputs["pixel_values"])
        if not len(pixels):
            return np.empty((0, self.embedding_dim), dtype=np.float32)
        return session.run("image_embeddings", {"pixel_values": pixels})

    def embed_tokens(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Return L2-normalised embeddings (N, D) float32 of rows of `Tokenizer.encode`, each with its end token last.

        Rows of similar length form a batch, so that little padding is computed.

        Raises:
            InputError: A row is empty or longer than the context (``tokens_bad_length``).
            ModelError: The encoder cannot be loaded or run.
        """
        context = self._bundle.manifest.context_length
        if invalid := [len(row) for row in rows if not 0 < len(row) <= context]:
            raise InputError(f"expected 1 to {context} tokens a text, got {invalid[0]}", code="tokens_bad_length")
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
        for engine in self._derived:
            engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _session(self, graph: str) -> Session:
        with self._lock:
            if self._closed:
                raise ModelError("expected an open model, got a closed one: load it again", code="model_closed")
            if graph not in self._sessions:
                self._sessions[graph] = self._load(graph)
            return self._sessions[graph]

    def _load(self, graph: str) -> Session:
        files = self._bundle.manifest.files
        weights = graph + EXTERNAL_DATA_SUFFIX
        if half_graph(graph) in files and computes_half(choose_providers(self._providers)[0]):
            graph = half_graph(graph)  # it uses the same weights
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


def batches_by_length(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Yield the indices of all rows in batches of similar length, shortest rows first.

    list(batches_by_length([9, 3, 9, 3], batch_size=2))        # [[1, 3], [0, 2]]
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) == batch_size or lengths[batch[0]] < MIN_FILL * lengths[index]):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _check_pixels(pixels: NDArray[Any], declared: Sequence[int | str | None]) -> None:
    """Compare pixels with the graph's input shape, whose free axes are names."""
    expected = ("batch", *declared[1:])
    shape = pixels.shape
    if len(shape) != len(expected) or any(
        isinstance(size, int) and size != got for size, got in zip(expected, shape, strict=True)
    ):
        axes = ", ".join(map(str, expected))
        advice = ": add a batch axis" if len(shape) == len(expected) - 1 else ": preprocess the images first"
        raise InputError(f"expected shape ({axes}), got {shape}{advice}", code="pixels_bad_shape")
    if pixels.dtype != np.float32:
        raise InputError(
            f"expected dtype float32, got {pixels.dtype}: preprocess the images first", code="pixels_bad_dtype"
        )
