"""Parse the file of API keys: a key a line, or its SHA-256, with an optional name and limits.

    5f0c0a6c1e9b4f0d8a37
    5f0c0a6c1e9b4f0d8a38 name=clinic requests_per_minute=600 images_per_minute=3000
    sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 name=research

Blank lines and lines that begin with # are ignored.
"""

from __future__ import annotations

import hashlib
import re

from medimageinsight.errors import ConfigError
from medimageinsight.serve.caller import Caller

MIN_LENGTH = 16  # characters; shorter keys can be guessed

# Clients encode other characters in headers differently, and a space is usually a mistake.
_KEY = re.compile(rf"[!-~]{{{MIN_LENGTH},}}")
_DIGEST = re.compile(r"sha256:([0-9A-Fa-f]{64})")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LIMIT = re.compile(r"[1-9][0-9]{0,8}")
_LIMITS = ("requests_per_minute", "images_per_minute")


def parse_keys(text: str) -> dict[bytes, Caller]:
    """Return the caller of each key, by the key's SHA-256.

    Raises:
        ConfigError: There is no key, or a line is not of the form (``api_keys_unusable``).
    """
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    entries = [(number, line) for number, line in lines if line and not line.startswith("#")]
    if not entries:
        raise unusable("one key a line, got none")
    callers: dict[bytes, Caller] = {}
    by_name: dict[str, Caller] = {}
    for position, (number, line) in enumerate(entries, 1):
        key, *options = line.split()
        digest = _digest(key, number)
        caller = _caller(_options(options, number), f"key-{position}", number)
        if by_name.setdefault(caller.name, caller) != caller:
            raise unusable(f"the same limits for all keys of a name, got others in line {number}")
        callers.setdefault(digest, caller)
    return callers


def unusable(expected: str) -> ConfigError:
    """Return the error of a key file."""
    return ConfigError(f"API key file: expected {expected}", code="api_keys_unusable")


def _digest(key: str, number: int) -> bytes:
    if hashed := _DIGEST.fullmatch(key):
        return bytes.fromhex(hashed[1])
    if not _KEY.fullmatch(key):
        got = f"{len(key)} characters" if len(key) < MIN_LENGTH else "a character that is not ASCII"
        raise unusable(f"keys of {MIN_LENGTH} or more ASCII characters without spaces, got {got} in line {number}")
    return hashlib.sha256(key.encode()).digest()


def _options(words: list[str], number: int) -> dict[str, str]:
    options = dict(word.split("=", 1) for word in words if "=" in word)
    if len(options) < len(words) or not options.keys() <= {"name", *_LIMITS}:
        raise unusable(
            "keys without spaces, each alone or followed by name=, requests_per_minute= or images_per_minute=, "
            f"got other words in line {number}"
        )
    return options


def _caller(options: dict[str, str], default_name: str, number: int) -> Caller:
    name = options.get("name", default_name)
    if not _NAME.fullmatch(name):
        raise unusable(f"names of 1 to 64 letters, digits, '.', '_' and '-', got another one in line {number}")
    limits = {key: options.get(key) for key in _LIMITS}
    if not all(limit is None or _LIMIT.fullmatch(limit) for limit in limits.values()):
        raise unusable(f"whole numbers above 0 as limits, got another text in line {number}")
    requests, images = (None if limit is None else int(limit) for limit in limits.values())
    return Caller(name=name, label=name, requests_per_minute=requests, images_per_minute=images)
