"""Prompts of a request's labels, measured before they are made: a short request can ask for very much text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.errors import TextError
from medimageinsight.prompts import exclusive_prompts
from medimageinsight.serve.scoring_request import check_rows
from medimageinsight.tokenizer import MAX_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.schemas import ClassifyRequest


def make_prompts(request: ClassifyRequest, max_rows: int) -> dict[str, list[str]]:
    """Return the prompts of each label, in order.

    Args:
        request: Labels, templates and fields.
        max_rows: Limit of its images and prompts, labels times templates, together.

    Raises:
        RequestError: There are more of them (``request_too_many_rows``).
        InputError: A prompt could become longer than any text may be (``text_too_long``), or as `exclusive_prompts`.
    """
    labels, fields = request.labels, request.fields or {}
    listed: Sequence[str | list[str]] = list(labels.values()) if isinstance(labels, dict) else labels
    texts = [text for prompts in listed for text in ([prompts] if isinstance(prompts, str) else prompts)]
    templates = [request.template] if isinstance(request.template, str) else request.template or []
    check_rows(len(request.images) + len(texts) * max(1, len(templates)), max_rows)
    longest = max(map(len, (*texts, *fields.values())), default=0)
    if any(len(template) + template.count("{") * longest > MAX_CHARACTERS for template in templates):
        raise TextError(
            f"expected templates, labels and fields that make prompts of at most {MAX_CHARACTERS:,} characters, got "
            "longer ones: only the beginning of a text is read",
            code="text_too_long",
        )
    return exclusive_prompts(labels, template=templates or None, fields=fields)
