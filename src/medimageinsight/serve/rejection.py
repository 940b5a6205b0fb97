"""Requests that the server refuses: too large, too many at once, while it loads or stops."""

from __future__ import annotations

from medimageinsight.errors import MedImageInsightError


class Rejection(MedImageInsightError):  # noqa: N818 - a response, not a fault
    """Ends a request with an HTTP status.

    Args:
        status: The status. Clients retry 429 and 503, so use these only for temporary conditions.
        message: The error's message.
        code: The error's code.
        retry_after_s: When to retry, in whole seconds.
    """

    def __init__(self, status: int, message: str, *, code: str, retry_after_s: int | None = None) -> None:
        super().__init__(message, code=code)
        self.status = status
        self.retry_after_s = retry_after_s


def overloaded(message: str, *, code: str, retry_after_s: int = 1) -> Rejection:
    """Return a 429, for a server at one of its limits."""
    return Rejection(429, f"{message}: try again later", code=code, retry_after_s=retry_after_s)
