from __future__ import annotations

import math

import numpy as np
import pytest

from medimageinsight.errors import InputError
from medimageinsight.tasks import fill_template, label_prompts, mean_by_label, probabilities


def test_probabilities_by_hand() -> None:
    images, texts = np.array([[1.0, 0.0], [0.6, 0.8]]), np.eye(2)
    expected = [1 / (1 + math.exp(-2)), 1 / (1 + math.exp(2 * 0.2))]
    result = probabilities(images, texts, math.log(2))
    np.testing.assert_allclose(result[:, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(result.sum(axis=1), 1, atol=1e-6)


def test_probabilities_of_one_image() -> None:
    result = probabilities(np.array([1.0, 0.0]), np.eye(2), 0.0)
    assert result.shape == (2,)
    assert result.sum() == pytest.approx(1, abs=1e-6)


def test_an_extreme_scale_does_not_overflow() -> None:
    result = probabilities(np.eye(2), np.eye(2), 12.0)
    np.testing.assert_array_equal(result, np.eye(2))


def test_no_images() -> None:
    assert probabilities(np.empty((0, 2)), np.eye(2), 4.5).shape == (0, 2)


def test_labels_are_their_own_prompts() -> None:
    assert label_prompts(["b", "a"]) == {"b": ["b"], "a": ["a"]}
    assert list(label_prompts(["b", "a"])) == ["b", "a"]


def test_prompts_of_a_mapping_and_several_templates() -> None:
    prompts = label_prompts({"sick": ["flu", "cold"], "well": "healthy"}, template=["a {}", "the {label}"])
    assert prompts == {"sick": ["a flu", "the flu", "a cold", "the cold"], "well": ["a healthy", "the healthy"]}


def test_fields_of_a_template() -> None:
    fields = {"modality": "x-ray", "anatomy": "chest"}
    assert fill_template("{modality} {anatomy} {}", "effusion", fields) == "x-ray chest effusion"


def test_braces_in_a_label_are_left_alone() -> None:
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
def test_unusable_labels(labels: object, template: object, code: str) -> None:
    with pytest.raises(InputError) as caught:
        label_prompts(labels, template=template)
    assert caught.value.code == code


def test_the_mean_of_a_labels_prompts() -> None:
    embeddings = np.array([[1, 0], [0, 1], [0, -1]], dtype=np.float32)
    result = mean_by_label(embeddings, [2, 1])
    np.testing.assert_allclose(result, [[math.sqrt(0.5)] * 2, [0, -1]], atol=1e-7)
    assert result.dtype == np.float32
