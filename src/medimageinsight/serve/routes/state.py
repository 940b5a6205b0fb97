"""What every route needs of the server it belongs to."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from medimageinsight.serve.http import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor

    from starlette.requests import Request

    from medimageinsight.serve.http import BodyReader
    from medimageinsight.serve.metrics import Metrics
    from medimageinsight.serve.models import ServedModels
    from medimageinsight.serve.settings import ServerSettings
    from medimageinsight.serve.stores import ServedStores

_T = TypeVar("_T")
SMALL_BODY = 64 << 10  # bytes; parsing so little takes less than handing it to a thread


@dataclass(frozen=True, kw_only=True, eq=False)
class ServerState:
    """The parts of one running server."""

    settings: ServerSettings
    models: ServedModels
    stores: ServedStores
    bodies: BodyReader
    metrics: Metrics
    workers: ThreadPoolExecutor  # for parsing and printing large JSON

    async def parse(self, body: bytes, read: Callable[[Any], _T]) -> _T:
        """``read`` of the body's JSON value, in a thread where it may take long.

        Raises:
            RequestError: The body is not JSON, or what ``read`` raises.
        """
        with self.metrics.timed("parse"):
            return await self.run(len(body), lambda: read(parse_json(body)))

    async def run(self, size: int, function: Callable[[], _T]) -> _T:
        """The function's result, in a thread where the bytes it works on are many."""
        return function() if size <= SMALL_BODY else await self.in_thread(function)

    async def in_thread(self, function: Callable[[], _T]) -> _T:
        """The function's result, always in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.workers, function)


def state_of(request: Request) -> ServerState:
    """The state of the server that a request came to."""
    state: ServerState = request.app.state.server
    return state
