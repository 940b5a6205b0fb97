"""What every route needs of the server it belongs to."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias, TypeVar

from fastapi import Depends, Request

from medimageinsight.serve.http import BodyReader, parse_json
from medimageinsight.serve.metrics import Metrics
from medimageinsight.serve.models import ServedModels
from medimageinsight.serve.progress import check_progress
from medimageinsight.serve.settings import ServerSettings
from medimageinsight.serve.stores import ServedStores
from medimageinsight.serve.thread_pool import ThreadPool
from medimageinsight.serve.tracing import Tracing

_T = TypeVar("_T")
SMALL_BODY = 64 << 10  # bytes; parsing so little takes less time than handing it to a thread


@dataclass(frozen=True, kw_only=True, eq=False)
class ServerState:
    """The parts of one running server."""

    settings: ServerSettings
    models: ServedModels
    stores: ServedStores
    bodies: BodyReader
    metrics: Metrics
    tracing: Tracing
    workers: ThreadPool  # that parse large bodies, and do nothing else

    @property
    def allow_urls(self) -> bool:
        """Whether an image may be a URL."""
        return bool(self.settings.url_hosts) or self.settings.dicomweb is not None

    async def parse(self, body: bytes, read: Callable[[Any], _T]) -> _T:
        """Return ``read`` of the body's JSON value, in a thread where it may take long.

        Raises:
            RequestError: The body is not JSON, or an error of ``read``.
        """
        with self.metrics.timed("parse"):
            return await self.run(len(body), lambda: read(parse_json(body)))

    async def run(self, size: int, function: Callable[[], _T]) -> _T:
        """Return the function's result, from a thread where it works on many bytes."""
        return function() if size <= SMALL_BODY else await self.workers.run(function)

    async def in_thread(self, function: Callable[[], _T]) -> _T:
        """Return the function's result, always from a thread; for work that decodes no image."""
        return await asyncio.to_thread(function)

    def check_parsing(self) -> None:
        """Refuse while bodies wait for a thread that parses them.

        Raises:
            Rejection: 503.
        """
        check_progress(self.workers.oldest_s(), "parsing_stalled")


def state_of(request: Request) -> ServerState:
    """Return the state of the server that a request came to."""
    state: ServerState = request.app.state.server
    return state


async def _state(request: Request) -> ServerState:  # asynchronous: FastAPI runs other functions in threads
    return state_of(request)


async def _open_state(request: Request) -> ServerState:
    state = state_of(request)
    state.models.check_open()
    return state


Server: TypeAlias = Annotated[ServerState, Depends(_state)]
OpenServer: TypeAlias = Annotated[ServerState, Depends(_open_state)]
"""The state of a server whose models are loaded and that does not drain; otherwise the response is 503."""
