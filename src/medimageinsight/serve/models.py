"""The models of one server: loading, readiness, and embedding of the rows of any route."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from medimageinsight import MedImageInsight, images
from medimageinsight.errors import InputError
from medimageinsight.serve.batcher import Batcher
from medimageinsight.serve.caller import count_images
from medimageinsight.serve.fetcher import ImageFetcher
from medimageinsight.serve.label_scores import label_texts, read_labels
from medimageinsight.serve.open_inference.statistics import ModelMetrics, Statistics
from medimageinsight.serve.parallel import open_parallel
from medimageinsight.serve.progress import check_progress
from medimageinsight.serve.rejection import Rejection
from medimageinsight.serve.response_warnings import record_warnings
from medimageinsight.serve.scoring import row_result
from medimageinsight.serve.studies import StudyLimits, embed_chosen
from medimageinsight.serve.text_cache import TextCache
from medimageinsight.serve.trace_context import fetching

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from medimageinsight.preprocess import Preprocessing
    from medimageinsight.serve.job import Ticket
    from medimageinsight.serve.metrics import Metrics
    from medimageinsight.serve.scoring_request import Row
    from medimageinsight.serve.scoring_response import Features
    from medimageinsight.serve.settings import ServerSettings

_T = TypeVar("_T")
Vector: TypeAlias = "NDArray[np.float32]"

READINESS_LASTS_S = 15.0  # no new probe within this time after a successful embedding
PROBE_TIMEOUT_S = 60.0  # the released model takes seconds per image on a small machine
_PROBE_TEXT = "x-ray"
_PROBE_IMAGE = b"P5 1 1 255\n\x80"  # PNM: 1 x 1 pixel, gray


class ServedModel:
    """One model with its queue and its cache of recent texts."""

    def __init__(
        self, model: MedImageInsight, settings: ServerSettings, metrics: Metrics, fetcher: ImageFetcher
    ) -> None:
        self.model = model
        self.statistics = Statistics()
        self.batcher = Batcher(
            model,
            batch_images=settings.batch_images,
            queue_rows=settings.queue_rows,
            queue_deadline_s=settings.queue_deadline_s,
            metrics=ModelMetrics(metrics, self.statistics),
            parallel=open_parallel(model, settings),
        )
        self._limits = StudyLimits(images=image_limits(settings), max_images=settings.max_rows)
        self.texts = TextCache(settings.text_cache)
        self.labels = read_labels(settings.labels) if settings.labels else model.manifest.labels
        if settings.response_shape == "labels":
            label_texts(self.labels)  # or every request would fail
        self._metrics = metrics
        self._fetcher = fetcher
        self._probe: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    async def embed_rows(self, rows: Sequence[Row], preprocessing: Preprocessing) -> list[Features | InputError]:
        """Return the features or the error of each row, in order. Equal images of one request are embedded once.

        Raises:
            Rejection: 429, the queue is full, the work did not start in time, or the caller's limit is reached.
        """
        if not rows:
            return []
        count_images(sum(row.image is not None or row.image_url is not None for row in rows))
        with self.statistics.request() as results:
            results.extend(await self._embed_rows(rows, preprocessing))
        return results

    async def _embed_rows(self, rows: Sequence[Row], preprocessing: Preprocessing) -> list[Features | InputError]:
        with self.batcher.admit(len(rows)) as ticket:
            urls = {row.image_url for row in rows if row.image_url is not None}
            fetched = await _run_each(urls, partial(self._fetch, ticket))
            cells = [fetched[row.image_url] if row.image_url is not None else row.image for row in rows]
            choices = {(cell, row.choice) for cell, row in zip(cells, rows, strict=True) if isinstance(cell, bytes)}
            texts = {row.text for row in rows if row.text is not None}
            image_features, text_features = await asyncio.gather(
                _run_each(
                    choices,
                    lambda key: embed_chosen(self.batcher, ticket, *key, preprocessing, self._limits),
                ),
                _run_each(texts, lambda text: self._embed_text(ticket, text)),
            )
            record_warnings(ticket.warnings)
        results = [
            row_result(
                row,
                text_features.get(row.text),
                cell if isinstance(cell, InputError) else image_features.get((cell, row.choice)),
            )
            for row, cell in zip(rows, cells, strict=True)
        ]
        for result in results:
            self._metrics.row(result.code if isinstance(result, InputError) else None)
        return results

    async def decode(self, function: Callable[[], _T]) -> _T:
        """Call a function that decodes an image, in turn with the images to embed.

        Raises:
            InputError: The image cannot be used.
            Rejection: 429, the queue is full or the work did not start in time.
        """
        with self.batcher.admit(1) as ticket:
            return await self.batcher.submit_call(ticket, function)

    def close(self) -> None:
        """Stop all work and free the model."""
        self.batcher.close()
        self.model.close()

    async def check_ready(self) -> None:
        """Embed a probe image and a probe text, unless both kinds were embedded a moment ago.

        Raises:
            Rejection: 503, every decoder has been at one image for long (``decoding_stalled``).
            Exception: Any error of the embedding, or a timeout.
        """
        check_progress(self.batcher.stalled_s(), "decoding_stalled")
        if time.monotonic() - min(self.batcher.last_success.values()) < READINESS_LASTS_S:
            return
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._embed_probe())
        await asyncio.shield(self._probe)

    async def _embed_probe(self) -> None:
        with self.batcher.admit(0) as ticket:
            ticket.started = True  # never expires: a long queue is no failure
            image = self.batcher.submit_image(ticket, _PROBE_IMAGE, self.model.preprocessing, urgent=True)
            text = self.batcher.submit_text(ticket, _PROBE_TEXT, urgent=True)
            await asyncio.wait_for(asyncio.gather(image, text), PROBE_TIMEOUT_S)

    async def _embed_text(self, ticket: Ticket, text: str) -> Vector:
        if (cached := self.texts.get(text)) is not None:
            self._metrics.cache_hit()
            return cached
        return await self.texts.share(text, lambda: self.batcher.submit_text(ticket, text))

    async def _fetch(self, ticket: Ticket, url: str) -> bytes:
        with fetching() as traceparent:
            return await self._fetcher.fetch(url, traceparent, ticket)


class ServedModels:
    """All models of a server, loaded in the background.

    Args:
        settings: The server's options.
        metrics: The server's metrics.
    """

    def __init__(self, settings: ServerSettings, metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self.draining = False
        self._models: dict[str, ServedModel] = {}
        self._fetcher = ImageFetcher(settings)

    async def load(self) -> None:
        """Open every model and embed one image and one text with it.

        Raises:
            MedImageInsightError: A model cannot be opened or run, or two have one name (``model_names_equal``).
        """
        loaded: dict[str, ServedModel] = {}
        for name in self.settings.model or (None,):
            model = await asyncio.to_thread(
                MedImageInsight.load,
                name,
                providers=self.settings.providers or None,
                threads=self.settings.threads,
                limits=self.image_limits,
            )
            if model.name in loaded:
                raise InputError(
                    f"expected models of different names, got two called {model.name!r}", code="model_names_equal"
                )
            loaded[model.name] = await asyncio.to_thread(ServedModel, model, self.settings, self.metrics, self._fetcher)
            await loaded[model.name].check_ready()
        self._models = loaded

    @property
    def image_limits(self) -> images.Limits:
        """The limits of one image."""
        return image_limits(self.settings)

    def check_open(self) -> None:
        """Refuse new work while models load and while the server drains.

        Raises:
            Rejection: 503.
        """
        if self.draining:
            raise Rejection(
                503, "expected a running server, this one is stopping: try again", code="server_draining",
                retry_after_s=1,
            )  # fmt: skip
        if not self._models:
            raise Rejection(
                503, "expected a loaded model, it is loading: try again", code="model_loading", retry_after_s=5
            )

    def get(self, name: str | None = None) -> ServedModel:
        """Return the model of a name, or the first one for None.

        Raises:
            Rejection: 404 for an unknown name, 503 while models load or the server drains.
        """
        self.check_open()
        if name is None:
            return next(iter(self._models.values()))
        if name not in self._models:
            raise Rejection(
                404,
                f"expected one of the models {', '.join(self._models)}, got an unknown name",
                code="model_not_found",
            )
        return self._models[name]

    def all(self) -> list[ServedModel]:
        """Return every loaded model, the default first."""
        return list(self._models.values())

    def close(self) -> None:
        """Stop all work and free the models."""
        for served in self._models.values():
            served.close()
        self._fetcher.close()


def image_limits(settings: ServerSettings) -> images.Limits:
    """Return the limits of one image."""
    return images.Limits(
        max_bytes=settings.max_body_bytes,
        max_pixels=settings.max_pixels,
        max_decoded_bytes=settings.max_decoded_bytes,
        accept_maps=settings.accept_maps,
    )


async def _run_each(keys: Iterable[_T], run: Callable[[_T], Awaitable[Any]]) -> dict[_T | None, Any]:
    """Return the result or the `InputError` of each distinct key; other errors are raised."""
    distinct = list(keys)
    results = await asyncio.gather(*(run(key) for key in distinct), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, InputError):
            raise result
    return dict(zip(distinct, results, strict=True))
