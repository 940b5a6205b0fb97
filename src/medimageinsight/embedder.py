"""Sources in, vectors out: images are decoded and resized in threads while the network works on those before them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar, cast, get_args, overload

import numpy as np

from medimageinsight import images
from medimageinsight.bundle import TOKENIZER
from medimageinsight.engine import available_cpus
from medimageinsight.errors import InputError, TextError
from medimageinsight.preprocess import Preprocessing, preprocess
from medimageinsight.tokenizer import Tokenizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medimageinsight.bundle import Bundle
    from medimageinsight.engine import Engine

BATCH_SIZE = 8

OnError: TypeAlias = Literal["raise", "skip", "return"]
Progress: TypeAlias = Callable[[int], None]
"""Called with the number of images that are done."""

_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddedSource:
    """What became of one source: its embedding or its error, the other is None.

    Args:
        index: The source's place among the sources, from 0.
        embedding: (D,) float32, L2-normalised.
        error: Why there is none.
    """

    index: int
    embedding: NDArray[np.float32] | None = None
    error: InputError | None = None


class Embedder:
    """Embeds sources of any kind with one bundle.

    Args:
        bundle: The opened bundle; its tokenizer is read when a text is first embedded.
        engine: The bundle's engine.
        preprocessing: How pixels become the network's input; the bundle's own way when not given.
        limits: What an image may not exceed.
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
        """The two encoders, for arrays and token ids that are ready."""
        return self._engine

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The bundle's tokenizer, its checksum verified."""
        self._bundle.verify(TOKENIZER)
        return Tokenizer.from_file(self._bundle.path(TOKENIZER), self._bundle.manifest.context_length)

    def prepare_image(
        self, source: images.Source, *, frame: int = 0, preprocessing: Preprocessing | None = None
    ) -> NDArray[np.float32]:
        """The encoder's input for one image, (3, H, W) float32. Arguments are those of `embed_images`.

        Raises:
            ImageError: The image cannot be used.
        """
        picture = images.open(source, frame=frame, limits=self._limits)
        return preprocess(picture, preprocessing or self.preprocessing)

    def stream_images(
        self,
        sources: Iterable[images.Source],
        *,
        batch_size: int = BATCH_SIZE,
        frame: int = 0,
        preprocessing: Preprocessing | None = None,
    ) -> Generator[EmbeddedSource]:
        """One `EmbeddedSource` for each source, in order, as batches are done; memory does not grow with their number.

        Bad images are reported in their place. At most three batches of sources, and one for each core, are drawn
        ahead of what was yielded. An iterator that is not read to its end should be closed, as generators are.

        Args:
            sources: Any iterable; a generator is drawn from only as fast as the network follows.
            batch_size: How many images go through the network together.
            frame: Which frame of a multi-frame source.
            preprocessing: Instead of the embedder's own, for this call.

        Raises:
            InputError: ``batch_size`` is below 1.
            ModelError: The encoder cannot be loaded or run.
        """
        check_batch_size(batch_size)
        prepare = partial(self._prepare, frame=frame, preprocessing=preprocessing)
        ahead = 2 * batch_size + available_cpus()
        return self._stream(map_ahead(prepare, sources, ahead=ahead), batch_size)

    @overload
    def embed_images(
        self,
        sources: images.Source | Iterable[images.Source],
        *,
        errors: Literal["raise", "skip"] = ...,
        batch_size: int = ...,
        frame: int = ...,
        preprocessing: Preprocessing | None = ...,
        progress: Progress | None = ...,
    ) -> NDArray[np.float32]: ...

    @overload
    def embed_images(
        self,
        sources: images.Source | Iterable[images.Source],
        *,
        errors: Literal["return"],
        batch_size: int = ...,
        frame: int = ...,
        preprocessing: Preprocessing | None = ...,
        progress: Progress | None = ...,
    ) -> list[NDArray[np.float32] | InputError]: ...

    def embed_images(
        self,
        sources: images.Source | Iterable[images.Source],
        *,
        errors: OnError = "raise",
        batch_size: int = BATCH_SIZE,
        frame: int = 0,
        preprocessing: Preprocessing | None = None,
        progress: Progress | None = None,
    ) -> NDArray[np.float32] | list[NDArray[np.float32] | InputError]:
        """Embeddings of images, (N, D) float32, L2-normalised; a single source gives (D,).

        Args:
            sources: One source, or any iterable of them.
            errors: What to do with a bad image: ``raise`` its error, which ends the call; ``skip`` it, so that there
                are fewer rows; ``return`` a list with either an embedding (D,) or the error for each source. A single
                source has nothing to skip to: its error is raised.
            batch_size: How many images go through the network together.
            frame: Which frame of a multi-frame source.
            preprocessing: Instead of the embedder's own, for this call.
            progress: Called with the number of images that are done.

        Raises:
            InputError: An image cannot be used (an `ImageError`; a note says which), or an argument cannot.
            ModelError: The encoder cannot be loaded or run.
        """
        stream = partial(self.stream_images, batch_size=batch_size, frame=frame, preprocessing=preprocessing)
        return collect(stream, sources, errors=errors, progress=progress, stack=self._stack)

    def embed_texts(self, texts: str | Iterable[str]) -> NDArray[np.float32]:
        """Embeddings of texts, (N, D) float32, L2-normalised; a single text gives (D,). Equal texts cost once.

        Raises:
            TextError: A text is not a string or cannot be used.
            ModelError: The encoder cannot be loaded or run.
        """
        if not isinstance(texts, Iterable):
            raise TextError(
                f"expected a text (str) or an iterable of them, got {type(texts).__name__}", code="text_not_a_string"
            )
        many = [texts] if isinstance(texts, str) else list(texts)
        rows = [tuple(row) for row in self.tokenizer.encode(many)]
        if not rows:
            return self._stack([])
        place = {row: index for index, row in enumerate(dict.fromkeys(rows))}
        distinct = self._engine.embed_tokens(list(place))
        embeddings: NDArray[np.float32] = distinct[0 if isinstance(texts, str) else [place[row] for row in rows]]
        return embeddings

    def _prepare(
        self, source: images.Source, *, frame: int, preprocessing: Preprocessing | None
    ) -> NDArray[np.float32] | InputError:
        """What `prepare_image` gives or raises; runs in a worker thread."""
        try:
            return self.prepare_image(source, frame=frame, preprocessing=preprocessing)
        except InputError as error:
            return error

    def _stream(
        self, prepared: Generator[NDArray[np.float32] | InputError], batch_size: int
    ) -> Generator[EmbeddedSource]:
        index = 0
        with closing(prepared):
            while batch := list(islice(prepared, batch_size)):
                pixels = [one for one in batch if not isinstance(one, InputError)]
                embeddings = iter(self._engine.embed_pixels(np.stack(pixels)) if pixels else ())
                for one in batch:
                    if isinstance(one, InputError):
                        yield EmbeddedSource(index=index, error=one)
                    else:
                        yield EmbeddedSource(index=index, embedding=next(embeddings))
                    index += 1

    def _stack(self, rows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.stack(rows) if rows else np.empty((0, self._engine.embedding_dim), dtype=np.float32)


def collect(
    stream: Callable[[Iterable[images.Source]], Generator[EmbeddedSource]],
    sources: images.Source | Iterable[images.Source],
    *,
    errors: OnError,
    progress: Progress | None,
    stack: Callable[[Sequence[NDArray[np.float32]]], NDArray[np.float32]],
) -> NDArray[np.float32] | list[NDArray[np.float32] | InputError]:
    """`Embedder.embed_images` on top of any stream of images; arguments that both have mean the same.

    Args:
        stream: As `Embedder.stream_images`; what it gives is closed at the end.
        stack: Makes (N, D) of N embeddings (D,), of none too.

    Raises:
        InputError: An image's own, with a note of its place; or ``errors`` is none of the three.
    """
    if errors not in get_args(OnError):
        raise InputError(f"expected errors to be raise, skip or return, got {errors!r}", code="errors_invalid")
    single = images.is_single(sources)
    raises = errors == "raise" or (errors == "skip" and single)
    results: list[NDArray[np.float32] | InputError] = []
    with closing(stream(cast("Iterable[images.Source]", [sources] if single else sources))) as embedded:
        for one in embedded:
            if one.embedding is not None:
                results.append(one.embedding)
            elif one.error is not None:
                if raises:
                    one.error.add_note(f"source {one.index}, counted from 0")
                    raise one.error
                results.append(one.error)
            if progress is not None:
                progress(one.index + 1)
    if errors == "return":
        return results
    embeddings = [one for one in results if not isinstance(one, InputError)]
    return embeddings[0] if single else stack(embeddings)


def check_batch_size(batch_size: int) -> None:
    """Raise an `InputError` for less than one image at a time."""
    if batch_size < 1:
        raise InputError(f"expected a batch size of at least 1, got {batch_size}", code="batch_size_invalid")


def map_ahead(function: Callable[[_T], _R], items: Iterable[_T], *, ahead: int) -> Generator[_R]:
    """``map(function, items)`` in order, in one thread a core, at most ``ahead`` items before the one being yielded.

    Closing the iterator drops what was not begun and waits for what was.
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
