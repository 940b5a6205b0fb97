"""The model behind a URL."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args, overload

import numpy as np

from medimageinsight.client.decode import bad_answer, failed, raised, read_row, read_rows, read_scale, stated_error
from medimageinsight.client.encode import batches, image_cell, request_body
from medimageinsight.client.transport import ScoringServer, post
from medimageinsight.embedder import BATCH_SIZE, EmbeddedSource, OnError, Progress, check_batch_size, collect, map_ahead
from medimageinsight.errors import InputError, TextError
from medimageinsight.model import EmbeddingModel
from medimageinsight.preprocess import Steps

if TYPE_CHECKING:
    import ssl

    from numpy.typing import NDArray

    from medimageinsight import images
    from medimageinsight.client.decode import Column, Vector

    Vectors: TypeAlias = NDArray[np.float32]  # (N, D)

_TEXTS_TOGETHER = 64
_PROBE = "x-ray chest"  # any text will do: its answer has the scaling factor and the length of an embedding

# Statuses that are about a row: one that cannot be used, and the hosted platform's word for a model that failed on it.
_UNUSABLE_ROW = (422, 424)
_TOO_LARGE = 413  # about the row where it was sent alone, else about the request


class Endpoint(EmbeddingModel):
    """A model behind a URL, with the methods, shapes and errors of the local `MedImageInsight`.

    Encoded files are sent as they are, a ``pydicom.Dataset`` as a DICOM file: with all that stands in their headers.
    Arrays and PIL images are sent as lossless PNG of the 8-bit pixels that the local model would see, so that every
    server sees the same.

    For research and development, not for diagnosis or treatment. Calls from many threads at once are fine.

    Args:
        url: The server's, or that of its scoring route; ``/score`` is meant where it has no path.
        key: Sent as a bearer token; none where the server asks for none.
        timeout_s: Seconds to wait for the server to connect or to go on.
        retries: How often a request is repeated that met a busy server (429, 503) or failed to reach one.
        batch_size: Images in a request; fewer go where they are large.
        preprocessing: ``direct``, or ``azure`` as the hosted endpoint does it; the server's own when not given.
        verify: Whether the server's certificate is checked, or the context to check it with.
        sleep: Waits a number of seconds before a repeated request.

    Raises:
        InputError: An argument is not one of those it may be.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout_s: float = 60.0,
        retries: int = 4,
        batch_size: int = BATCH_SIZE,
        preprocessing: Steps | None = None,
        verify: bool | ssl.SSLContext = True,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        if retries < 0:
            raise InputError(f"expected 0 retries or more, got {retries}", code="retries_invalid")
        if preprocessing is not None and preprocessing not in get_args(Steps):
            raise InputError(
                "expected the preprocessing 'direct' or 'azure', got another one", code="preprocessing_invalid"
            )
        check_batch_size(batch_size)
        self.batch_size = batch_size
        self._server = ScoringServer(url, key, timeout_s=timeout_s, verify=verify)
        self._retries = retries
        self._params = {"response_shape": "rows"} | ({"preprocessing": preprocessing} if preprocessing else {})
        self._sleep = sleep
        self._described: tuple[float, int] | None = None
        self._describing = threading.Lock()

    @property
    def logit_scale(self) -> float:
        """The logarithm of the scale of cosines before a softmax; the server is asked for it once."""
        return self._describe()[0]

    @property
    def embedding_dim(self) -> int:
        """Length D of an embedding; the server is asked for it once."""
        return self._describe()[1]

    def stream_images(
        self, sources: Iterable[images.Source], *, batch_size: int | None = None, frame: int = 0
    ) -> Generator[EmbeddedSource]:
        """One `EmbeddedSource` for each source, in order, as requests are answered, in bounded memory.

        Sources are read and encoded in threads while the server works, at most two requests' worth ahead of what was
        yielded. An iterator that is not read to its end should be closed, as generators are.

        Args:
            sources: Any iterable; a generator is drawn from only as fast as the server follows.
            batch_size: Instead of the endpoint's own, for this call.
            frame: Which frame of a multi-frame source; another than the first is decoded here and sent as PNG.

        Raises:
            InputError: ``batch_size`` is below 1.
            EndpointError: The server cannot be reached, or failed.
        """
        size = self.batch_size if batch_size is None else batch_size
        check_batch_size(size)
        return self._stream(map_ahead(partial(image_cell, frame=frame), sources, ahead=size), size)

    @overload
    def embed_images(
        self,
        sources: images.Source | Iterable[images.Source],
        *,
        errors: Literal["raise", "skip"] = ...,
        batch_size: int | None = ...,
        frame: int = ...,
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
        progress: Progress | None = ...,
    ) -> list[NDArray[np.float32] | InputError]: ...

    def embed_images(
        self,
        sources: images.Source | Iterable[images.Source],
        *,
        errors: OnError = "raise",
        batch_size: int | None = None,
        frame: int = 0,
        progress: Progress | None = None,
    ) -> NDArray[np.float32] | list[NDArray[np.float32] | InputError]:
        """Embeddings of images, (N, D) float32, L2-normalised; a single source gives (D,).

        Args:
            sources: One source, or any iterable of them.
            errors: What to do with a bad image, whether it was found here or by the server: ``raise`` its error,
                ``skip`` it, or ``return`` a list with either an embedding (D,) or the error for each source. A single
                source has nothing to skip to: its error is raised.
            batch_size: As in `stream_images`.
            frame: As in `stream_images`.
            progress: Called with the number of images that are done.

        Raises:
            InputError: An image cannot be used (an `ImageError`; a note says which), or an argument cannot.
            EndpointError: The server cannot be reached, or failed; whatever ``errors`` says.
        """
        stream = partial(self.stream_images, batch_size=batch_size, frame=frame)
        return collect(stream, sources, errors=errors, progress=progress, stack=self._stack)

    def embed_texts(self, texts: str | Iterable[str]) -> NDArray[np.float32]:
        """Embeddings of texts, (N, D) float32, L2-normalised; a single text gives (D,). Equal texts are sent once.

        Raises:
            TextError: A text is not a string or cannot be used.
            EndpointError: The server cannot be reached, or failed.
        """
        if not isinstance(texts, Iterable):
            raise _not_a_text(texts, "a text (str) or an iterable of them")
        many = [texts] if isinstance(texts, str) else list(texts)
        for text in many:
            if not isinstance(text, str):
                raise _not_a_text(text, "a text (str)")
        place = {text: index for index, text in enumerate(dict.fromkeys(many))}
        # White space is folded before a text is read, and an empty cell would be a missing one.
        cells = (text or " " for text in place)
        distinct = self._stack([one for batch in batches(cells, _TEXTS_TOGETHER) for one in self._embed_text(batch)])
        embeddings: Vectors = distinct[0 if isinstance(texts, str) else [place[text] for text in many]]
        return embeddings

    def close(self) -> None:
        """Close the connections; calls after this are refused."""
        self._server.close()

    def __repr__(self) -> str:
        return f"Endpoint({self._server.shown!r})"

    def _stream(self, cells: Generator[str | InputError], batch_size: int) -> Generator[EmbeddedSource]:
        index = 0
        with closing(cells):
            for batch in batches(cells, batch_size):
                sent = [cell for cell in batch if isinstance(cell, str)]
                answers = iter(self._score("image", sent) if sent else ())
                for cell in batch:
                    one = read_row(next(answers), "image") if isinstance(cell, str) else cell
                    if isinstance(one, InputError):
                        yield EmbeddedSource(index=index, error=one)
                    else:
                        yield EmbeddedSource(index=index, embedding=one)
                    index += 1

    def _embed_text(self, cells: Sequence[str]) -> Generator[Vector]:
        for row in self._score("text", cells):
            yield raised(read_row(row, "text"))

    def _stack(self, rows: Sequence[Vector]) -> Vectors:
        if len({row.size for row in rows}) > 1:
            raise bad_answer("vectors of one length", "several lengths")
        return np.stack(rows) if rows else np.empty((0, self.embedding_dim), dtype=np.float32)

    def _describe(self) -> tuple[float, int]:
        """The logit scale, and the length of an embedding."""
        with self._describing:
            if self._described is None:
                (row,) = self._score("text", [_PROBE], get_scaling_factor=True)
                embedding = raised(read_row(row, "text"))
                self._described = read_scale(row.get("scaling_factor")), embedding.size
            return self._described

    def _score(self, column: Column, cells: Sequence[str], *, get_scaling_factor: bool = False) -> list[dict[str, Any]]:
        """One object a cell: its features, or ``{"error": ...}``.

        A server that answers a whole request for the sake of one row is asked again row by row.
        """
        body = request_body(column, cells, self._params | {"get_scaling_factor": get_scaling_factor})
        reply = post(self._server, body, retries=self._retries, sleep=self._sleep)
        if reply.status == 200:
            return read_rows(reply.body, len(cells))
        if len(cells) == 1 and reply.status in (*_UNUSABLE_ROW, _TOO_LARGE):
            return [{"error": stated_error(reply)}]
        if reply.status in _UNUSABLE_ROW:
            return [row for cell in cells for row in self._score(column, [cell])]
        raise failed(reply)


def _not_a_text(got: object, expected: str) -> TextError:
    return TextError(f"expected {expected}, got {type(got).__name__}", code="text_not_a_string")
