"""Prompts of tags from a JSON file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.errors import InputError
from medimageinsight.tasks.tagging import TagPrompts, tag_prompts

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

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
