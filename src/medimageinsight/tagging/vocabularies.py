"""Vocabularies of tags that fit any image: modality, anatomy and view, in the words of the training captions.

The terms of a vocabulary exclude each other, so their scores are probabilities. The captions start with modality,
anatomy and view, sometimes in several wordings: a term has prompts of several kinds, and the most similar one counts.
Their mean would not work: a chest X-ray and a chest CT have little in common.

A model gives any probability to a term that it was never trained on. The built-in model was trained on seven modalities
and ten anatomies, so only these are offered to it. Terms and prompts are in ``vocabularies.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.metrics.heads import activate
from medimageinsight.metrics.vectors import unit_rows

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from medimageinsight.metrics.scores import Floats
    from medimageinsight.tagging.prompts import EmbedTexts

Vocabulary = Mapping[str, tuple[str, ...]]
"""Terms with their prompts."""

_DATA = json.loads(files(__package__).joinpath("vocabularies.json").read_text("utf-8"))
VOCABULARIES: Mapping[str, Vocabulary] = MappingProxyType(
    {
        name: MappingProxyType({term: tuple(prompts) for term, prompts in terms.items()})
        for name, terms in _DATA["terms"].items()
    }
)
MODALITY, ANATOMY, VIEW = VOCABULARIES.values()
# The terms that the built-in model was trained on, by the model's name.
_TRAINED_TERMS: Mapping[str, Mapping[str, Sequence[str]]] = MappingProxyType(_DATA["trained"])


def vocabulary(name: str, *, model: str = "") -> dict[str, tuple[str, ...]]:
    """Return the terms of a vocabulary (``modality``, ``anatomy`` or ``view``) with their prompts.

    A model of the name of the built-in one gets the terms that it was trained on, others get all.

    Raises:
        InputError: There is no such vocabulary (``vocabulary_unknown``).
    """
    if name not in VOCABULARIES:
        raise InputError(
            f"expected one of the vocabularies {', '.join(VOCABULARIES)}, got {name!r}", code="vocabulary_unknown"
        )
    terms = VOCABULARIES[name]
    trained = _TRAINED_TERMS[model][name] if model in _TRAINED_TERMS else terms
    return {term: prompts for term, prompts in terms.items() if term in trained}


def term_probabilities(
    vectors: ArrayLike, terms: Mapping[str, Sequence[str]], embed_texts: EmbedTexts, logit_scale: float
) -> NDArray[np.float32]:
    """Return the probabilities of exclusive terms by their best prompts, (N, T) float32, rows sum to 1.

        terms = vocabulary("anatomy", model=model.name)
        term_probabilities(model.embed_images(["chest.dcm"]), terms, model.embed_texts, model.logit_scale)

    Raises:
        InputError: Embeddings that do not fit or are not finite.
    """
    return cosine_probabilities(term_cosines(vectors, terms, embed_texts), logit_scale)


def cosine_probabilities(cosines: Floats, logit_scale: float) -> NDArray[np.float32]:
    """Return the probabilities (N, T) float32 of exclusive terms with these cosines."""
    return activate(np.exp(logit_scale) * cosines, "softmax").astype(np.float32)


def term_cosines(vectors: ArrayLike, terms: Mapping[str, Sequence[str]], embed_texts: EmbedTexts) -> Floats:
    """Return the cosines (N, T) of images with each term's best prompt.

    Raises:
        InputError: Embeddings that do not fit or are not finite.
    """
    prompts = unit_rows(embed_texts([prompt for term in terms.values() for prompt in term]), name="prompt vectors")
    rows = unit_rows(vectors, name="image vectors", dim=prompts.shape[1])
    starts = np.cumsum([0, *map(len, terms.values())])[:-1]
    best: Floats = np.maximum.reduceat(rows.astype(np.float64) @ prompts.T, starts, axis=1)
    return best
