"""Prompts of labels: templates filled with a label and its fields."""

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
    """The prompts of each label, in order.

        label_prompts(["normal", "pneumonia"], template="{modality} chest {}", fields={"modality": "x-ray"})
        # {"normal": ["x-ray chest normal"], "pneumonia": ["x-ray chest pneumonia"]}

    Args:
        labels: Names, or a mapping of names to prompts.
        template: One or several; ``{}`` or ``{label}`` stands for the prompt, other names for ``fields``. Without one a
            label is its own prompt.
        fields: Values of the template's other names.

    Raises:
        InputError: No labels (``labels_empty``), one that comes twice (``labels_duplicate``), one that is not a text or
            has no prompt (``label_invalid``); a template without a place for the label or with an unknown name
            (``template_invalid``).
    """
    prompts = labels if isinstance(labels, Mapping) else _own_prompts(labels)
    if not prompts:
        raise InputError("expected at least one label, got none", code="labels_empty")
    templates = ["{}"] if template is None else [template] if isinstance(template, str) else list(template)
    if not templates:
        raise InputError("expected at least one template, got none: leave it out to use none", code="template_invalid")
    return {
        label: [fill_template(one, text, fields or {}) for text in _texts(prompt) for one in templates]
        for label, prompt in prompts.items()
    }


def fill_template(template: str, label: str, fields: Mapping[str, str]) -> str:
    """The template with its ``{}`` or ``{label}`` replaced by the label, and ``{name}`` by the field of that name.

    Raises:
        InputError: There is no place for the label, or no field of a name (``template_invalid``).
    """
    values = {**fields, "": label, "label": label}
    names = _FIELD.findall(template)
    if not {"", "label"} & set(names):
        raise InputError("expected {} in the template, in the label's place: add it", code="template_invalid")
    if unknown := [name for name in names if name not in values]:
        raise InputError(
            f"expected a value for each name in the template, got none for {', '.join(unknown)}: give it, or remove it",
            code="template_invalid",
        )
    return _FIELD.sub(lambda match: values[match[1]], template)


def _own_prompts(labels: Iterable[str]) -> dict[str, str]:
    """Every label as its own prompt; a string alone is no list of labels, though it can be read as one of letters."""
    if isinstance(labels, str | bytes) or not isinstance(labels, Iterable):
        raise InputError(
            f"expected a list of labels, got {type(labels).__name__}: write a single label as [label]",
            code="label_invalid",
        )
    names = list(labels)
    if not all(isinstance(label, str) for label in names):
        raise InputError("expected labels to be texts (str), got something else among them", code="label_invalid")
    if len(set(names)) < len(names):
        raise InputError("expected every label once, got one twice: remove it", code="labels_duplicate")
    return {label: label for label in names}


def _texts(prompt: object) -> list[str]:
    """A label's prompts, at least one."""
    texts: list[Any] = [prompt] if isinstance(prompt, str) or not isinstance(prompt, Iterable) else list(prompt)
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise InputError("expected a text for every label, got an empty one or none", code="label_invalid")
    return texts
