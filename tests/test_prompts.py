from __future__ import annotations

import pytest

from medimageinsight.errors import InputError
from medimageinsight.prompts import fill_template, label_prompts


def test_labels_are_their_own_prompts_by_default() -> None:
    assert label_prompts(["b", "a"]) == {"b": ["b"], "a": ["a"]}
    assert list(label_prompts(["b", "a"])) == ["b", "a"]


def test_every_prompt_fills_every_template() -> None:
    prompts = label_prompts({"sick": ["flu", "cold"], "well": "healthy"}, template=["a {}", "the {label}"])
    assert prompts == {"sick": ["a flu", "the flu", "a cold", "the cold"], "well": ["a healthy", "the healthy"]}


def test_fields_fill_a_template() -> None:
    fields = {"modality": "x-ray", "anatomy": "chest"}
    assert fill_template("{modality} {anatomy} {}", "effusion", fields) == "x-ray chest effusion"


def test_braces_in_a_label_are_not_replaced() -> None:
    assert fill_template("ct {}", "{modality} {0.__class__}", {"modality": "x"}) == "ct {modality} {0.__class__}"


@pytest.mark.parametrize(
    ("labels", "template", "code"),
    [
        ([], None, "labels_empty"),
        ({}, None, "labels_empty"),
        (["a", "a"], None, "labels_duplicate"),
        ("pneumonia", None, "label_invalid"),
        (None, None, "label_invalid"),
        ([""], None, "label_invalid"),
        (["a", 3], None, "label_invalid"),
        ([["a"]], None, "label_invalid"),
        ({"a": []}, None, "label_invalid"),
        ({"a": 3}, None, "label_invalid"),
        (["a"], "x-ray chest", "template_invalid"),
        (["a"], "{modality} {}", "template_invalid"),
        (["a"], [], "template_invalid"),
    ],
)
def test_rejects_invalid_labels_and_templates(labels: object, template: object, code: str) -> None:
    with pytest.raises(InputError) as caught:
        label_prompts(labels, template=template)
    assert caught.value.code == code
