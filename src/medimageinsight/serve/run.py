"""Run the server in one or several processes: uvicorn with this package's limits."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.supervisors import Multiprocess

from medimageinsight.bundle import Bundle, find
from medimageinsight.serve.app import create_app
from medimageinsight.serve.logs import configure_logging
from medimageinsight.serve.metrics import MULTIPROCESS_FOLDER
from medimageinsight.serve.settings import ServerSettings
from medimageinsight.serve.timed_http import ServerConfig
from medimageinsight.version import DISCLAIMER

if TYPE_CHECKING:
    from starlette.types import ASGIApp

logger = logging.getLogger("medimageinsight.serve")
SETTINGS_VARIABLE = "_MI2_SERVER_SETTINGS"  # the settings of a worker process, as JSON


def serve(settings: ServerSettings) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        BundleError: A model does not exist, or its files are not valid.
        ConfigError: The key file cannot be used.
        SystemExit: The port is taken, or a model cannot be loaded.
    """
    for model in settings.model or (None,):
        Bundle.open(find(model))  # fail before a worker process does
    configure_logging(settings.log_level)
    _print_address(settings)
    if settings.workers == 1:
        config = _config(settings, create_app(settings))
        uvicorn.Server(config).run()
        return
    create_app(settings)  # fail before each worker process does
    with tempfile.TemporaryDirectory(prefix="mi2-metrics-") as folder:
        os.environ[MULTIPROCESS_FOLDER] = folder
        os.environ[SETTINGS_VARIABLE] = settings.model_dump_json()
        config = _config(settings, "medimageinsight.serve.run:worker_app")
        Multiprocess(config, sockets=[config.bind_socket()]).run()


def worker_app() -> ASGIApp:
    """Create the application of a worker process, with the settings that its parent left in the environment."""
    settings = ServerSettings.model_validate_json(os.environ[SETTINGS_VARIABLE])
    configure_logging(settings.log_level)
    return create_app(settings)


def _config(settings: ServerSettings, app: ASGIApp | str) -> ServerConfig:
    return ServerConfig(
        app,
        factory=isinstance(app, str),
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        head_timeout_s=settings.header_timeout_s,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(settings.drain_timeout_s)),
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )


def _print_address(settings: ServerSettings) -> None:
    scheme = "https" if settings.tls_cert else "http"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    clients = "this machine only" if settings.is_local else "all machines that can reach this one"
    sys.stderr.write(f"Serving on {scheme}://{host}:{settings.port} for {clients}.\n{DISCLAIMER}\n")
    if not settings.is_local and settings.api_key_file is None:
        logger.warning("reachable from other machines without a key: set api_key_file")
    if not settings.is_local and settings.tls_cert is None:
        logger.warning("reachable from other machines without TLS: set tls_cert and tls_key, or put a proxy in front")
