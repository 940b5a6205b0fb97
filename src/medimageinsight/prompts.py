"""Make the prompts of labels from templates."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from medimageinsight.errors import InputError

Labels: TypeAlias = Iterable[str] | Mapping[str, str | Sequence[str]]
"""Labels, or a mapping of each label to its prompt or prompts."""

_FIELD = re.compile(r"\{(\w*)\}")


def label_prompts(
    labels: Labels,
    *,
    template: str | Sequence[str] | None = None,
    fields: Mapping[str, str] | None = None,
) -> dict[str, list[str]]:
    """Return the prompts of each label, in order.

        label_prompts(["normal", "pneumonia"], template="{modality} chest {}", fields={"modality": "x-ray"})
        # {"normal": ["x-ray chest normal"], "pneumonia": ["x-ray chest pneumonia"]}

    In a template, ``{}`` or ``{label}`` is replaced by the prompt, other names by `fields`. Without a template, a label
    is its own prompt.

    Raises:
        InputError: No labels (``labels_empty``), a repeated label (``labels_duplicate``), a label that is not a string
            or has no prompt (``label_invalid``); a template without ``{}`` or with an unknown name
            (``template_invalid``).
    """
    prompts = labels if isinstance(labels, Mapping) else _labels_as_prompts(labels)
    if not prompts:
        raise InputError("expected at least one label, got none", code="labels_empty")
    templates = ["{}"] if template is None else [template] if isinstance(template, str) else list(template)
    if not templates:
        raise InputError("expected at least one template, got none: omit it to use none", code="template_invalid")
    return {
        label: [fill_template(template, text, fields or {}) for text in _texts(prompt) for template in templates]
        for label, prompt in prompts.items()
    }


def exclusive_prompts(
    labels: Labels,
    *,
    template: str | Sequence[str] | None = None,
    fields: Mapping[str, str] | None = None,
) -> dict[str, list[str]]:
    """Return the prompts of labels that exclude each other, as `label_prompts`; at least two labels.

    Raises:
        InputError: A single label (``labels_too_few``), or as `label_prompts`.
    """
    prompts = label_prompts(labels, template=template, fields=fields)
    if len(prompts) == 1:
        raise InputError(
            "expected at least two labels, got one, whose probability would be 100 % for any image: add what else the "
            "image may show, such as 'No Finding', or compare image and text, which gives their cosine",
            code="labels_too_few",
        )
    return prompts


def fill_template(template: str, label: str, fields: Mapping[str, str]) -> str:
    """Replace ``{}`` or ``{label}`` in a template by the label, and ``{name}`` by the field of that name.

    Raises:
        InputError: The template has no ``{}``, or a name without a field (``template_invalid``).
    """
    values = {**fields, "": label, "label": label}
    names = _FIELD.findall(template)
    if not {"", "label"} & set(names):
        raise InputError("expected {} for the label in the template, got none: add it", code="template_invalid")
    if unknown := [name for name in names if name not in values]:
        raise InputError(
            f"expected a value for each name in the template, got none for {', '.join(unknown)}: give it, or remove it",
            code="template_invalid",
        )
    return _FIELD.sub(lambda match: values[match[1]], template)


def _labels_as_prompts(labels: Iterable[str]) -> dict[str, str]:
    """Return each label as its own prompt; a single string is rejected, which would iterate over its letters."""
    if isinstance(labels, str | bytes) or not isinstance(labels, Iterable):
        raise InputError(
            f"expected a list of labels, got {type(labels).__name__}: write a single label as [label]",
            code="label_invalid",
        )
    names = list(labels)
    if wrong := [type(label).__name__ for label in names if not isinstance(label, str)]:
        raise InputError(f"expected labels to be texts (str), got {wrong[0]}", code="label_invalid")
    if repeats := len(names) - len(set(names)):
        raise InputError(f"expected every label once, got {repeats} repeated: remove them", code="labels_duplicate")
    return {label: label for label in names}


def _texts(prompt: object) -> list[str]:
    """Return the prompts of a label, at least one."""
    texts: list[Any] = [prompt] if isinstance(prompt, str) or not isinstance(prompt, Iterable) else list(prompt)
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise InputError("expected a text for every label, got an empty text or none", code="label_invalid")
    return texts
