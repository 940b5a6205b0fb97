"""Errors of a DICOMweb server; none contains a URL, an identifier or text of a response."""

from __future__ import annotations

from medimageinsight.errors import ImageError, InputError

_STATUS = {
    401: ("unauthorized", "expected a server that accepts the token, got status 401: check the token and its validity"),
    403: ("forbidden", "expected access to the study, got status 403: ask the server's operator for permission"),
    404: ("not_found", "expected an existing study or image, got status 404: check the URL, and search again"),
    410: ("not_found", "expected an existing study or image, got status 410: it was deleted"),
    429: ("rate_limited", "expected a server with free capacity, got status 429 several times: repeat the call later"),
}


def status_error(status: int) -> ImageError:
    """Return the error of an HTTP status that is no success."""
    if status in _STATUS:
        code, message = _STATUS[status]
        return ImageError(message, code=f"dicomweb_{code}")
    if status >= 500:
        return ImageError(
            f"expected a working server, got status {status} several times: repeat the call later",
            code="dicomweb_unavailable",
        )
    return ImageError(
        f"expected status 200 of the DICOMweb server, got {status}: check its URL and what it supports",
        code="dicomweb_failed",
    )


def timed_out(seconds: float) -> ImageError:
    """Return the error of a response that was not complete in time."""
    return ImageError(
        f"expected a whole response of the DICOMweb server within {seconds:g} s, got a part or nothing: repeat the "
        "call, or raise the timeout",
        code="dicomweb_timeout",
    )


def unreachable() -> ImageError:
    """Return the error of a connection that failed."""
    return ImageError(
        "expected a connection to the DICOMweb server, got none or one that ended early: check its URL and network",
        code="dicomweb_unreachable",
    )


def certificate() -> ImageError:
    """Return the error of a TLS connection that cannot be trusted."""
    return ImageError(
        "expected a TLS certificate that is valid for the server, got another: name your authority's certificates with "
        "the CA file",
        code="dicomweb_certificate",
    )


def redirected() -> ImageError:
    """Return the error of a redirect to another host."""
    return ImageError(
        "expected a response of the server that was named, got a redirect to another, which is not followed: name that "
        "one",
        code="dicomweb_redirect",
    )


def invalid(got: str) -> ImageError:
    """Return the error of a response that is not what was asked for."""
    return ImageError(
        f"expected a valid DICOMweb response, got {got}: check the server's URL and version",
        code="dicomweb_response_invalid",
    )


def wrong_instance() -> ImageError:
    """Return the error of an instance with the identifiers of another."""
    return ImageError(
        "expected the image that was asked for, got another one's identifiers: it is not used",
        code="dicomweb_wrong_instance",
    )


def incomplete(expected: int, got: int) -> ImageError:
    """Return the error of a series that has fewer instances than its server states."""
    return ImageError(
        f"expected {expected:,} images of the series, as its server states, got {got:,}: the others are missing",
        code="dicomweb_incomplete",
    )


def url_invalid(expected: str) -> InputError:
    """Return the error of a server's URL."""
    return InputError(
        f"expected the URL of a DICOMweb server, {expected}: such as https://pacs.example/dicom-web",
        code="dicomweb_url_invalid",
    )


def not_named() -> ImageError:
    """Return the error of an image on a server that was not named for this call."""
    return ImageError(
        "expected a file, or an image of the DICOMweb server that was named, got the URL of another: name the server",
        code="dicomweb_not_named",
    )
