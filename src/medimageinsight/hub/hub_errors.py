"""Failures of a hub as errors of this package, with a stable code for each kind."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from medimageinsight.errors import CheckpointError, check_extra

if TYPE_CHECKING:
    from collections.abc import Iterator

_TRUE = {"1", "ON", "YES", "TRUE"}
_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def hub_client() -> Iterator[None]:
    """Check the extra, switch telemetry off for the block, and raise its failures as errors of this package.

    Raises:
        MissingExtraError: The extra ``hub`` is not installed.
        CheckpointError: ``hub_offline``, ``hub_not_found``, ``hub_no_access``, ``hub_unreachable`` (no response, or the
            server is at fault), ``hub_cut_off`` (the connection ended within a file), ``hub_no_space`` or
            ``hub_invalid`` (the response is not that of a hub).
    """
    check_extra("hub", "downloading weights", "huggingface_hub", "httpx2")
    from huggingface_hub import constants

    reports = constants.HF_HUB_DISABLE_TELEMETRY
    constants.HF_HUB_DISABLE_TELEMETRY = True
    try:
        with _hub_errors():
            yield
    finally:
        constants.HF_HUB_DISABLE_TELEMETRY = reports


def is_offline() -> bool:
    """Return whether ``HF_HUB_OFFLINE`` forbids the use of a hub; it is read at each call."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in _TRUE


def offline_error(missing: str) -> CheckpointError:
    """Return the error of a download in offline mode."""
    return CheckpointError(
        f"expected {missing} on this disk, since HF_HUB_OFFLINE forbids a download: unset it, or download on another "
        "machine and convert the folder with mi2 convert",
        code="hub_offline",
    )


@contextmanager
def _hub_errors() -> Iterator[None]:
    import httpx2
    from huggingface_hub import errors

    try:
        yield
    except errors.OfflineModeIsEnabled:
        raise offline_error("the complete release") from None
    except errors.HfHubHTTPError as error:
        raise _of_status(error.response.status_code, error) from None
    except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError):
        raise _unreachable("no connection") from None
    except (httpx2.TransportError, httpx2.TooManyRedirects) as error:
        raise CheckpointError(
            f"expected the connection to last, it ended ({type(error).__name__}): run the command again, it continues "
            "where it ended",
            code="hub_cut_off",
        ) from None
    except OSError as error:
        if error.errno in _FULL:
            raise no_space("the files of the release") from None
        if error.errno is None and "Consistency check" in str(error):  # the library has no type for it
            raise CheckpointError(
                "expected a file of the listed size, got another one: run the command again, it continues where it "
                "ended",
                code="hub_cut_off",
            ) from None
        raise
    except httpx2.InvalidURL:
        raise CheckpointError("expected HF_ENDPOINT to be a URL, got another text", code="hub_invalid") from None


def no_space(wanted: str, advice: str = "free some, or choose a folder on another disk") -> CheckpointError:
    """Return the error of a disk that is full, or would be."""
    return CheckpointError(f"expected free disk space for {wanted}, got less: {advice}", code="hub_no_space")


def invalid_response(found: str) -> CheckpointError:
    """Return the error of a response that no hub gives."""
    return CheckpointError(
        f"expected the response of a hub, got {found}: check HF_ENDPOINT and the proxy", code="hub_invalid"
    )


def _of_status(status: int, error: Exception) -> CheckpointError:
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError | errors.DisabledRepoError) or status in (401, 403):
        return CheckpointError(
            f"expected access to the repository, got status {status}, which hubs also send for a name that does not "
            "exist: check the name, accept the repository's terms on its page, and set HF_TOKEN",
            code="hub_no_access",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return CheckpointError(
            "expected a branch, tag or commit of the repository, got a revision that it does not have",
            code="hub_not_found",
        )
    if status in (404, 410):
        return CheckpointError(
            f"expected an existing repository and folder, got status {status}: check the names", code="hub_not_found"
        )
    if status in (408, 425, 429) or status >= 500:
        return _unreachable(f"status {status}")
    return invalid_response(f"status {status}")


def _unreachable(found: str) -> CheckpointError:
    return CheckpointError(
        f"expected a response of the hub, got {found}: check the network, HF_ENDPOINT and the proxy (HTTPS_PROXY), or "
        "wait; then run the command again",
        code="hub_unreachable",
    )
