"""The token of a DICOMweb server, in a file of its own: an option would show it in the list of processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def read_token(file: Path) -> str:
    """Return the token in a file.

    Raises:
        InputError: The file cannot be read, or has another content than one line (``dicomweb_token_invalid``).
    """
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError):
        token = ""
    if not token or len(token.splitlines()) > 1:
        raise InputError(
            "expected a readable file with one line, a token, got another: write the token into it",
            code="dicomweb_token_invalid",
        )
    return token
