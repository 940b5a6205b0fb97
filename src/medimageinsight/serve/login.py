"""Logins: bearer tokens of an OpenID Connect provider (JSON Web Tokens, RFC 7519), verified by its public keys.

What a token states about its key (``jku``, ``x5u``, ``jwk``, ``x5c``) is not read: keys come from the operator's key
set alone, each for the algorithms that the operator allows, none of them symmetric (RFC 8725).
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from typing import TYPE_CHECKING, Any

import jwt

from medimageinsight.errors import ConfigError
from medimageinsight.serve.caller import Caller
from medimageinsight.serve.jwks import FETCH_TIMEOUT_S, JwksKeys, JwksUnavailableError
from medimageinsight.serve.rejection import Rejection

if TYPE_CHECKING:
    from medimageinsight.serve.settings import ServerSettings

MAX_TOKEN = 16 << 10  # characters
MAX_KEY_ID = 256
LABEL = "login"  # of all users, in metrics

_TOKEN = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)


class LoginVerifier:
    """Verifies tokens. Its methods are called from one event loop.

    Args:
        settings: The server's options, with ``login_issuer``, ``login_audience`` and ``login_jwks``.

    Raises:
        ConfigError: The file of keys cannot be used (``login_unusable``).
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        location = settings.login_jwks or ""
        self._keys = JwksKeys(location, settings.login_algorithms)
        self._refreshing: asyncio.Future[None] | None = None
        if not location.startswith(("https://", "http://")):
            try:
                self._keys.read()
            except (OSError, ValueError) as error:
                raise ConfigError(
                    f"login_jwks: expected a JSON Web Key Set, got {type(error).__name__}", code="login_unusable"
                ) from None

    async def find(self, authorization: str | None) -> Caller | None:
        """Return the user of a valid token, None for a header without one.

        Raises:
            Rejection: 403, the token lacks the scope or a claim that the server requires; 503, the provider's keys are
                not available.
        """
        scheme, _, token = (authorization or "").strip().partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or len(token) > MAX_TOKEN or not _TOKEN.fullmatch(token):
            return None
        key = await self._find_key(token)
        claims = None if key is None else self._verify(token, key)
        if claims is None:
            return None
        self._check_rights(claims)
        return self._caller(claims)

    def reload(self) -> None:
        """Read the keys again when the next token comes."""
        self._keys.expire()

    async def _find_key(self, token: str) -> jwt.PyJWK | None:
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError):
            return None
        algorithm, key_id = header.get("alg"), header.get("kid")
        if algorithm not in self._settings.login_algorithms:
            return None
        if key_id is not None and not (isinstance(key_id, str) and len(key_id) <= MAX_KEY_ID):
            return None
        key = self._keys.find(key_id, algorithm)
        if self._keys.needs_refresh(unknown_key=key is None):
            refreshing = self._refresh()
            if key is None:  # else it is known and old: nobody waits for the provider
                await asyncio.wait({refreshing}, timeout=2 * FETCH_TIMEOUT_S)
                key = self._keys.find(key_id, algorithm)
        if key is None:
            try:
                self._keys.check()
            except JwksUnavailableError:
                raise Rejection(
                    503, "expected the keys of the login provider, they cannot be read: try again later",
                    code="login_unavailable", retry_after_s=60,
                ) from None  # fmt: skip
        return key

    def _refresh(self) -> asyncio.Future[None]:
        """Read the keys in a thread, once for all concurrent requests."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.ensure_future(asyncio.to_thread(self._keys.refresh))
        return self._refreshing

    def _verify(self, token: str, key: jwt.PyJWK) -> dict[str, Any] | None:
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=self._settings.login_audience,
                issuer=self._settings.login_issuer,
                leeway=self._settings.login_leeway_s,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError, OverflowError):
            return None
        return claims if isinstance(claims["sub"], str) and claims["sub"] else None

    def _check_rights(self, claims: dict[str, Any]) -> None:
        scopes = {scope for name in ("scope", "scp") for scope in _words(claims.get(name))}
        scope = self._settings.login_scope
        required = [word.partition("=") for word in self._settings.login_claims]
        if (scope is not None and scope not in scopes) or not all(
            value in _values(claims, name) for name, _, value in required
        ):
            raise Rejection(
                403, "expected a login with the scope and the claims that this server requires, got one without: "
                "ask the operator for access", code="login_forbidden",
            )  # fmt: skip

    def _caller(self, claims: dict[str, Any]) -> Caller:
        subject: str = claims["sub"]
        name = hashlib.sha256(f"{claims['iss']}\0{subject}".encode()).hexdigest()[:16]
        if self._settings.login_subjects == "plain":
            name = "".join(character if character.isprintable() else "?" for character in subject)[:256]
        return Caller(
            name=f"login:{name}",
            label=LABEL,
            requests_per_minute=self._settings.login_requests_per_minute,
            images_per_minute=self._settings.login_images_per_minute,
        )


def _words(value: object) -> list[str]:
    if isinstance(value, str):
        return value.split()
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []


def _values(claims: dict[str, Any], name: str) -> list[str]:
    """Return the values of a claim; ``a.b`` is the member b of the claim a, unless there is a claim of that name."""
    if name in claims:
        value = claims[name]
    else:
        value = claims
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
    return [value] if isinstance(value, str) else _words(value)
