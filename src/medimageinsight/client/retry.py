"""A request until it is answered: repeated where the server is busy or cannot be reached."""

from __future__ import annotations

import http.client
import ssl
from typing import TYPE_CHECKING

from medimageinsight.client.wire import Reply
from medimageinsight.errors import EndpointError

if TYPE_CHECKING:
    from collections.abc import Callable

    from medimageinsight.client.wire import Server

_BUSY = (429, 503)
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0
_LONGEST_RETRY_AFTER_S = 300.0  # a server that asks for more is not waited for any longer than this


def post(server: Server, body: bytes, *, retries: int, sleep: Callable[[float], object]) -> Reply:
    """The server's answer, after at most ``retries`` further attempts; the last one may still be that it is busy.

    Args:
        server: Whom to ask.
        body: The request.
        retries: From 0.
        sleep: Waits a number of seconds before a further attempt.

    Raises:
        EndpointError: The server cannot be reached or trusted, or was closed.
    """
    for attempt in range(retries):
        reply = _attempt(server, body)
        if isinstance(reply, Reply) and reply.status not in _BUSY:
            return reply
        sleep(_wait_s(reply, attempt))
    reply = _attempt(server, body)
    if isinstance(reply, EndpointError):
        raise reply
    return reply


def _attempt(server: Server, body: bytes) -> Reply | EndpointError:
    """The server's answer, or why there is none."""
    try:
        return server.post(body)
    except ssl.SSLCertVerificationError:  # no attempt after this one would fare better
        raise EndpointError(
            "expected a certificate that this machine trusts, got another: give a context that trusts it as verify",
            code="endpoint_untrusted",
        ) from None
    except (OSError, http.client.HTTPException) as error:
        return EndpointError(
            f"expected an answer from the endpoint, got none ({type(error).__name__}): "
            "check the URL, the network and that the server runs",
            code="endpoint_unreachable",
        )


def _wait_s(reply: Reply | EndpointError, attempt: int) -> float:
    """Seconds before the next attempt: the server's word if it gave one, else twice as long each time."""
    if isinstance(reply, Reply) and reply.retry_after_s is not None:
        return min(float(reply.retry_after_s), _LONGEST_RETRY_AFTER_S)
    return min(_FIRST_WAIT_S * 2.0 ** min(attempt, 10), _LONGEST_WAIT_S)
