"""Whether the threads of a server make progress."""

from __future__ import annotations

from medimageinsight.serve.rejection import Rejection

STALL_S = 15.0  # an image or a body within the limits takes seconds


def check_progress(stalled_s: float, code: str) -> None:
    """Report work that has been at the same point for too long.

    Raises:
        Rejection: 503.
    """
    if stalled_s > STALL_S:
        raise Rejection(
            503,
            f"expected work that makes progress, got none for {stalled_s:.0f} s: try again",
            code=code,
            retry_after_s=5,
        )
