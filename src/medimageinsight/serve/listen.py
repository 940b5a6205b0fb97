"""The sockets that a server listens on."""

from __future__ import annotations

import errno
import os
import socket
import stat
from typing import TYPE_CHECKING, Any

from medimageinsight.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from medimageinsight.serve.settings import ServerSettings

BACKLOG = 2048
_UNIX_MODE = 0o660  # owner and group
_NOT_ON_THIS_MACHINE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # as ::1 in many containers


def open_sockets(settings: ServerSettings) -> list[socket.socket]:
    """Return listening sockets: of every address of the host, all with the same port, or of a UNIX socket's path.

    Raises:
        ConfigError: ``address_not_available``: in use, unknown, of another machine, or not permitted.
    """
    try:
        if settings.unix_socket is not None:
            return [_open_unix(settings.unix_socket)]
        return _open_tcp(settings.host, settings.port)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(
            f"expected an address that the server can listen on, got: {reason}: choose another host, port or "
            "unix_socket, or end the program that uses it",
            code="address_not_available",
        ) from None


def _open_tcp(host: str, port: int) -> list[socket.socket]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    opened: list[socket.socket] = []
    failed = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    for family, _, _, _, address in dict.fromkeys(found):
        try:
            opened.append(_listen(family, (address[0], port, *address[2:])))
        except OSError as error:
            failed = error
            if error.errno not in _NOT_ON_THIS_MACHINE:
                for listener in opened:
                    listener.close()
                raise
        else:
            port = opened[0].getsockname()[1]
    if not opened:
        raise failed
    return opened


def _listen(family: int, address: tuple[Any, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere, it would permit two servers on one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _open_unix(path: Path) -> socket.socket:
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        mask = os.umask(0o777 & ~_UNIX_MODE)
        try:
            listener.bind(str(path))
        finally:
            os.umask(mask)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _remove_stale(path: Path) -> None:
    """Remove the socket of a server that has ended.

    Raises:
        OSError: A server listens on it, or it is something else.
    """
    if not path.exists():
        return
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise FileExistsError(errno.EEXIST, "a file that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
