"""A request that the server itself refuses: without a key, too large, too many at once, not yet or no longer."""

from __future__ import annotations

from medimageinsight.errors import MedImageInsightError


class Rejection(MedImageInsightError):  # noqa: N818 - an answer, not a fault
    """Ends a request with a status of its own.

    Args:
        status: Of HTTP. Clients try 429 and 503 again, so those two only for what heals by itself.
        message: As of any error.
        code: As of any error.
        retry_after_s: When to try again, in whole seconds.
    """

    def __init__(self, status: int, message: str, *, code: str, retry_after_s: int | None = None) -> None:
        super().__init__(message, code=code)
        self.status = status
        self.retry_after_s = retry_after_s


def overloaded(message: str, *, code: str, retry_after_s: int = 1) -> Rejection:
    """429: the server has as much to do as it takes."""
    return Rejection(429, f"{message}: try again later", code=code, retry_after_s=retry_after_s)
