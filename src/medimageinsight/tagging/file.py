"""Files of tagging: fitted taggers (JSON), and the user's prompts of tags (JSON)."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.adapters.file import AdapterDocument, from_document, to_document
from medimageinsight.bundle import ModelIdentity  # noqa: TC001 - strict.build reads the types of the fields
from medimageinsight.errors import InputError
from medimageinsight.files.json import invalid_file, read_document, write_document
from medimageinsight.tagging.prompts import TagPrompts, tag_prompts
from medimageinsight.tagging.tagger import Tag, Tagger

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

KIND = "tagger"
MAX_PROMPTS_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class TaggerDocument:
    """The keys of a tagger's file except ``format`` and ``kind`` (``tagger``)."""

    criterion: str
    model: ModelIdentity
    tags: tuple[Tag, ...]
    adapter: AdapterDocument | None = None


def save_tagger(tagger: Tagger, path: str | os.PathLike[str]) -> None:
    """Write a tagger file; an existing file is replaced once the new one is complete.

    Raises:
        OSError: The file cannot be written.
    """
    document = {
        "criterion": tagger.criterion,
        "model": asdict(tagger.model),
        "tags": [asdict(tag) for tag in tagger.tags],
        "adapter": None if tagger.adapter is None else to_document(tagger.adapter),
    }
    write_document(path, document, kind=KIND)


def load_tagger(path: str | os.PathLike[str], *, model: ModelIdentity | None = None) -> Tagger:
    """Read a tagger file for embeddings of ``model``.

    Raises:
        ModelError: It belongs to another model (``adapter_other_model``), is too large (``tagger_too_large``), of a
            newer version (``tagger_too_new``), or not of the form (``tagger_invalid``).
        OSError: It cannot be read.
    """
    document = read_document(path, TaggerDocument, kind=KIND)
    adapter = None if document.adapter is None else from_document(document.adapter)
    tagger = Tagger(tags=document.tags, model=document.model, criterion=document.criterion, adapter=adapter)
    names = tagger.names
    if not names or len(set(names)) != len(names):
        raise invalid_file(KIND, "expected at least one tag and every tag once")
    if not all(math.isfinite(tag.threshold) for tag in tagger.tags):
        raise invalid_file(KIND, "expected finite thresholds")
    if adapter is None and not all(tag.prompts is not None and tag.prompts.positive for tag in tagger.tags):
        raise invalid_file(KIND, "expected prompts for every tag, or an adapter")
    if adapter is not None and (adapter.model != tagger.model or not set(names) <= set(adapter.labels)):
        raise invalid_file(KIND, "its adapter belongs to another model or lacks a tag")
    if model is not None:
        tagger.model.check(model, texts=adapter is None)
    return tagger


def read_prompts(
    path: str | os.PathLike[str], *, template: str | Sequence[str] | None = None, negative: Sequence[str] = ()
) -> dict[str, TagPrompts]:
    """Read prompts: ``{"tag": "prompt", "other": ["a", "b"], "third": {"positive": [...], "negative": [...]}}``.

    The template is filled with every positive prompt, as in `tag_prompts`. ``negative`` are the prompts of tags without
    their own.

    Raises:
        InputError: Not of that form, or too large (``prompts_invalid``), or as `tag_prompts`.
        OSError: The file cannot be read.
    """
    with Path(path).open("rb") as file:
        content = file.read(MAX_PROMPTS_BYTES + 1)
    if len(content) > MAX_PROMPTS_BYTES:
        raise _invalid_prompts(f"more than {MAX_PROMPTS_BYTES:,} bytes")
    try:
        tags = json.loads(content)
    except (ValueError, RecursionError):
        raise _invalid_prompts("a file that is not JSON") from None
    if not isinstance(tags, dict) or not tags:
        raise _invalid_prompts(f"{'an empty' if tags == {} else 'a'} {type(tags).__name__}")
    prompts: dict[str, TagPrompts] = {}
    for tag, value in tags.items():
        parts = value if isinstance(value, dict) else {"positive": value}
        if not {"positive"} <= parts.keys() <= {"positive", "negative"}:
            raise _invalid_prompts("a tag with other keys")
        positive = {tag: _as_texts(parts["positive"])}
        others = _as_texts(parts["negative"]) if "negative" in parts else negative
        prompts |= tag_prompts(positive, template=template, negative=others)
    return prompts


def _as_texts(value: object) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list):
        raise _invalid_prompts(f"a {type(value).__name__}")
    if other := [text for text in texts if not isinstance(text, str)]:
        raise _invalid_prompts(f"a list with a {type(other[0]).__name__}")
    return texts


def _invalid_prompts(got: str) -> InputError:
    return InputError(
        'expected JSON of tags, each with a prompt, a list of them, or {"positive": [...], "negative": [...]}, '
        f"got {got}",
        code="prompts_invalid",
    )
