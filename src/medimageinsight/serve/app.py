"""The application: routes, errors in each protocol's form, and the life of the models behind them."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from medimageinsight.engine import available_cpus
from medimageinsight.errors import InputError, MedImageInsightError
from medimageinsight.schemas import ErrorResponse, ResponseModel, first_error
from medimageinsight.serve.access import Access
from medimageinsight.serve.http import BodyReader, ClientGoneError, json_response
from medimageinsight.serve.keys import KeyRing
from medimageinsight.serve.metrics import Metrics
from medimageinsight.serve.models import ServedModels
from medimageinsight.serve.openapi import DESCRIPTION, SERVERS, TAGS
from medimageinsight.serve.rejection import Rejection
from medimageinsight.serve.routes import inference, maps, openai, score, service, stores, tasks
from medimageinsight.serve.routes.state import ServerState
from medimageinsight.serve.scoring_response import status_of
from medimageinsight.serve.stores import ServedStores
from medimageinsight.version import __version__

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.types import ASGIApp

    from medimageinsight.serve.settings import ServerSettings

logger = logging.getLogger("medimageinsight.serve")
# FastAPI would record exceptions' texts, and send them where a variable of the environment says.
NO_TELEMETRY: Any = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
CLIENT_CLOSED_REQUEST = 499  # nginx's; nobody reads it but the log


def create_app(settings: ServerSettings) -> ASGIApp:
    """The server as an ASGI application.

    Args:
        settings: The server's options.

    Raises:
        ConfigError: The key file cannot be used.
    """
    metrics = Metrics()
    keys = KeyRing.from_file(settings.api_key_file) if settings.api_key_file is not None else None
    state = ServerState(
        settings=settings,
        models=ServedModels(settings, metrics),
        stores=ServedStores(settings),
        bodies=BodyReader(settings),
        metrics=metrics,
        workers=ThreadPoolExecutor(available_cpus(), "mi2-json"),
    )
    app = create_api(settings.root_path)
    app.state.server = state
    guarded: ASGIApp = Access(
        app, keys=keys, metrics=metrics, log_requests=settings.access_log, root_path=settings.root_path
    )
    if settings.cors_origins:
        guarded = CORSMiddleware(
            guarded, allow_origins=settings.cors_origins, allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
        )  # fmt: skip
    return guarded


def create_api(root_path: str = "") -> FastAPI:
    """Return the routes and their OpenAPI document, without a server's state."""
    app = FastAPI(
        title="medimageinsight",
        version=__version__,
        description=DESCRIPTION,
        servers=SERVERS,
        openapi_tags=TAGS,
        separate_input_output_schemas=False,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        root_path=root_path,
        lifespan=_lifespan,
        redirect_slashes=False,
        telemetry=NO_TELEMETRY,
    )
    for routes in (score, openai, inference, tasks, stores, maps, service):
        app.include_router(routes.router)
    app.include_router(service.health_router)
    for kind in (InputError, Rejection, ClientGoneError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _on_error)
    return app


async def _on_error(request: Request, error: Exception) -> Response:
    """An error in the form of the protocol that the request speaks."""
    if isinstance(error, ClientGoneError):
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    rejection = _as_rejection(error)
    server: ServerState = request.app.state.server
    server.metrics.error(rejection.code)
    headers = dict(getattr(error, "headers", None) or {})
    if rejection.retry_after_s is not None:
        headers["Retry-After"] = str(rejection.retry_after_s)
    path = request.url.path.removeprefix(server.settings.root_path)
    if path.startswith("/v1/"):
        body: ResponseModel = openai.error_body(rejection, rejection.status)
    elif path.startswith("/v2"):
        body = inference.error_body(rejection)
    else:
        body = ErrorResponse.of(rejection)
    return json_response(body, rejection.status, headers)


def _as_rejection(error: Exception) -> Rejection:
    if isinstance(error, Rejection):
        return error
    if isinstance(error, RequestValidationError):  # of a URL's query; its members follow the word "query"
        error = first_error([{**item, "loc": item["loc"][1:]} for item in error.errors()])
    if isinstance(error, InputError):
        return Rejection(status_of(error), error.message, code=error.code)
    if not isinstance(error, HTTPException):
        return Rejection(500, "expected to answer, failed: its request id is in the server's log", code="unexpected")
    known = {404: ("no such route", "route_not_found"), 405: ("another method", "method_not_allowed")}
    got, code = known.get(error.status_code, ("a request of another form", "request_invalid"))
    return Rejection(error.status_code, f"expected a route of this server, got {got}: see /docs", code=code)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Models load while the server already answers 503; a model that cannot be loaded ends the process."""
    state: ServerState = app.state.server
    loading = asyncio.create_task(_load(state))
    with _draining_on_sigterm(state):
        yield
    loading.cancel()
    with suppress(asyncio.CancelledError):
        await loading
    await asyncio.to_thread(state.stores.close)
    await asyncio.to_thread(state.models.close)
    state.workers.shutdown(wait=False, cancel_futures=True)


async def _load(state: ServerState) -> None:
    try:
        await state.models.load()
        await asyncio.to_thread(state.stores.load, state.models.all())
    except Exception as error:
        what = f"{error.code}: {error.message}" if isinstance(error, MedImageInsightError) else type(error).__name__
        logger.critical("a model, a store or a tagger cannot be loaded", extra={"error": what})
        os._exit(1)  # of no use; nothing is in work, and whoever started the process is told by its end
    logger.info("ready", extra={"models": [served.name for served in state.models.all()]})


class _draining_on_sigterm:  # noqa: N801 - a with statement
    """While the block runs, SIGTERM first makes the server refuse new work, then stops it as before."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._before: Any = None

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # signals come to the main thread alone; a server in another is stopped by who started it
        loop = asyncio.get_running_loop()
        self._before = signal.getsignal(signal.SIGTERM)
        delay = self._state.settings.drain_delay_s

        def drain(number: int, frame: Any) -> None:  # noqa: ANN401 - a frame
            self._state.models.draining = True
            logger.info("draining")
            stop: Callable[[], object] = lambda: callable(self._before) and self._before(number, frame)  # noqa: E731
            if delay:
                loop.call_soon_threadsafe(loop.call_later, delay, stop)
            else:
                stop()

        signal.signal(signal.SIGTERM, drain)

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
