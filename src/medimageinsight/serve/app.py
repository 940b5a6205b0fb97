"""The application: its routes, and the middleware around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from medimageinsight.engine import available_cpus
from medimageinsight.serve.access import Access
from medimageinsight.serve.authentication import Authentication
from medimageinsight.serve.compression import Compression
from medimageinsight.serve.error_handler import add_error_handler
from medimageinsight.serve.gateway import Gateway, HeadAsGet
from medimageinsight.serve.hosts import HostCheck, HostRules
from medimageinsight.serve.http import BodyReader
from medimageinsight.serve.lifespan import lifespan
from medimageinsight.serve.metrics import Metrics
from medimageinsight.serve.models import ServedModels
from medimageinsight.serve.openapi import DESCRIPTION, SERVERS, TAGS
from medimageinsight.serve.routes import (
    azure,
    inference,
    maps,
    openai,
    score,
    service,
    slides,
    stores,
    study,
    tasks,
    upload,
)
from medimageinsight.serve.routes.state import ServerState
from medimageinsight.serve.stores import ServedStores
from medimageinsight.serve.thread_pool import ThreadPool
from medimageinsight.serve.tracing import Tracing
from medimageinsight.version import __version__

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from medimageinsight.serve.settings import ServerSettings

# FastAPI would record the texts of exceptions, and send them where an environment variable states.
NO_TELEMETRY: Any = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}


def create_app(settings: ServerSettings) -> ASGIApp:
    """Return the server as an ASGI application.

    Args:
        settings: The server's options.

    Raises:
        ConfigError: The key file cannot be used.
    """
    metrics, tracing = Metrics(), Tracing(settings)
    authentication = Authentication(settings)
    app = create_api(settings.root_path)
    app.state.server = server = ServerState(
        settings=settings,
        models=ServedModels(settings, metrics),
        stores=ServedStores(settings),
        bodies=BodyReader(settings),
        metrics=metrics,
        tracing=tracing,
        workers=ThreadPool(available_cpus(), "mi2-json"),
    )
    app.state.authentication = authentication
    rules = None if authentication.is_required else _host_rules(settings)
    routes: ASGIApp = HeadAsGet(app)
    if settings.compress_min_bytes:
        routes = Compression(routes, min_bytes=settings.compress_min_bytes, run=server.run)
    checked = HostCheck(routes, rules=rules, metrics=metrics)
    guarded: ASGIApp = Access(
        checked,
        authentication=authentication,
        metrics=metrics,
        tracing=tracing,
        log_requests=settings.access_log,
        root_path=settings.root_path,
    )
    if settings.cors_origins:
        guarded = CORSMiddleware(
            guarded,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "api-key", "X-API-Key", "traceparent"],
        )
    return Gateway(guarded, root_path=settings.root_path)


def _host_rules(settings: ServerSettings) -> HostRules:
    return HostRules(
        host=settings.host,
        is_local=settings.is_local,
        allowed_hosts=settings.allowed_hosts,
        origins=settings.cors_origins,
    )


def create_api(root_path: str = "") -> FastAPI:
    """Return the routes with their OpenAPI document, without a server's state.

    Args:
        root_path: Path under which a proxy offers the server.
    """
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
        lifespan=lifespan,
        redirect_slashes=False,
        telemetry=NO_TELEMETRY,
    )
    for routes in (score, openai, azure, inference, tasks, study, upload, stores, maps, slides, service):
        app.include_router(routes.router)
    app.include_router(service.health_router)
    add_error_handler(app)
    return app
