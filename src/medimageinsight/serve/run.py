"""Run the server in one or several processes: uvicorn with this package's limits."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import tempfile
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from medimageinsight.bundle import Bundle, find
from medimageinsight.errors import MedImageInsightError
from medimageinsight.serve.allocator import return_large_blocks
from medimageinsight.serve.app import create_app
from medimageinsight.serve.listen import BACKLOG, open_sockets
from medimageinsight.serve.logs import configure_logging
from medimageinsight.serve.metrics import MULTIPROCESS_FOLDER
from medimageinsight.serve.open_inference.grpc_port import check_grpc_port
from medimageinsight.serve.settings import ServerSettings
from medimageinsight.serve.supervisor import Supervisor
from medimageinsight.serve.timed_http import ServerConfig
from medimageinsight.serve.tracing import check_otel
from medimageinsight.version import DISCLAIMER

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from starlette.types import ASGIApp

logger = logging.getLogger("medimageinsight.serve")
SETTINGS_VARIABLE = "_MI2_SERVER_SETTINGS"  # the settings of a worker process, as JSON
_OTHER_FILES = 100  # open files that are no connections: of the process, models, stores
_UNRESPONSIVE_S = 30  # a worker that reports nothing for this time is replaced; decoding may hold the interpreter


def serve(settings: ServerSettings) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        BundleError: A model does not exist, or its files are not valid.
        ConfigError: The key file cannot be used, or an address cannot be listened on.
        MissingExtraError: ``grpc_port`` is set without the extra ``grpc``, or ``otlp_endpoint`` without ``otel``.
        SystemExit: A model, a store or a tagger cannot be opened.
    """
    for model in settings.model or (None,):
        Bundle.open(find(model))  # fail before a worker process does
    configure_logging(settings.log_level)
    check_grpc_port(settings)  # likewise
    return_large_blocks()
    check_otel(settings)
    app = create_app(settings)
    sockets = open_sockets(settings)
    try:
        _print_address(settings, sockets)
        if settings.workers == 1:
            if hasattr(signal, "SIGHUP"):
                signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the application handles it
            _Server(_config(settings, app), settings.unix_socket).run(sockets)
        else:
            _serve_in_workers(settings, sockets)
    finally:
        _remove(settings.unix_socket)


class _Server(uvicorn.Server):
    """uvicorn's server, which ends the process by the signal that it received and leaves no UNIX socket behind."""

    def __init__(self, config: ServerConfig, unix_socket: Path | None) -> None:
        super().__init__(config)
        self._unix_socket = unix_socket

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        _remove(self._unix_socket)
        await super().shutdown(sockets)


def _remove(unix_socket: Path | None) -> None:
    if unix_socket is not None:
        unix_socket.unlink(missing_ok=True)


def _serve_in_workers(settings: ServerSettings, sockets: list[socket.socket]) -> None:
    with tempfile.TemporaryDirectory(prefix="mi2-metrics-") as folder:
        os.environ[MULTIPROCESS_FOLDER] = folder
        os.environ[SETTINGS_VARIABLE] = settings.model_dump_json()
        config = _config(settings, "medimageinsight.serve.run:worker_app")
        supervisor = Supervisor(config, sockets, metrics_folder=folder)
        supervisor.run()
    if supervisor.failed:
        raise SystemExit(1)


def worker_app() -> ASGIApp:
    """Create the application of a worker process, with the settings that its parent left in the environment.

    Raises:
        SystemExit: The key file cannot be used any more.
    """
    settings = ServerSettings.model_validate_json(os.environ[SETTINGS_VARIABLE])
    configure_logging(settings.log_level)
    return_large_blocks()
    try:
        return create_app(settings)
    except MedImageInsightError as error:
        logger.critical("a worker cannot start", extra={"error": f"{error.code}: {error.message}"})
        raise SystemExit(STARTUP_FAILURE) from None


def _config(settings: ServerSettings, app: ASGIApp | str) -> ServerConfig:
    return ServerConfig(
        app,
        factory=isinstance(app, str),
        host=settings.host,
        port=settings.port,
        backlog=BACKLOG,
        workers=settings.workers,
        head_timeout_s=settings.header_timeout_s,
        write_timeout_s=settings.write_timeout_s,
        max_connections=_max_connections(settings.max_connections),
        timeout_keep_alive=settings.keep_alive,
        timeout_worker_healthcheck=_UNRESPONSIVE_S,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(settings.drain_timeout_s)),
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )


def _max_connections(wanted: int) -> int:
    """Return how many connections a process can have open, after raising its limit of open files if necessary."""
    try:
        import resource
    except ImportError:  # Windows
        return wanted
    limit, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + 2 * _OTHER_FILES
    if limit != resource.RLIM_INFINITY and limit < needed:
        limit = needed if maximum == resource.RLIM_INFINITY else min(needed, maximum)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, maximum))
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return max(1, min(wanted, limit - min(2 * _OTHER_FILES, limit * 3 // 4)))
    return wanted


def _print_address(settings: ServerSettings, sockets: list[socket.socket]) -> None:
    if settings.unix_socket is not None:
        sys.stderr.write(f"Serving on unix:{settings.unix_socket} for this machine only.\n{DISCLAIMER}\n")
        return
    scheme = "https" if settings.tls_cert else "http"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    port = sockets[0].getsockname()[1]
    clients = "this machine only" if settings.is_local else "all machines that can reach this one"
    sys.stderr.write(f"Serving on {scheme}://{host}:{port} for {clients}.\n{DISCLAIMER}\n")
    if not settings.is_local and not settings.needs_key:
        logger.warning("reachable from other machines without a key: set api_key_file")
    if not settings.is_local and settings.tls_cert is None:
        logger.warning("reachable from other machines without TLS: set tls_cert and tls_key, or put a proxy in front")
