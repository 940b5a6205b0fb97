"""``vocabulary.json``: the words of the texts that a model was trained on; it learned nothing about others."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medimageinsight.files.json import invalid_file, read_document, write_document
from medimageinsight.tokenizer import clean

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from medimageinsight.bundle.bundle import Bundle

VOCABULARY = "vocabulary.json"
UNKNOWN_WORDS = "words_unknown"  # code of the warning
_KIND = "vocabulary"
_WORD = re.compile(r"[^\W\d_]+")  # letters of any script; numbers and punctuation are no words


@dataclass(frozen=True, kw_only=True)
class _Document:
    words: tuple[str, ...]


def split_words(text: str) -> list[str]:
    """Return the words of a text, in small letters."""
    return _WORD.findall(clean(text))


def collect_words(texts: Iterable[str]) -> list[str]:
    """Return the words of texts, sorted, each once."""
    return sorted({word for text in texts for word in split_words(text)})


def find_unknown(known: frozenset[str] | None, texts: Iterable[str]) -> tuple[str, ...]:
    """Return the words of texts that are not among the known ones, in order, each once; none for None."""
    if known is None:
        return ()
    return tuple(dict.fromkeys(word for text in texts for word in split_words(text) if word not in known))


def warn_of_words(words: Iterable[str]) -> dict[str, Any] | None:
    """Return the warning ``{"code", "message", "words"}`` for a JSON document; None without words."""
    if not (listed := list(words)):
        return None
    message = "the model never learned some words of these texts, so its figures for them mean nothing"
    return {"code": UNKNOWN_WORDS, "message": message, "words": listed}


def read_words(bundle: Bundle) -> frozenset[str] | None:
    """Return the words that a bundle's model was trained on, None if it does not name them.

    Raises:
        BundleError: The file is not that of the manifest (``bundle_checksum``).
        ModelError: It is not of the form (``vocabulary_invalid``, ``vocabulary_too_new``, ``vocabulary_too_large``).
    """
    if VOCABULARY not in bundle.manifest.files:
        return None
    bundle.verify(VOCABULARY)
    words = read_document(bundle.path(VOCABULARY), _Document, kind=_KIND).words
    if not words or any(split_words(word) != [word] for word in words):
        raise invalid_file(_KIND, "expected words of small letters, at least one")
    return frozenset(words)


def write_words(path: Path, words: Iterable[str]) -> None:
    """Write the file; `add_file` or `write_manifest` enters it in the manifest.

    Raises:
        OSError: It cannot be written.
    """
    write_document(path, {"words": sorted(set(words))}, kind=_KIND)
