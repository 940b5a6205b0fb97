"""The public keys that sign logins (JSON Web Key Set, RFC 7517), of a file or of a URL."""

from __future__ import annotations

import json
import logging
import threading
import time
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from medimageinsight.serve.timed_fetch import fetch_within

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

MAX_BYTES = 1 << 20
MAX_KEYS = 100
MIN_RSA_BITS = 2048
FETCH_TIMEOUT_S = 5.0  # of the whole fetch
REFRESH_S = 3600.0  # keys that were withdrawn are accepted for this time
UNKNOWN_KEY_REFRESH_S = 60.0  # tokens with unknown keys, which anybody can make, cause no more requests than this
MAX_AGE_S = 24 * 3600.0  # keys are accepted for this time where the provider cannot be reached

logger = logging.getLogger("medimageinsight.serve")


class JwksUnavailableError(Exception):
    """There are no keys: they cannot be read, or are too old."""


class JwksKeys:
    """The keys of a file or URL, read when a token needs them. Thread-safe.

    Args:
        location: A path, or a URL of `safe_url`.
        algorithms: Algorithms that keys may be for.
        clock: Monotonic seconds.
    """

    def __init__(
        self, location: str, algorithms: Collection[str], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._location = location
        self._algorithms = algorithms
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: list[jwt.PyJWK] = []
        self._read_at = self._tried_at = float("-inf")
        self._expired = False

    def find(self, key_id: str | None, algorithm: str) -> jwt.PyJWK | None:
        """Return the key of a token, without reading anything.

        Args:
            key_id: The token's ``kid``; without one, the only key of the algorithm is meant.
            algorithm: The token's ``alg``.
        """
        keys = self._keys if self._clock() - self._read_at < MAX_AGE_S else []
        keys = [key for key in keys if key.algorithm_name == algorithm and key_id in (None, key.key_id)]
        return keys[0] if len(keys) == 1 else None

    def needs_refresh(self, *, unknown_key: bool) -> bool:
        """Return whether `refresh` may find other keys than those known."""
        now = self._clock()
        wanted = unknown_key or now - self._read_at >= REFRESH_S
        return self._expired or (wanted and now - self._tried_at >= UNKNOWN_KEY_REFRESH_S)

    def expire(self) -> None:
        """Read the keys when the next token comes; the known ones remain where that fails."""
        self._expired = True

    def refresh(self) -> None:
        """Read the keys, unless another thread has just done so; the known ones remain where that fails."""
        with self._lock:
            if not self._expired and self._clock() - self._tried_at < UNKNOWN_KEY_REFRESH_S:
                return
            self._expired = False
            try:
                self.read()
            except (OSError, ValueError, HTTPException) as error:
                logger.warning("the keys of logins cannot be read", extra={"error": type(error).__name__})
            self._tried_at = self._clock()

    def read(self) -> None:
        """Read the keys.

        Raises:
            OSError: They cannot be read.
            ValueError: They are no key set.
            http.client.HTTPException: The server's response is not HTTP.
        """
        is_url = self._location.startswith(("https://", "http://"))
        content = (
            fetch_within(self._location, seconds=FETCH_TIMEOUT_S, max_bytes=MAX_BYTES)
            if is_url
            else _read_file(self._location)
        )
        self._keys = parse_jwks(content, self._algorithms)
        self._read_at = self._clock()

    def check(self) -> None:
        """Raise `JwksUnavailableError` if no keys are known that may be used."""
        if not self._clock() - self._read_at < MAX_AGE_S:
            raise JwksUnavailableError


def parse_jwks(content: bytes, algorithms: Collection[str]) -> list[jwt.PyJWK]:
    """Return the public keys that may verify signatures; others are left out.

    Raises:
        ValueError: The text is no key set.
    """
    document: Any = json.loads(content)
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("no key set")
    return [key for entry in entries[:MAX_KEYS] for key in _parse_key(entry, algorithms)]


def _parse_key(entry: object, algorithms: Collection[str]) -> list[jwt.PyJWK]:
    """Return a key for each algorithm that the entry may be used with."""
    if not isinstance(entry, dict) or entry.get("kty") not in ("RSA", "EC", "OKP") or entry.get("use") == "enc":
        return []
    named = entry.get("alg")
    keys = []
    for algorithm in algorithms if named is None else {named}.intersection(algorithms):
        try:
            key = jwt.PyJWK({**entry, "alg": algorithm}, algorithm=algorithm)
        except (jwt.PyJWTError, ValueError, TypeError, KeyError):
            continue  # of another kind than the algorithm
        is_weak = isinstance(key.key, RSAPublicKey) and key.key.key_size < MIN_RSA_BITS
        if hasattr(key.key, "verify") and not is_weak:  # a private key has none
            keys.append(key)
    return keys


def _read_file(path: str) -> bytes:
    with Path(path).open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError("too large")
    return content
