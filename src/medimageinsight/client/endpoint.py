"""A remote model with the methods of the local one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

import numpy as np

from medimageinsight import images
from medimageinsight.client.decode import (
    VectorFormat,
    decode_error,
    decode_features,
    decode_rows,
    decode_scaling_factor,
    decode_scores,
    request_failed,
    unexpected_response,
)
from medimageinsight.client.encode import encode_image, encode_request, split_batches
from medimageinsight.client.transport import ScoringServer, post
from medimageinsight.embedded import EmbeddedSource, stream_groups
from medimageinsight.embedder import BATCH_SIZE, check_batch_size, prefetch_map
from medimageinsight.errors import InputError, TextError
from medimageinsight.model import EmbeddingModel
from medimageinsight.preprocess import Steps, check_steps

if TYPE_CHECKING:
    import ssl

    from numpy.typing import NDArray

    from medimageinsight.client.decode import Column, Vector

    Vectors: TypeAlias = NDArray[np.float32]  # (N, D)

_TEXTS_PER_REQUEST = 64
_PROBE = "x-ray chest"  # an arbitrary text: the response contains the scaling factor and an embedding

# Statuses that concern one row: unusable input, and the hosted platform's status for a model that failed on it.
_UNUSABLE_ROW = (422, 424)
_TOO_LARGE = 413  # concerns the row if it was sent alone, else the request


class Endpoint(EmbeddingModel):
    """A model on a server, with the methods, shapes and errors of the local `MedImageInsight`.

    Encoded files are sent unchanged, a ``pydicom.Dataset`` as a DICOM file, both with all their headers. Arrays and PIL
    images are sent as lossless PNG of the 8-bit pixels that the local model uses, so that results are the same.

    With the extra ``client`` (httpx), requests use a connection pool and the proxy of ``proxy``, or of HTTP_PROXY,
    HTTPS_PROXY and NO_PROXY in the environment; without it, connections are direct. Redirects are not followed.

    For research and development, not for diagnosis or treatment. Thread-safe.

    Args:
        url: URL of the scoring route; or of the server, whose path, if it has one, ends in ``/`` or ``/v1``.
        key: Sent as a bearer token; None if the server requires none.
        timeout_s: Seconds to wait for a connection, and for each read and write.
        retries: Number of times a request is repeated if the server is busy (429, 503) or cannot be reached.
        batch_size: Maximum images of a request; fewer if they are large.
        preprocessing: ``direct``, or ``azure`` as the hosted endpoint; by default that of the server.
        window: Window of images of more than 8 bits, as in `stream_images`; by default the image's own.
        verify: Whether to check the server's certificate, or the TLS context to check it with.
        encoding_format: How the server writes vectors: ``float``; ``base64``, the same bits in fewer bytes; or
            ``base64_float16``, rounded to 11 bits. A server that does not know it answers as for ``float``.
        proxy: URL of a proxy, such as ``http://proxy.example.org:3128``, which replaces those of the environment.
        sleep: Waits a number of seconds before a repeated request.

    Raises:
        InputError: An argument is invalid.
        MissingExtraError: A proxy is given, and the extra ``client`` is not installed.
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
        window: images.WindowLike | None = None,
        encoding_format: VectorFormat = "float",
        verify: bool | ssl.SSLContext = True,
        proxy: str | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        if retries < 0:
            raise InputError(f"expected 0 retries or more, got {retries}", code="retries_invalid")
        if preprocessing is not None:
            check_steps(preprocessing)
        check_batch_size(batch_size)
        self.batch_size = batch_size
        self._window = None if window is None else images.parse_window(window)
        self._server = ScoringServer(url, key, timeout_s=timeout_s, verify=verify, proxy=proxy)
        self._retries = retries
        if encoding_format not in get_args(VectorFormat):
            raise InputError(
                f"expected encoding_format as one of {', '.join(get_args(VectorFormat))}, got another",
                code="encoding_format_invalid",
            )
        self._encoding = encoding_format
        self._params = {"response_shape": "rows"} | ({"preprocessing": preprocessing} if preprocessing else {})
        if encoding_format != "float":
            self._params["encoding_format"] = encoding_format
        self._sleep = sleep
        self._description: tuple[float, int] | None = None
        self._description_lock = threading.Lock()

    @property
    def logit_scale(self) -> float:
        """The logarithm of the scale of cosines before a softmax; requested from the server once."""
        return self._describe()[0]

    @property
    def embedding_dim(self) -> int:
        """Length D of an embedding; requested from the server once."""
        return self._describe()[1]

    def stream_images(
        self,
        sources: Iterable[images.Source],
        *,
        batch_size: int | None = None,
        frame: int = 0,
        window: images.WindowLike | None = None,
    ) -> Generator[EmbeddedSource]:
        """Yield an `EmbeddedSource` for each source, in order, as responses arrive, in bounded memory.

        Sources are read and encoded in threads while the server works, at most two requests ahead of the last item
        yielded. Close the generator if it is not read to its end.

        Args:
            sources: Any iterable; a generator is read only as fast as the server responds.
            batch_size: Overrides the endpoint's own, for this call.
            frame: Index of the frame of multi-frame sources; any but the first is decoded here and sent as PNG.
            window: As in `images.open`, by default that of the endpoint. With a window, images are decoded here and
                sent as PNG, so that it applies on any server.

        Raises:
            InputError: ``batch_size`` is below 1, or ``window_invalid``.
            EndpointError: The server cannot be reached, or failed.
        """
        size = self.batch_size if batch_size is None else batch_size
        check_batch_size(size)
        selection = self._window if window is None else images.parse_window(window)
        encode = partial(encode_image, frame=frame, window=selection)
        return stream_groups(lambda singles: self._stream(prefetch_map(encode, singles, ahead=size), size), sources)

    def embed_texts(self, texts: str | Iterable[str]) -> NDArray[np.float32]:
        """Return the embeddings of texts, (N, D) float32, L2-normalised; of a single text, (D,).

        Equal texts are sent once.

        Raises:
            TextError: A text is not a string or is invalid.
            EndpointError: The server cannot be reached, or failed.
        """
        if not isinstance(texts, Iterable):
            raise _not_a_text(texts, "a text (str) or an iterable of them")
        inputs = [texts] if isinstance(texts, str) else list(texts)
        for text in inputs:
            if not isinstance(text, str):
                raise _not_a_text(text, "a text (str)")
        index_of = {text: index for index, text in enumerate(dict.fromkeys(inputs))}
        # The server collapses white space, and would treat an empty cell as a missing one.
        batches = split_batches((text or " " for text in index_of), _TEXTS_PER_REQUEST)
        distinct = self._stack([self._text_features(row) for batch in batches for row in self._score("text", batch)])
        embeddings: Vectors = distinct[0 if isinstance(texts, str) else [index_of[text] for text in inputs]]
        return embeddings

    def label_scores(
        self, sources: Iterable[images.Source], *, frame: int = 0, window: images.WindowLike | None = None
    ) -> list[dict[str, float] | InputError]:
        """Return the scores of the server's own labels for each source, highest first, or the source's error.

        The server needs a fine-tuned model with labels, or the option ``--labels``; see ``response_shape`` in
        docs/server.md.

        Args:
            sources: As in `stream_images`, with ``frame`` and ``window``.
            frame: Index of the frame of multi-frame sources.
            window: As in `images.open`, by default that of the endpoint.

        Raises:
            InputError: ``window_invalid``.
            EndpointError: The server has no labels, cannot be reached, or failed.
        """
        selection = self._window if window is None else images.parse_window(window)
        encode = partial(encode_image, frame=frame, window=selection)
        cells = prefetch_map(encode, sources, ahead=self.batch_size)
        rows = self._image_rows(cells, self.batch_size, response_shape="labels")
        return [row if isinstance(row, InputError) else decode_scores(row) for row in rows]

    def close(self) -> None:
        """Close the connections; later calls raise an `EndpointError`."""
        self._server.close()

    def __repr__(self) -> str:
        return f"Endpoint({str(self._server.address)!r})"

    def _stream(self, cells: Generator[str | InputError], batch_size: int) -> Generator[EmbeddedSource]:
        with closing(self._image_rows(cells, batch_size)) as rows:
            for index, row in enumerate(rows):
                result = row if isinstance(row, InputError) else decode_features(row, "image", self._encoding)
                if isinstance(result, InputError):
                    yield EmbeddedSource(index=index, error=result)
                else:
                    yield EmbeddedSource(index=index, embedding=result)

    def _image_rows(
        self, cells: Generator[str | InputError], batch_size: int, **params: str
    ) -> Generator[Any | InputError]:
        """Yield the response's row for each image, or the error of one that could not be encoded."""
        with closing(cells):
            for batch in split_batches(cells, batch_size):
                encoded = [cell for cell in batch if isinstance(cell, str)]
                rows = iter(self._score("image", encoded, **params) if encoded else ())
                for cell in batch:
                    yield next(rows) if isinstance(cell, str) else cell

    def _stack(self, rows: Sequence[Vector]) -> Vectors:
        if len(sizes := {row.size for row in rows}) > 1:
            raise unexpected_response("vectors of one length", f"lengths {min(sizes)} to {max(sizes)}")
        return np.stack(rows) if rows else np.empty((0, self.embedding_dim), dtype=np.float32)

    def _describe(self) -> tuple[float, int]:
        """Return the logit scale and the length of an embedding."""
        with self._description_lock:
            if self._description is None:
                (row,) = self._score("text", [_PROBE], get_scaling_factor=True)
                embedding = self._text_features(row)
                self._description = decode_scaling_factor(row.get("scaling_factor")), embedding.size
            return self._description

    def _text_features(self, row: Mapping[str, Any]) -> Vector:
        """Return the features of a text, or raise its error."""
        features = decode_features(row, "text", self._encoding)
        if isinstance(features, InputError):
            raise features
        return features

    def _score(self, column: Column, cells: Sequence[str], **params: bool | str) -> list[Any]:
        """Return one object a cell: its features, or ``{"error": ...}``; a list of scores in the shape ``labels``.

        A request that fails because of one row is repeated row by row.
        """
        body = encode_request(column, cells, self._params | {"get_scaling_factor": False} | params)
        response = post(self._server, body, retries=self._retries, sleep=self._sleep)
        if response.status == 200:
            return decode_rows(response.body, len(cells), list if params.get("response_shape") == "labels" else dict)
        if len(cells) == 1 and response.status in (*_UNUSABLE_ROW, _TOO_LARGE):
            return [{"error": decode_error(response)}]
        if response.status in _UNUSABLE_ROW:
            return [row for cell in cells for row in self._score(column, [cell], **params)]
        raise request_failed(response)


def _not_a_text(got: object, expected: str) -> TextError:
    return TextError(f"expected {expected}, got {type(got).__name__}", code="text_not_a_string")
