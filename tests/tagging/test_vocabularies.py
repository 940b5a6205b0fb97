from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medimageinsight import MedImageInsight
from medimageinsight.errors import InputError
from medimageinsight.tagging import VOCABULARIES, term_probabilities, vocabulary

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", ["modality", "anatomy", "view"])
def test_terms_have_distinct_prompts(name: str) -> None:
    terms = vocabulary(name)
    assert len(terms) > 10
    prompts = [prompt for term in terms.values() for prompt in dict.fromkeys(term)]
    assert all(prompt.strip() == prompt != "" for prompt in prompts)
    assert all(len(set(term)) == len(term) for term in terms.values())


def test_rejects_an_unknown_vocabulary() -> None:
    with pytest.raises(InputError) as caught:
        vocabulary("organ")
    assert caught.value.code == "vocabulary_unknown"


def test_vocabularies_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        VOCABULARIES["modality"]["x-ray"] = ()
    vocabulary("modality").clear()
    assert vocabulary("modality")


def test_probability_of_a_term_is_that_of_its_best_prompt() -> None:
    vectors = {"up": [0.0, 1.0], "right": [1.0, 0.0], "left": [-1.0, 0.0]}
    probabilities = term_probabilities(
        [[0.0, 2.0], [1.0, 0.0]],
        {"upright": ["up", "right"], "left": ["left"]},
        lambda texts: np.array([vectors[text] for text in texts], dtype=np.float32),
        math.log(2),
    )
    np.testing.assert_allclose(probabilities[:, 0], [1 / (1 + math.exp(-2)), 1 / (1 + math.exp(-4))], rtol=1e-6)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)


def test_built_in_model_recognises_modalities(shared: Path) -> None:
    """The first test image of each source, whose modality is a term of the vocabulary."""
    folder = shared / "data" / "medmix"
    if not (folder / "medmix.csv").is_file():
        pytest.skip("the medmix images are not available")
    with (folder / "medmix.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    first = list({row["source"]: row for row in reversed(rows)}.values())
    with MedImageInsight.load("mini") as model:
        terms = vocabulary("modality", model=model.name)
        vectors = model.embed_images([folder / row["path"] for row in first])
        probabilities = term_probabilities(vectors, terms, model.embed_texts, model.logit_scale)
    best = [list(terms)[index] for index in probabilities.argmax(axis=1)]
    correct = [term == row["modality"] for term, row in zip(best, first, strict=True)]
    assert sum(correct) >= len(correct) - 1


def test_built_in_model_gets_the_terms_that_it_was_trained_on() -> None:
    for name, count in (("modality", 7), ("anatomy", 10), ("view", 4)):
        known = vocabulary(name, model="mini")
        assert len(known) == count
        assert known.items() <= vocabulary(name).items()
        assert vocabulary(name, model="other") == vocabulary(name)
