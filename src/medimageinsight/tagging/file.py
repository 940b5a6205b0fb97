"""A tagger as one JSON file: tags, prompts, thresholds, what they were worth, and the model they belong to."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.adapters.file import AdapterDocument, from_document, to_document
from medimageinsight.bundle.identity import ModelIdentity  # noqa: TC001 - strict.build reads the types of the fields
from medimageinsight.errors import InputError
from medimageinsight.files.json import invalid, read_document, write_document
from medimageinsight.tagging.tagger import Tag, Tagger, TagPrompts, tag_prompts

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence


KIND = "tagger"


@dataclass(frozen=True, kw_only=True)
class TaggerDocument:
    """The file's keys beside ``format`` and ``kind``, which is ``tagger``."""

    criterion: str
    model: ModelIdentity
    tags: tuple[Tag, ...]
    adapter: AdapterDocument | None = None


def save_tagger(tagger: Tagger, path: str | os.PathLike[str]) -> None:
    """Write the file; one that is there is replaced when the new one is whole.

    Raises:
        OSError: It cannot be written.
    """
    document = {
        "criterion": tagger.criterion,
        "model": asdict(tagger.model),
        "tags": [asdict(tag) for tag in tagger.tags],
        "adapter": None if tagger.adapter is None else to_document(tagger.adapter),
    }
    write_document(path, document, kind=KIND)


def load_tagger(path: str | os.PathLike[str], *, model: ModelIdentity | None = None) -> Tagger:
    """Read the file of `save_tagger`.

    Args:
        path: The file.
        model: The model whose vectors it will be given.

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
        raise invalid(KIND, "expected tags, and every one once")
    if not all(math.isfinite(tag.threshold) for tag in tagger.tags):
        raise invalid(KIND, "expected thresholds that are numbers")
    if adapter is None and not all(tag.prompts is not None and tag.prompts.positive for tag in tagger.tags):
        raise invalid(KIND, "expected prompts for every tag, or an adapter")
    if adapter is not None and (adapter.model != tagger.model or not set(names) <= set(adapter.labels)):
        raise invalid(KIND, "its adapter is of another model or lacks a tag")
    if model is not None:
        tagger.model.check(model, texts=adapter is None)
    return tagger


MAX_BYTES = 1 << 20


def read_prompts(
    path: str | os.PathLike[str], *, template: str | Sequence[str] | None = None, negative: Sequence[str] = ()
) -> dict[str, TagPrompts]:
    """Prompts from ``{"tag": "prompt", "other": ["one", "two"], "third": {"positive": [...], "negative": [...]}}``.

    Args:
        path: The file.
        template: What every positive prompt is put into, as in `tag_prompts`.
        negative: Negative prompts of tags that do not say their own.

    Raises:
        InputError: Not of that form, or too large (``prompts_invalid``), or as `tag_prompts`.
        OSError: The file cannot be read.
    """
    with Path(path).open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    try:
        given = json.loads(content) if len(content) <= MAX_BYTES else None
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict) or not given:
        raise _invalid()
    prompts: dict[str, TagPrompts] = {}
    for tag, one in given.items():
        positive, others = _sides(one, negative)
        prompts |= tag_prompts({tag: positive}, template=template, negative=others)
    return prompts


def _sides(one: object, negative: Sequence[str]) -> tuple[list[str], Sequence[str]]:
    """Positive and negative prompts of one tag."""
    if isinstance(one, dict):
        if not {"positive"} <= one.keys() <= {"positive", "negative"}:
            raise _invalid()
        return _texts(one["positive"]), _texts(one["negative"]) if "negative" in one else negative
    return _texts(one), negative


def _texts(value: object) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise _invalid()
    return texts


def _invalid() -> InputError:
    return InputError(
        'expected JSON of tags, each with a prompt, a list of them, or {"positive": [...], "negative": [...]}',
        code="prompts_invalid",
    )
