"""Find the caller of a request by its key or its login, of any protocol, and hold the caller to its limits."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.errors import missing_extra
from medimageinsight.serve.caller import Caller, acting_for
from medimageinsight.serve.keys import KeyRing
from medimageinsight.serve.metrics import MULTIPROCESS_FOLDER
from medimageinsight.serve.rate_limits import RateLimits
from medimageinsight.serve.rejection import Rejection

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from medimageinsight.serve.login import LoginVerifier
    from medimageinsight.serve.settings import ServerSettings

KEY_HEADERS = ("api-key", "x-api-key")  # of Azure's clients, and of gateways


class Authentication:
    """The keys and logins of a server, and the limits of their callers.

        caller = await authentication.find(headers)       # or the metadata of a gRPC call, names in lower case
        if caller is None:                                # refuse: UNAUTHENTICATED
        authentication.count_request(caller)              # raises a Rejection: RESOURCE_EXHAUSTED
        with authentication.acting_for(caller):           # what is embedded now has the caller's turns and limits

    Args:
        settings: The server's options.

    Raises:
        ConfigError: The key file, or the file of logins' keys, cannot be used.
        MissingExtraError: The extra ``login`` is not installed.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.keys = KeyRing.from_file(settings.api_key_file) if settings.api_key_file is not None else None
        self._login = open_login(settings) if settings.login_issuer is not None else None
        folder = os.environ.get(MULTIPROCESS_FOLDER)
        self._limits = RateLimits(Path(folder) if folder else None)

    @property
    def is_required(self) -> bool:
        """Whether requests need a key or a login."""
        return self.keys is not None or self._login is not None

    async def find(self, headers: Mapping[str, str]) -> Caller | None:
        """Return the caller of a request, None without a valid key or login.

        Args:
            headers: By names in lower case, as Starlette's.

        Raises:
            Rejection: 403 for a login without the rights that the server requires, 503 while none can be verified.
        """
        authorization = headers.get("authorization")
        keys = [headers[name] for name in KEY_HEADERS if name in headers]
        caller = self.keys.find(authorization, *keys) if self.keys is not None else None
        return caller if caller is not None or self._login is None else await self._login.find(authorization)

    def count_request(self, caller: Caller) -> None:
        """Count a request against the caller's limit.

        Raises:
            Rejection: 429, the limit is reached.
        """
        self._limits.count(caller.name, "requests", 1, caller.requests_per_minute)

    def acting_for(self, caller: Caller | None) -> AbstractContextManager[None]:
        """Return a context in which work is queued, and images are counted, for a caller."""
        return nullcontext() if caller is None else acting_for(caller, self._limits)

    def reload(self) -> None:
        """Read the keys again, changed or not."""
        if self.keys is not None:
            self.keys.reload()
        if self._login is not None:
            self._login.reload()


def open_login(settings: ServerSettings) -> LoginVerifier:
    """Return what verifies logins.

    Raises:
        ConfigError: The file of keys cannot be used.
        MissingExtraError: The extra ``login`` is not installed.
    """
    try:
        import cryptography  # noqa: F401 - the algorithms
        import jwt  # noqa: F401
    except ImportError:
        raise missing_extra("login", "a login with tokens") from None
    from medimageinsight.serve.login import LoginVerifier

    return LoginVerifier(settings)


def unauthorized(headers: Mapping[str, str]) -> Rejection:
    """Return the error of a request without a valid key."""
    sent = any(name in headers for name in ("authorization", *KEY_HEADERS))
    got = "an unknown key" if sent else "no such header"
    return Rejection(
        401, f"expected the header 'Authorization: Bearer KEY' with a key of this server, got {got}", code="key_invalid"
    )
