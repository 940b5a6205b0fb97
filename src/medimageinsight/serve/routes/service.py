"""The server itself: health, version, metrics, its description, the page and its parts."""

import asyncio
import logging
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Annotated, Any

from fastapi import Path, Request, Response
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, PlainTextResponse

from medimageinsight import schemas
from medimageinsight.serve.http import json_response
from medimageinsight.serve.openapi import describe
from medimageinsight.serve.rejection import Rejection
from medimageinsight.serve.routes.infer_route import InferRoute
from medimageinsight.serve.routes.route import RETRY_AFTER, errors, media, new_router
from medimageinsight.serve.routes.state import Server, ServerState
from medimageinsight.version import __version__

router = new_router("Service")
health_router = new_router("Open Inference Protocol", "/v2", InferRoute)

_PACKAGE = "medimageinsight.serve"
_PART_TYPES = {".js": "text/javascript", ".css": "text/css"}
_NO_KEY: dict[str, Any] = {"security": []}
_NOT_READY: dict[int | str, dict[str, Any]] = {
    503: {"model": schemas.NotReady, "description": "Not ready: `status` is the reason.", "headers": RETRY_AFTER}
}

logger = logging.getLogger("medimageinsight.serve")


@router.get("/", response_class=PlainTextResponse, responses=media("text/html"))
async def root(request: Request) -> Response:
    """Show the page to a browser, `Healthy` to a program."""
    if "text/html" in request.headers.get("accept", ""):
        return HTMLResponse(_read_text("page/index.html"), headers=_headers("'self'"))
    return PlainTextResponse("Healthy")


@router.get("/page/{name}", response_class=Response, responses=media(*_PART_TYPES.values()) | errors(404))
async def page_part(name: Annotated[str, Path(description="A file's name.")]) -> Response:
    """Return a script or the style of the page."""
    part = next((part for part in files(_PACKAGE).joinpath("page").iterdir() if part.name == name), None)
    media_type = _PART_TYPES.get(PurePosixPath(name).suffix)
    if part is None or media_type is None:
        raise HTTPException(404)
    # Asked for anew each time: after an update, parts of two versions would not fit.
    headers = {**_headers("'self'"), "Cache-Control": "no-cache"}
    return Response(part.read_bytes(), media_type=media_type, headers=headers)


@router.get("/docs", response_class=HTMLResponse)
async def docs() -> Response:
    """Show this description as a page with examples to run."""
    return HTMLResponse(_read_text("docs.html"), headers=_headers("'unsafe-inline'"))


@router.get("/swagger.json", name="description", response_model=dict[str, Any])
async def openapi_document(request: Request, server: Server) -> Response:
    """Return this description."""
    document = await server.in_thread(
        lambda: describe(
            request.app,
            embedding_dims={served.name: served.model.embedding_dim for served in server.models.all()},
            max_rows=server.settings.max_rows,
            max_body_bytes=server.settings.max_body_bytes,
            keyed=server.settings.needs_key,
        )
    )
    return json_response(document)


@router.get("/ping", response_class=PlainTextResponse, openapi_extra=_NO_KEY)
async def ping() -> Response:
    """Answer, as MLflow's clients ask."""
    return PlainTextResponse("pong")


@router.get("/version", openapi_extra=_NO_KEY)
async def version(server: Server) -> schemas.Version:
    """Return the version and the names of the models."""
    return schemas.Version(version=__version__, models=[served.name for served in server.models.all()])


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(server: Server) -> Response:
    """Return numbers for Prometheus."""
    content = await asyncio.to_thread(server.metrics.exposition)
    return Response(content, media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/health/live", openapi_extra=_NO_KEY)
@health_router.get("/health/live", operation_id="serverLive", openapi_extra=_NO_KEY)
async def live() -> schemas.Live:
    """Answer, so that the process is known to run."""
    return schemas.Live()


@router.get("/health/ready", response_model=schemas.Ready, responses=_NOT_READY, openapi_extra=_NO_KEY)
@health_router.get(
    "/health/ready",
    operation_id="serverReady",
    response_model=schemas.Ready,
    responses=_NOT_READY,
    openapi_extra=_NO_KEY,
)
async def ready(server: Server) -> Response:
    """Check that embeddings can be made.

    One of each kind was made with every model, now or a moment ago.
    """
    return await _readiness(server, None)


@health_router.get("/models/{model}/versions/{version}/ready", include_in_schema=False)
@health_router.get(
    "/models/{model}/ready",
    response_model=schemas.ModelReady,
    responses=errors(404, form=schemas.InferErrorResponse)
    | {503: _NOT_READY[503] | {"model": schemas.NotReady | schemas.InferErrorResponse}},
)
async def model_ready(server: Server, model: Annotated[schemas.ModelName, Path(description="Its name.")]) -> Response:
    """Check that embeddings can be made with a model."""
    server.models.get(model)
    return await _readiness(server, model)


async def _readiness(server: ServerState, name: str | None) -> Response:
    try:
        server.models.check_open()
        server.stores.check_open()
        server.check_parsing()
        chosen = server.models.all() if name is None else [server.models.get(name)]
        await asyncio.gather(*(served.check_ready() for served in chosen))
    except Rejection as error:
        return _not_ready(error.code)
    except Exception as error:  # whatever keeps an embedding from being made
        logger.error("not ready", extra={"error": type(error).__name__})
        return _not_ready("embedding_failed")
    return json_response(schemas.Ready() if name is None else schemas.ModelReady(name=name))


def _not_ready(reason: str) -> Response:
    return json_response(schemas.NotReady(status=reason), 503, {"Retry-After": "5"})


def _read_text(name: str) -> str:
    return files(_PACKAGE).joinpath(name).read_text("utf-8")


def _headers(source: str) -> dict[str, str]:
    """Return the headers of a page that reaches this server alone, with the source of its scripts and styles."""
    return {
        "Content-Security-Policy": f"default-src 'none'; style-src {source}; script-src {source}; "
        "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
