"""API keys of the server, of a file that is read again when it changes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeAlias

from medimageinsight.errors import ConfigError
from medimageinsight.serve.key_file import parse_keys, unusable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from medimageinsight.serve.caller import Caller

_READABLE_BY_OTHERS = 0o004  # not the group's bit: orchestrators give secrets to a non-root user through a group

_Signature: TypeAlias = tuple[int, int, int]  # of a version of the file: mtime in ns, size in bytes, inode

logger = logging.getLogger("medimageinsight.serve")


class KeyRing:
    """The keys that a server accepts. Thread-safe.

        keys = KeyRing.from_file("/etc/mi2/keys")
        keys.find("Bearer 5f0c...").name

    `key_file` has the form of the file. A new version of it is read within ``interval``; if it is unusable, the last
    valid keys remain and one warning is logged.
    """

    def __init__(self, path: Path, *, interval: float, clock: Callable[[], float]) -> None:
        self._path = path
        self._interval = interval
        self._clock = clock
        self._next_check = clock() + interval
        self._warned = False
        self._signature: _Signature | None
        self._signature, self._callers = _load(path)

    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], *, interval: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> Self:
        """Read the keys of a file.

        Args:
            path: The file, in UTF-8.
            interval: Minimum time between two checks of the file, in seconds.
            clock: Monotonic seconds.

        Raises:
            ConfigError: The file cannot be read, has no key, or has a key that is too short or not valid in a header
                (``api_keys_unusable``).
        """
        return cls(Path(path), interval=interval, clock=clock)

    def find(self, authorization: str | None, *keys: str) -> Caller | None:
        """Return the caller whose key a request has in a header, None without a valid one.

        Args:
            authorization: The raw value of Authorization: ``Bearer KEY``, or ``Basic`` with the key as the password of
                any user, which browsers prompt for. None if the header is missing.
            keys: Values of headers that are nothing but a key.
        """
        self._reload_if_changed()
        found = None
        for key in (_extract_key(authorization or ""), *map(_encode, keys)):
            if key is not None:
                sent = hashlib.sha256(key).digest()
                # All keys are compared, each in constant time, so that the duration reveals nothing about them.
                for digest, caller in self._callers.items():
                    if hmac.compare_digest(digest, sent):
                        found = found or caller
        return found

    def reload(self) -> None:
        """Read the file now, changed or not."""
        self._signature = None
        self._read_if_changed(self._clock())

    def _reload_if_changed(self) -> None:
        now = self._clock()
        if now < self._next_check:
            return
        self._read_if_changed(now)

    def _read_if_changed(self, now: float) -> None:
        self._next_check = now + self._interval
        try:
            if _signature(_status(self._path)) != self._signature:
                self._signature, self._callers = _load(self._path)
            self._warned = False
        except ConfigError as error:
            if not self._warned:
                logger.warning("%s: the last good keys stay in force", error.message)
            self._warned = True


def _load(path: Path) -> tuple[_Signature, Mapping[bytes, Caller]]:
    """Return the file's version, and its callers by the SHA-256 of their keys."""
    status = _status(path)  # before the keys, so that the next check notices a change between the two
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise unusable(f"a readable file, got: {error.strerror}") from None
    except UnicodeDecodeError:
        raise unusable("text in UTF-8, got bytes that are not") from None
    callers = parse_keys(text)
    if os.name == "posix" and status.st_mode & _READABLE_BY_OTHERS:
        logger.warning("other users of this machine can read the API key file: take that right from them (chmod 600)")
    return _signature(status), callers


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise unusable(f"a readable file, got: {error.strerror}") from None


def _signature(status: os.stat_result) -> _Signature:
    return status.st_mtime_ns, status.st_size, status.st_ino


def _extract_key(authorization: str) -> bytes | None:
    """Return the key in a header's value; None if the value has an unknown form."""
    scheme, _, credentials = authorization.strip().partition(" ")
    try:
        encoded = credentials.strip().encode("ascii")
        if scheme.lower() == "bearer":
            return encoded
        if scheme.lower() == "basic":
            return base64.b64decode(encoded, validate=True).partition(b":")[2]
    except (UnicodeEncodeError, binascii.Error):
        pass
    return None


def _encode(key: str) -> bytes | None:
    return key.strip().encode() if key.isascii() else None
