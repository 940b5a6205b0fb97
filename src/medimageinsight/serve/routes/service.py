"""What the server says of itself: health, version, metrics, its description, and the two pages."""

from __future__ import annotations

import asyncio
import logging
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.responses import HTMLResponse, PlainTextResponse

from medimageinsight.serve.http import json_response
from medimageinsight.serve.openapi import describe
from medimageinsight.serve.refused import Refused
from medimageinsight.serve.routes.state import ServerState, state_of
from medimageinsight.version import __version__

router = APIRouter(include_in_schema=False)
logger = logging.getLogger("medimageinsight.serve")
_PACKAGE = "medimageinsight.serve"
# Nothing but this server is to be reached from its pages, and nobody is to frame them.
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@router.get("/")
async def root(request: Request) -> Response:
    """The page for a browser, a plain word for a program."""
    if "text/html" in request.headers.get("accept", ""):
        return _page("page.html")
    return PlainTextResponse("Healthy")


@router.get("/docs")
async def docs() -> Response:
    """The description as a page with examples to run."""
    return _page("docs.html")


@router.get("/swagger.json")
async def description(request: Request) -> Response:
    """The OpenAPI description."""
    server = state_of(request)
    models = server.models.all()
    settings = server.settings
    return json_response(
        describe(
            version=__version__,
            model_names=[served.name for served in models],
            embedding_dims={served.name: served.model.embedding_dim for served in models},
            max_rows=settings.max_rows,
            max_body_bytes=settings.max_body_bytes,
            keyed=settings.api_key_file is not None,
        )
    )


@router.get("/ping")
async def ping() -> Response:
    """MLflow's sign of life."""
    return PlainTextResponse("pong")


@router.get("/version")
async def version(request: Request) -> Response:
    """The version of the package and the names of the models."""
    models = state_of(request).models.all()
    return json_response({"version": __version__, "models": [served.name for served in models]})


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Prometheus's text format."""
    server = state_of(request)
    content = await asyncio.to_thread(server.metrics.exposition)
    return Response(content, media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/health/live")
@router.get("/v2/health/live")
async def live() -> Response:
    """The process answers."""
    return json_response({"status": "live", "live": True})


@router.get("/health/ready")
@router.get("/v2/health/ready")
async def ready(request: Request) -> Response:
    """An embedding of each kind was made with every model, now or a moment ago."""
    return await _readiness(state_of(request), None)


@router.get("/v2/models/{model}/ready")
async def model_ready(request: Request, model: str) -> Response:
    """The same for one model."""
    server = state_of(request)
    server.models.get(model)
    return await _readiness(server, model)


async def _readiness(server: ServerState, name: str | None) -> Response:
    try:
        server.models.check_open()
        chosen = server.models.all() if name is None else [server.models.get(name)]
        await asyncio.gather(*(served.prove() for served in chosen))
    except Refused as error:
        return _not_ready(error.code)
    except Exception as error:  # whatever keeps an embedding from being made
        logger.error("not ready", extra={"error": type(error).__name__})
        return _not_ready("embedding_failed")
    body: dict[str, Any] = {"status": "ready", "ready": True}
    return json_response(body if name is None else {"name": name, **body})


def _not_ready(reason: str) -> Response:
    return json_response({"status": reason, "ready": False}, 503, {"Retry-After": "5"})


def _page(name: str) -> Response:
    return HTMLResponse(files(_PACKAGE).joinpath(name).read_text("utf-8"), headers=_PAGE_HEADERS)
