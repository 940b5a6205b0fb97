"""Vocabularies of tags that fit any image: modality, anatomy and view, in the words of the training captions.

The terms of a vocabulary exclude each other, so their scores are probabilities. The captions start with modality,
anatomy and view, sometimes in several wordings: a term has prompts of several kinds, and the most similar one counts.
Their mean would not work: a chest X-ray and a chest CT have little in common.

A model gives any probability to a term that it was never trained on. The built-in model was trained on seven modalities
and ten anatomies, so only these are offered to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.metrics.heads import activate
from medimageinsight.metrics.vectors import unit_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from medimageinsight.tagging.prompts import EmbedTexts

Vocabulary = Mapping[str, tuple[str, ...]]
"""Terms with their prompts."""

_CT = ("computed tomography", "ct")
_MR = ("magnetic resonance imaging", "mr")
_XRAY = ("x-ray",)


def _prefix(modalities: Sequence[str], text: str) -> tuple[str, ...]:
    return tuple(f"{modality} {text}" for modality in modalities)


_CROSS_SECTIONS = (*_CT, *_MR)
_ALL = (*_XRAY, *_CROSS_SECTIONS)

MODALITY: Vocabulary = MappingProxyType(
    {
        "x-ray": (*_prefix(_XRAY, "chest"), *_prefix(_XRAY, "hand"), *_prefix(_XRAY, "knee"), *_prefix(_XRAY, "spine")),
        "mammography": ("x-ray breast (mamma)", "x-ray breast (mamma) mammography"),
        "computed tomography": tuple(prompt for part in ("chest", "abdomen", "head") for prompt in _prefix(_CT, part)),
        "magnetic resonance imaging": tuple(
            prompt for part in ("brain", "breast", "knee", "spine") for prompt in _prefix(_MR, part)
        ),
        "ultrasound": ("ultrasound", "ultrasound breast", "ultrasound (US) breast"),
        "echocardiography": ("Ultrasound Echocardiography (UE)", "ultrasound heart"),
        "dermoscopy": ("dermoscopy skin", "dermatology dermoscopy"),
        "clinical photography": ("dermatology clinical photography", "clinical photography skin"),
        "fundus photography": ("fundus photography retina", "retinal fundus"),
        "optical coherence tomography": (
            "Optical Coherence Tomography (OCT), Retina",
            "optical coherence tomography retina",
        ),
        "histopathology": ("histopathology, H&E stain", "histopathology"),
        "microscopy": ("microscopy peripheral blood smear", "microscopy"),
        "endoscopy": ("endoscopy", "endoscopy colon"),
    }
)

ANATOMY: Vocabulary = MappingProxyType(
    {
        "head": (*_prefix(_CT, "head"), *_prefix(_XRAY, "cranium")),
        "brain": (*_prefix(_CT, "brain"), *_prefix(_MR, "brain"), *_prefix(_MR, "brain head")),
        "neck": _prefix(_CROSS_SECTIONS, "neck"),
        "chest": _prefix((*_XRAY, *_CT), "chest"),
        "breast": (*_prefix(_MR, "breast"), "ultrasound breast", "x-ray breast (mamma)"),
        "heart": ("ultrasound heart", "Ultrasound Echocardiography (UE)", *_prefix(_MR, "heart")),
        "abdomen": _prefix(_ALL, "abdomen"),
        "pelvis": _prefix((*_XRAY, *_CT), "pelvis"),
        "spine": (*_prefix((*_XRAY, *_MR), "spine"), *_prefix(_XRAY, "spine cervical spine")),
        "shoulder": (*_prefix(_XRAY, "shoulder"), *_prefix(_XRAY, "upper extremity / arm shoulder")),
        "upper arm": (*_prefix(_XRAY, "humerus"), *_prefix(_XRAY, "upper extremity / arm upper arm")),
        "elbow": (*_prefix(_XRAY, "elbow"), *_prefix(_XRAY, "upper extremity / arm elbow")),
        "forearm": _prefix(_XRAY, "forearm"),
        "wrist": _prefix(_XRAY, "wrist"),
        "hand": (*_prefix(_XRAY, "hand"), *_prefix(_XRAY, "pediatric hand")),
        "finger": _prefix(_XRAY, "finger"),
        "hip": (*_prefix(_XRAY, "hip"), *_prefix(_XRAY, "lower extremity / leg hip")),
        "knee": (*_prefix(_ALL, "knee"), *_prefix(_XRAY, "lower extremity / leg knee")),
        "lower leg": _prefix(_ALL, "lower leg"),
        "ankle": (*_prefix(_XRAY, "ankle"), *_prefix(_XRAY, "lower extremity / leg ankle joint")),
        "foot": (*_prefix(_XRAY, "foot"), *_prefix(_XRAY, "lower extremity / leg foot")),
        "skin": ("dermoscopy skin", "dermatology clinical photography"),
        "retina": ("fundus photography retina", "retinal fundus", "Optical Coherence Tomography (OCT), Retina"),
        "lymph node": ("histopathology, H&E stain, sentinel lymph node",),
        "peripheral blood smear": ("microscopy peripheral blood smear",),
        "colon": ("endoscopy colon",),
    }
)

VIEW: Vocabulary = MappingProxyType(
    {
        "anteroposterior": tuple(
            prompt for part in ("chest", "spine", "abdomen") for prompt in _prefix(_XRAY, f"{part} anteroposterior")
        ),
        "posteroanterior": tuple(
            prompt for part in ("chest", "hand", "knee") for prompt in _prefix(_XRAY, f"{part} posteroanterior")
        ),
        "lateral": tuple(
            prompt for part in ("chest", "spine", "cranium") for prompt in _prefix(_XRAY, f"{part} lateral")
        ),
        "oblique": ("x-ray chest left anterior oblique", "x-ray chest right anterior oblique"),
        "craniocaudal": ("x-ray breast (mamma), axial craniocaudal",),
        "mediolateral oblique": ("x-ray breast (mamma), mediolateral oblique",),
        "axial": tuple(
            prompt for part in ("chest", "abdomen", "brain") for prompt in _prefix(_CROSS_SECTIONS, f"{part} axial")
        ),
        "coronal": tuple(
            prompt for part in ("chest", "abdomen", "brain") for prompt in _prefix(_CROSS_SECTIONS, f"{part} coronal")
        ),
        "sagittal": tuple(
            prompt for part in ("spine", "knee", "brain") for prompt in _prefix(_CROSS_SECTIONS, f"{part} sagittal")
        ),
        "macula-centered": ("fundus photography retina macula-centered",),
        "two chamber": ("Ultrasound Echocardiography (UE) 2 Chamber (2CH)",),
        "four chamber": ("Ultrasound Echocardiography (UE) 4 Chamber (4CH)",),
        "parasternal long axis": ("Ultrasound Echocardiography (UE) Parasternal Long Axis View (PLAX)",),
        "short axis": ("Ultrasound Echocardiography (UE) Short Axis (SA)",),
    }
)

VOCABULARIES: Mapping[str, Vocabulary] = MappingProxyType({"modality": MODALITY, "anatomy": ANATOMY, "view": VIEW})

# The terms that the built-in model was trained on, by the model's name.
_TRAINED_TERMS: Mapping[str, Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "mini": MappingProxyType(
            {
                "modality": frozenset(
                    {
                        "x-ray",
                        "computed tomography",
                        "magnetic resonance imaging",
                        "ultrasound",
                        "dermoscopy",
                        "fundus photography",
                        "microscopy",
                    }
                ),
                "anatomy": frozenset(
                    {
                        "head",
                        "brain",
                        "chest",
                        "breast",
                        "abdomen",
                        "hand",
                        "knee",
                        "skin",
                        "retina",
                        "peripheral blood smear",
                    }
                ),
                "view": frozenset({"anteroposterior", "posteroanterior", "axial", "macula-centered"}),
            }
        )
    }
)


def vocabulary(name: str, *, model: str = "") -> dict[str, tuple[str, ...]]:
    """Return the terms of a vocabulary with their prompts, for `term_probabilities`.

    Args:
        name: ``modality``, ``anatomy`` or ``view``.
        model: The model's name; the built-in model gets the terms that it was trained on, others get all.

    Raises:
        InputError: There is no such vocabulary (``vocabulary_unknown``).
    """
    if name not in VOCABULARIES:
        raise InputError(
            f"expected one of the vocabularies {', '.join(VOCABULARIES)}, got {name!r}", code="vocabulary_unknown"
        )
    terms = VOCABULARIES[name]
    trained = _TRAINED_TERMS[model][name] if model in _TRAINED_TERMS else frozenset(terms)
    return {term: prompts for term, prompts in terms.items() if term in trained}


def term_probabilities(
    vectors: ArrayLike, terms: Mapping[str, Sequence[str]], embed_texts: EmbedTexts, logit_scale: float
) -> NDArray[np.float32]:
    """Return the probabilities of exclusive terms by their best prompts, (N, T) float32, rows sum to 1.

        terms = vocabulary("anatomy", model=model.name)
        term_probabilities(model.embed_images(["chest.dcm"]), terms, model.embed_texts, model.logit_scale)

    Args:
        vectors: Embeddings of images (N, D).
        terms: T terms with at least one prompt each.
        embed_texts: The model's.
        logit_scale: The model's, a logarithm.

    Raises:
        InputError: Embeddings that do not fit or are not finite.
    """
    prompts = unit_rows(embed_texts([prompt for term in terms.values() for prompt in term]), name="prompt vectors")
    rows = unit_rows(vectors, name="image vectors", dim=prompts.shape[1])
    starts = np.cumsum([0, *map(len, terms.values())])[:-1]
    best = np.maximum.reduceat(rows.astype(np.float64) @ prompts.T, starts, axis=1)  # (N, T) cosines
    return activate(np.exp(logit_scale) * best, "softmax").astype(np.float32)
