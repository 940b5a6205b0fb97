"""The models of one server, and rows of any route embedded with one of them."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from medimageinsight import MedImageInsight, images
from medimageinsight.errors import InputError
from medimageinsight.serve.batcher import Batcher
from medimageinsight.serve.rejection import Rejection
from medimageinsight.serve.scoring import row_result
from medimageinsight.serve.text_cache import TextCache
from medimageinsight.serve.urls import UrlPolicy, fetch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from medimageinsight.preprocess import Preprocessing
    from medimageinsight.serve.batcher import Ticket
    from medimageinsight.serve.contract import Row
    from medimageinsight.serve.metrics import Metrics
    from medimageinsight.serve.scoring_response import Features
    from medimageinsight.serve.settings import ServerSettings

_T = TypeVar("_T")
Vector: TypeAlias = "NDArray[np.float32]"

PROOF_LASTS_S = 15.0  # an embedding made so long ago still proves that another can be made
PROBE_TIMEOUT_S = 60.0  # the released size takes seconds an image on a small machine
_PROBE_TEXT = "x-ray"


class ServedModel:
    """One model with its queue and its recent texts."""

    def __init__(
        self, model: MedImageInsight, settings: ServerSettings, metrics: Metrics, fetchers: ThreadPoolExecutor
    ) -> None:
        self.model = model
        self.batcher = Batcher(
            model,
            batch_images=settings.batch_images,
            queue_rows=settings.queue_rows,
            queue_deadline_s=settings.queue_deadline_s,
            metrics=metrics,
        )
        self.texts = TextCache(settings.text_cache)
        self._metrics = metrics
        self._fetchers = fetchers
        self._urls = UrlPolicy(hosts=frozenset(settings.url_hosts), max_bytes=settings.max_body_bytes)
        self._probe: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    async def embed_rows(self, rows: Sequence[Row], preprocessing: Preprocessing) -> list[Features | InputError]:
        """The features or the error of each row, in order. Equal images of one request cost once.

        Raises:
            Rejection: 429, the queue is full or the work did not begin in time.
        """
        if not rows:
            return []
        with self.batcher.admit(len(rows)) as ticket:
            urls = await self._each({row.image_url for row in rows if row.image_url is not None}, self._fetch)
            cells = [urls[row.image_url] if row.image_url is not None else row.image for row in rows]
            pictures = {(cell, row.frame) for cell, row in zip(cells, rows, strict=True) if isinstance(cell, bytes)}
            texts = {row.text for row in rows if row.text is not None}
            embedded, text_features = await asyncio.gather(
                self._each(
                    pictures, lambda one: self.batcher.submit_image(ticket, one[0], preprocessing, frame=one[1])
                ),
                self._each(texts, lambda text: self._embed_text(ticket, text)),
            )
        results = [
            row_result(
                row,
                text_features.get(row.text),
                cell if isinstance(cell, InputError) else embedded.get((cell, row.frame)),
            )
            for row, cell in zip(rows, cells, strict=True)
        ]
        for result in results:
            self._metrics.row(result.code if isinstance(result, InputError) else None)
        return results

    async def prove(self) -> None:
        """Return when an embedding of each kind can be made; one made a moment ago is proof enough.

        Raises:
            Exception: Whatever keeps one from being made.
        """
        if time.monotonic() - min(self.batcher.last_success.values()) < PROOF_LASTS_S:
            return
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._prove())
        await asyncio.shield(self._probe)

    async def _prove(self) -> None:
        with self.batcher.admit(0) as ticket:
            ticket.begun = True  # a long queue is no failure
            image = self.batcher.submit_image(ticket, _probe_image(), self.model.preprocessing, urgent=True)
            text = self.batcher.submit_text(ticket, _PROBE_TEXT, urgent=True)
            await asyncio.wait_for(asyncio.gather(image, text), PROBE_TIMEOUT_S)

    async def _each(self, keys: Iterable[_T], start: Callable[[_T], Awaitable[Any]]) -> dict[_T | None, Any]:
        """What was made of each key, or its `InputError`."""
        distinct = list(keys)
        found = await asyncio.gather(*(start(key) for key in distinct), return_exceptions=True)
        for one in found:
            if isinstance(one, BaseException) and not isinstance(one, InputError):
                raise one
        return dict(zip(distinct, found, strict=True))

    async def _embed_text(self, ticket: Ticket, text: str) -> Vector:
        if (kept := self.texts.get(text)) is not None:
            self._metrics.cache_hit()
            return kept
        return await self.texts.share(text, lambda: self.batcher.submit_text(ticket, text))

    async def _fetch(self, url: str) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(self._fetchers, fetch, url, self._urls)


class ServedModels:
    """All models of a server, loaded in the background, and whether it can answer.

    Args:
        settings: The server's options.
        metrics: Counts what happens.
    """

    def __init__(self, settings: ServerSettings, metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self.draining = False
        self._models: dict[str, ServedModel] = {}
        self._fetchers = ThreadPoolExecutor(8, "mi2-fetch")

    async def load(self) -> None:
        """Open every model and make one embedding of each kind with it.

        Raises:
            MedImageInsightError: A model cannot be opened or run, or two have one name (``model_names_equal``).
        """
        loaded: dict[str, ServedModel] = {}
        for choice in self.settings.model or (None,):
            model = await asyncio.to_thread(self._open, choice)
            if model.name in loaded:
                raise InputError(
                    f"expected models of different names, got two called {model.name!r}", code="model_names_equal"
                )
            loaded[model.name] = ServedModel(model, self.settings, self.metrics, self._fetchers)
            await loaded[model.name].prove()
        self._models = loaded

    def _open(self, choice: str | None) -> MedImageInsight:
        return MedImageInsight.load(
            choice,
            providers=self.settings.providers or None,
            threads=self.settings.threads,
            limits=self.image_limits,
        )

    @property
    def image_limits(self) -> images.Limits:
        """What an image may not exceed."""
        return images.Limits(max_bytes=self.settings.max_body_bytes, max_pixels=self.settings.max_pixels)

    def check_open(self) -> None:
        """Refuse new work while models load and while the server drains.

        Raises:
            Rejection: 503.
        """
        if self.draining:
            raise Rejection(503, "expected a running server, this one is stopping: try again", code="server_draining",
                          retry_after_s=1)  # fmt: skip
        if not self._models:
            raise Rejection(503, "expected a loaded model, it is loading: try again", code="model_loading",
                          retry_after_s=5)  # fmt: skip

    def get(self, name: str | None = None) -> ServedModel:
        """A model by its name; the first where none is given.

        Raises:
            Rejection: 404 for an unknown name, 503 while models load or the server drains.
        """
        self.check_open()
        if name is None:
            return next(iter(self._models.values()))
        if name not in self._models:
            raise Rejection(
                404, f"expected one of the models {', '.join(self._models)}, got another name", code="model_not_found"
            )
        return self._models[name]

    def all(self) -> list[ServedModel]:
        """Every loaded model, the default first."""
        return list(self._models.values())

    def close(self) -> None:
        """Stop all work and free the models."""
        for served in self._models.values():
            served.batcher.close()
            served.model.close()
        self._fetchers.shutdown(wait=False, cancel_futures=True)


def _probe_image() -> bytes:
    """The smallest picture: 1 x 1 grey, as a PNM file."""
    return b"P5 1 1 255\n\x80"
