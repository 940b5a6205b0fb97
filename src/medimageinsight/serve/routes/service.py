"""What the server says of itself: health, version, metrics, its description, the page and its parts."""

from __future__ import annotations

import asyncio
import logging
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, PlainTextResponse

from medimageinsight.serve.http import json_response
from medimageinsight.serve.openapi import describe
from medimageinsight.serve.rejection import Refused
from medimageinsight.serve.routes.state import ServerState, state_of
from medimageinsight.version import __version__

router = APIRouter(include_in_schema=False)
logger = logging.getLogger("medimageinsight.serve")
_PACKAGE = "medimageinsight.serve"
_PART_TYPES = {".js": "text/javascript", ".css": "text/css"}


@router.get("/")
async def root(request: Request) -> Response:
    """The page for a browser, a plain word for a program."""
    if "text/html" in request.headers.get("accept", ""):
        return HTMLResponse(_text("page/index.html"), headers=_headers("'self'"))
    return PlainTextResponse("Healthy")


@router.get("/page/{name}")
async def page_part(name: str) -> Response:
    """A script or the style of the page."""
    part = next((part for part in files(_PACKAGE).joinpath("page").iterdir() if part.name == name), None)
    media_type = _PART_TYPES.get(PurePosixPath(name).suffix)
    if part is None or media_type is None:
        raise HTTPException(404)
    # Asked for anew each time: after an update, parts of two versions would not fit.
    headers = {**_headers("'self'"), "Cache-Control": "no-cache"}
    return Response(part.read_bytes(), media_type=media_type, headers=headers)


@router.get("/docs")
async def docs() -> Response:
    """The description as a page with examples to run."""
    return HTMLResponse(_text("docs.html"), headers=_headers("'unsafe-inline'"))


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
        server.stores.check_open()
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


def _text(name: str) -> str:
    return files(_PACKAGE).joinpath(name).read_text("utf-8")


def _headers(own: str) -> dict[str, str]:
    """A page reaches nothing but this server, nobody frames it, and its scripts and styles are its ``own``."""
    return {
        "Content-Security-Policy": f"default-src 'none'; style-src {own}; script-src {own}; "
        "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
