"""The prompts of a request's labels, measured before they are made: a short request can ask for very much text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from medimageinsight.errors import TextError
from medimageinsight.serve.contract import check_rows
from medimageinsight.serve.fields import Fields, invalid
from medimageinsight.tasks import label_prompts
from medimageinsight.tokenizer import MAX_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def prompts_of(asked: Fields, *, images: int, most: int) -> dict[str, list[str]]:
    """The prompts of each label, by the members ``labels``, ``template`` and ``fields``.

    Args:
        asked: The request.
        images: How many the request has.
        most: How many images and prompts, labels times templates, there may be together.

    Raises:
        RequestError: A member is of another form (``request_invalid``), or there are more of them
            (``request_too_many_rows``).
        InputError: A prompt could become longer than any text may be (``text_too_long``), or as `label_prompts`.
    """
    labels, templates, fields = _labels(asked), _templates(asked), _fields(asked)
    texts = _texts(labels.values() if isinstance(labels, Mapping) else labels)
    check_rows(images + len(texts) * max(1, len(templates)), most)
    longest = max(map(len, (*texts, *fields.values())), default=0)
    if any(len(one) + one.count("{") * longest > MAX_CHARACTERS for one in templates):
        raise TextError(
            f"expected templates, labels and fields that make prompts of at most {MAX_CHARACTERS:,} characters, got "
            "longer ones: only the beginning of a text is read",
            code="text_too_long",
        )
    return label_prompts(labels, template=templates or None, fields=fields)


def _labels(asked: Fields) -> Any:  # noqa: ANN401 - label_prompts checks it
    labels = asked.get("labels")
    if not isinstance(labels, Mapping):
        return asked.items("labels")
    listed = [one for prompts in labels.values() for one in (prompts if isinstance(prompts, list) else [prompts])]
    if not all(isinstance(one, str) for one in listed):
        raise invalid("'labels' to be texts, or a mapping of names to texts")
    return labels


def _texts(prompts: Iterable[object]) -> list[str]:
    listed = (one for several in prompts for one in (several if isinstance(several, list) else [several]))
    return [one for one in listed if isinstance(one, str)]


def _templates(asked: Fields) -> Sequence[str]:
    template = asked.get("template")
    if template is None:
        return ()
    templates = [template] if isinstance(template, str) else template
    if not isinstance(templates, list) or not templates or not all(isinstance(one, str) for one in templates):
        raise invalid("'template' to be a text or a list of texts")
    return templates


def _fields(asked: Fields) -> dict[str, str]:
    values = asked.get("fields") or {}
    if not isinstance(values, Mapping) or not all(isinstance(one, str) for one in values.values()):
        raise invalid("'fields' to be an object of texts")
    return dict(values)
