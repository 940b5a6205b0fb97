"""Embed images and texts with one bundle; images are decoded and resized in threads while the network runs."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar, cast, get_args, overload

import numpy as np

from medimageinsight import images
from medimageinsight.bundle import TOKENIZER
from medimageinsight.embedded import EmbeddedSource, stream_groups
from medimageinsight.engine import available_cpus
from medimageinsight.errors import InputError, TextError
from medimageinsight.metrics.vectors import stack_embeddings
from medimageinsight.preprocess import Preprocessing, preprocess
from medimageinsight.tokenizer import Tokenizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medimageinsight.bundle import Bundle
    from medimageinsight.engine import Engine

BATCH_SIZE = 8

logger = logging.getLogger(__name__)

OnError: TypeAlias = Literal["raise", "skip", "return"]
Progress: TypeAlias = Callable[[int], None]
"""Called with the number of images done."""

_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Prepared:
    """The encoder's input for one image."""

    pixels: NDArray[np.float32]  # (3, H, W)
    warnings: tuple[images.ImageWarning, ...]


class Embedder:
    """Encoder of image sources and texts, on one bundle and its engine.

    The tokenizer is loaded when a text is first embedded. The preprocessing is the bundle's own by default.
    """

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        *,
        preprocessing: Preprocessing | None = None,
        limits: images.Limits = images.Limits(),  # noqa: B008 - frozen
    ) -> None:
        self._bundle = bundle
        self._engine = engine
        self._limits = limits
        self.preprocessing = preprocessing or Preprocessing.from_dict(bundle.manifest.preprocessing)

    @property
    def engine(self) -> Engine:
        """The two encoders, which take prepared arrays and token ids."""
        return self._engine

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The bundle's tokenizer, its checksum verified."""
        self._bundle.verify(TOKENIZER)
        return Tokenizer.from_file(self._bundle.path(TOKENIZER), self._bundle.manifest.context_length)

    def open_image(
        self,
        source: images.Source,
        *,
        frame: int = 0,
        window: images.WindowLike | None = None,
        preprocessing: Preprocessing | None = None,
    ) -> images.DecodedImage:
        """Decode one image with the window of the call, else of the preprocessing; arguments as `embed_images`.

        Raises:
            ImageError: The image cannot be used.
        """
        if window is None:
            window = (preprocessing or self.preprocessing).window
        return images.open(source, frame=frame, window=window, limits=self._limits)

    def prepare_image(
        self,
        source: images.Source,
        *,
        frame: int = 0,
        window: images.WindowLike | None = None,
        preprocessing: Preprocessing | None = None,
    ) -> NDArray[np.float32]:
        """Return the encoder's input for one image, (3, H, W) float32; arguments as `embed_images`.

        Raises:
            ImageError: The image cannot be used.
        """
        image = self.open_image(source, frame=frame, window=window, preprocessing=preprocessing)
        return preprocess(image, preprocessing or self.preprocessing)

    def stream_images(
        self,
        sources: Iterable[images.Source],
        *,
        batch_size: int | None = None,
        frame: int = 0,
        window: images.WindowLike | None = None,
        preprocessing: Preprocessing | None = None,
    ) -> Generator[EmbeddedSource]:
        """Yield an `EmbeddedSource` for each source, in order, as batches complete, in bounded memory.

        An invalid image yields its error. At most three batches of sources, plus one source a core, are read ahead of
        the last item yielded. Close the generator if it is not read to its end.

        Args:
            sources: Any iterable; a generator is read only as fast as the network runs. A series or study gives the
                vector that it makes of its images, which are in ``parts``.
            batch_size: Images that the network processes together; `BATCH_SIZE` by default.
            frame: Index of the frame of multi-frame sources.
            window: As in `images.open`; overrides that of the preprocessing, for this call.
            preprocessing: Overrides the embedder's own, for this call.

        Raises:
            InputError: ``batch_size`` is below 1, or ``window_invalid``.
            ModelError: The encoder cannot be loaded or run.
        """
        batch_size = BATCH_SIZE if batch_size is None else batch_size
        check_batch_size(batch_size)
        selection = None if window is None else images.parse_window(window)  # refused before an image is read
        prepare = partial(self._prepare, frame=frame, window=selection, preprocessing=preprocessing)
        ahead = 2 * batch_size + available_cpus()
        return stream_groups(
            lambda singles: self._stream(prefetch_map(prepare, singles, ahead=ahead), batch_size), sources
        )

    @overload
    def embed_images(
        self,
        sources: images.Source | Iterable[images.Source],
        *,
        errors: Literal["raise", "skip"] = ...,
        batch_size: int | None = ...,
        frame: int = ...,
        window: images.WindowLike | None = ...,
        preprocessing: Preprocessing | None = ...,
        progress: Progress | None = ...,
    ) -> NDArray[np.float32]: ...

    @overload
    def embed_images(
        self,
        sources: images.Source | Iterable[images.Source],
        *,
        errors: Literal["return"],
        batch_size: int | None = ...,
        frame: int = ...,
        window: images.WindowLike | None = ...,
        preprocessing: Preprocessing | None = ...,
        progress: Progress | None = ...,
    ) -> list[NDArray[np.float32] | InputError]: ...

    def embed_images(
        self,
        sources: images.Source | Iterable[images.Source],
        *,
        errors: OnError = "raise",
        batch_size: int | None = None,
        frame: int = 0,
        window: images.WindowLike | None = None,
        preprocessing: Preprocessing | None = None,
        progress: Progress | None = None,
    ) -> NDArray[np.float32] | list[NDArray[np.float32] | InputError]:
        """Return the embeddings of images, (N, D) float32, L2-normalised; of a single source, (D,).

        Args:
            sources: One source, or any iterable of them.
            errors: Handling of invalid images: ``raise`` the first error; ``skip`` them, which gives fewer rows;
                ``return`` a list with an embedding (D,) or an error for each source. The error of a single source is
                raised unless returned.
            batch_size: As in `stream_images`.
            frame: As in `stream_images`.
            window: As in `stream_images`.
            preprocessing: As in `stream_images`.
            progress: Called with the number of images done.

        Raises:
            InputError: An image (an `ImageError`, with a note of its index) or an argument is invalid.
            ModelError: The encoder cannot be loaded or run.
        """
        stream = partial(
            self.stream_images, batch_size=batch_size, frame=frame, window=window, preprocessing=preprocessing
        )
        return collect_embeddings(stream, sources, errors=errors, progress=progress, stack=self._stack)

    def embed_texts(self, texts: str | Iterable[str]) -> NDArray[np.float32]:
        """Return the embeddings of texts, (N, D) float32, L2-normalised; of a single text, (D,).

        Equal texts are encoded once.

        Raises:
            TextError: A text is not a string or is invalid.
            ModelError: The encoder cannot be loaded or run.
        """
        if not isinstance(texts, Iterable):
            raise TextError(
                f"expected a text (str) or an iterable of them, got {type(texts).__name__}", code="text_not_a_string"
            )
        rows = [tuple(row) for row in self.tokenizer.encode([texts] if isinstance(texts, str) else list(texts))]
        if not rows:
            return self._stack([])
        index_of = {row: index for index, row in enumerate(dict.fromkeys(rows))}
        distinct = self._engine.embed_tokens(list(index_of))
        embeddings: NDArray[np.float32] = distinct[0 if isinstance(texts, str) else [index_of[row] for row in rows]]
        return embeddings

    def _prepare(
        self,
        source: images.Source,
        *,
        frame: int,
        window: images.WindowSelection | None,
        preprocessing: Preprocessing | None,
    ) -> _Prepared | InputError:
        """Return the prepared image or its error; runs in a worker thread."""
        try:
            image = self.open_image(source, frame=frame, window=window, preprocessing=preprocessing)
            pixels = preprocess(image, preprocessing or self.preprocessing)
            return _Prepared(pixels=pixels, warnings=image.warnings)
        except InputError as error:
            return error

    def _stream(self, prepared: Generator[_Prepared | InputError], batch_size: int) -> Generator[EmbeddedSource]:
        index = 0
        defects: Counter[str] = Counter()
        with closing(prepared), _log_defects(defects):
            while batch := list(islice(prepared, batch_size)):
                pixels = [item.pixels for item in batch if not isinstance(item, InputError)]
                embeddings = iter(self._engine.embed_pixels(np.stack(pixels)) if pixels else ())
                for item in batch:
                    if isinstance(item, InputError):
                        yield EmbeddedSource(index=index, error=item)
                    else:
                        defects.update(
                            warning.code
                            for warning in item.warnings
                            if not isinstance(warning, images.FramesUnused)  # no defect
                        )
                        yield EmbeddedSource(index=index, embedding=next(embeddings), warnings=item.warnings)
                    index += 1

    def _stack(self, rows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        return stack_embeddings(rows) if rows else np.empty((0, self._engine.embedding_dim), dtype=np.float32)


@contextmanager
def _log_defects(defects: Counter[str]) -> Iterator[None]:
    """Log, after the block, how many images had defects that did not prevent their use, by code."""
    try:
        yield
    finally:
        if defects:
            counts = ", ".join(f"{code} {count:,}" for code, count in sorted(defects.items()))
            logger.info("defects of images, by code: %s", counts)


def collect_embeddings(
    stream: Callable[[Iterable[images.Source]], Generator[EmbeddedSource]],
    sources: images.Source | Iterable[images.Source],
    *,
    errors: OnError,
    progress: Progress | None,
    stack: Callable[[Sequence[NDArray[np.float32]]], NDArray[np.float32]],
) -> NDArray[np.float32] | list[NDArray[np.float32] | InputError]:
    """Implement ``embed_images`` on top of ``stream_images``; arguments of `Embedder.embed_images`.

    The generator that `stream` returns is closed at the end. `stack` stacks N embeddings (D,) to (N, D), also N = 0.

    Raises:
        InputError: The error of an image, with a note of its index; or ``errors`` is invalid (``errors_invalid``).
    """
    if errors not in get_args(OnError):
        raise InputError(f"expected errors to be raise, skip or return, got {errors!r}", code="errors_invalid")
    single = images.is_single(sources)
    raises = errors == "raise" or (errors == "skip" and single)
    results: list[NDArray[np.float32] | InputError] = []
    with closing(stream(cast("Iterable[images.Source]", [sources] if single else sources))) as embedded:
        for item in embedded:
            if item.embedding is not None:
                results.append(item.embedding)
            elif item.error is not None:
                if raises:
                    item.error.add_note(f"source {item.index}, counted from 0")
                    raise item.error
                results.append(item.error)
            if progress is not None:
                progress(item.index + 1)
    if errors == "return":
        return results
    embeddings = [result for result in results if not isinstance(result, InputError)]
    return embeddings[0] if single else stack(embeddings)


def check_batch_size(batch_size: int) -> None:
    """Raise an `InputError` (``batch_size_invalid``) for a batch size below 1."""
    if batch_size < 1:
        raise InputError(f"expected a batch size of at least 1, got {batch_size}", code="batch_size_invalid")


def prefetch_map(function: Callable[[_T], _R], items: Iterable[_T], *, ahead: int) -> Generator[_R]:
    """Return ``map(function, items)``, in order, computed in one thread a core, at most ``ahead`` items in advance.

    Closing the generator cancels the items not started and waits for the others.
    """
    waiting: deque[Future[_R]] = deque()
    with ThreadPoolExecutor(available_cpus(), thread_name_prefix="mi2-decode") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
