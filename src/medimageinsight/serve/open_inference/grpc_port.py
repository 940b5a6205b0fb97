"""The gRPC server as an option: what must be there before processes start, and nothing where it is off."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from medimageinsight.errors import check_extra
from medimageinsight.serve.listen import open_sockets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from medimageinsight.serve.authentication import Authentication
    from medimageinsight.serve.routes.state import ServerState
    from medimageinsight.serve.settings import ServerSettings


def check_grpc_port(settings: ServerSettings) -> None:
    """Check that gRPC can be served, if it is wanted.

    Raises:
        MissingExtraError: gRPC's packages are not installed.
        ConfigError: The port cannot be listened on.
    """
    if settings.grpc_port is None:
        return
    check_extra("grpc", "the server's grpc_port", "grpc", "google.protobuf")
    for listener in open_sockets(settings.model_copy(update={"port": settings.grpc_port, "unix_socket": None})):
        listener.close()


@asynccontextmanager
async def grpc_server(server: ServerState, authentication: Authentication) -> AsyncIterator[None]:
    """Serve gRPC while the block runs, if it is wanted.

    Raises:
        ConfigError: The port or the certificate cannot be used.
    """
    if server.settings.grpc_port is None:
        yield
        return
    from medimageinsight.serve.open_inference.grpc_server import run_grpc_server

    async with run_grpc_server(server, authentication):
        yield
