"""Ready-made tags for what any image has: a modality, an anatomy, a view; in the words of the training captions.

The terms of one vocabulary exclude each other, so their scores are probabilities. Those captions begin with the
modality, then the anatomy, then the view, and write some of them in two ways: a term has prompts of several kinds, and
the one that an image is most like stands for it. Not their mean: a chest in X-ray and one in CT have little in common.

A model that was never trained on a term gives it any probability. The built-in model knows seven modalities and ten
anatomies, so it is asked for those alone.
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

    from medimageinsight.tagging.tagger import EmbedTexts

Vocabulary = Mapping[str, tuple[str, ...]]
"""Each term and its prompts."""

_CT = ("computed tomography", "ct")
_MR = ("magnetic resonance imaging", "mr")
_XRAY = ("x-ray",)


def _after(modalities: Sequence[str], what: str) -> tuple[str, ...]:
    return tuple(f"{modality} {what}" for modality in modalities)


_CROSS_SECTIONS = (*_CT, *_MR)
_ALL = (*_XRAY, *_CROSS_SECTIONS)

MODALITY: Vocabulary = MappingProxyType(
    {
        "x-ray": (*_after(_XRAY, "chest"), *_after(_XRAY, "hand"), *_after(_XRAY, "knee"), *_after(_XRAY, "spine")),
        "mammography": ("x-ray breast (mamma)", "x-ray breast (mamma) mammography"),
        "computed tomography": tuple(prompt for part in ("chest", "abdomen", "head") for prompt in _after(_CT, part)),
        "magnetic resonance imaging": tuple(
            prompt for part in ("brain", "breast", "knee", "spine") for prompt in _after(_MR, part)
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
        "head": (*_after(_CT, "head"), *_after(_XRAY, "cranium")),
        "brain": (*_after(_CT, "brain"), *_after(_MR, "brain"), *_after(_MR, "brain head")),
        "neck": _after(_CROSS_SECTIONS, "neck"),
        "chest": _after((*_XRAY, *_CT), "chest"),
        "breast": (*_after(_MR, "breast"), "ultrasound breast", "x-ray breast (mamma)"),
        "heart": ("ultrasound heart", "Ultrasound Echocardiography (UE)", *_after(_MR, "heart")),
        "abdomen": _after(_ALL, "abdomen"),
        "pelvis": _after((*_XRAY, *_CT), "pelvis"),
        "spine": (*_after((*_XRAY, *_MR), "spine"), *_after(_XRAY, "spine cervical spine")),
        "shoulder": (*_after(_XRAY, "shoulder"), *_after(_XRAY, "upper extremity / arm shoulder")),
        "upper arm": (*_after(_XRAY, "humerus"), *_after(_XRAY, "upper extremity / arm upper arm")),
        "elbow": (*_after(_XRAY, "elbow"), *_after(_XRAY, "upper extremity / arm elbow")),
        "forearm": _after(_XRAY, "forearm"),
        "wrist": _after(_XRAY, "wrist"),
        "hand": (*_after(_XRAY, "hand"), *_after(_XRAY, "pediatric hand")),
        "finger": _after(_XRAY, "finger"),
        "hip": (*_after(_XRAY, "hip"), *_after(_XRAY, "lower extremity / leg hip")),
        "knee": (*_after(_ALL, "knee"), *_after(_XRAY, "lower extremity / leg knee")),
        "lower leg": _after(_ALL, "lower leg"),
        "ankle": (*_after(_XRAY, "ankle"), *_after(_XRAY, "lower extremity / leg ankle joint")),
        "foot": (*_after(_XRAY, "foot"), *_after(_XRAY, "lower extremity / leg foot")),
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
            prompt for part in ("chest", "spine", "abdomen") for prompt in _after(_XRAY, f"{part} anteroposterior")
        ),
        "posteroanterior": tuple(
            prompt for part in ("chest", "hand", "knee") for prompt in _after(_XRAY, f"{part} posteroanterior")
        ),
        "lateral": tuple(
            prompt for part in ("chest", "spine", "cranium") for prompt in _after(_XRAY, f"{part} lateral")
        ),
        "oblique": ("x-ray chest left anterior oblique", "x-ray chest right anterior oblique"),
        "craniocaudal": ("x-ray breast (mamma), axial craniocaudal",),
        "mediolateral oblique": ("x-ray breast (mamma), mediolateral oblique",),
        "axial": tuple(
            prompt for part in ("chest", "abdomen", "brain") for prompt in _after(_CROSS_SECTIONS, f"{part} axial")
        ),
        "coronal": tuple(
            prompt for part in ("chest", "abdomen", "brain") for prompt in _after(_CROSS_SECTIONS, f"{part} coronal")
        ),
        "sagittal": tuple(
            prompt for part in ("spine", "knee", "brain") for prompt in _after(_CROSS_SECTIONS, f"{part} sagittal")
        ),
        "macula-centered": ("fundus photography retina macula-centered",),
        "two chamber": ("Ultrasound Echocardiography (UE) 2 Chamber (2CH)",),
        "four chamber": ("Ultrasound Echocardiography (UE) 4 Chamber (4CH)",),
        "parasternal long axis": ("Ultrasound Echocardiography (UE) Parasternal Long Axis View (PLAX)",),
        "short axis": ("Ultrasound Echocardiography (UE) Short Axis (SA)",),
    }
)

VOCABULARIES: Mapping[str, Vocabulary] = MappingProxyType({"modality": MODALITY, "anatomy": ANATOMY, "view": VIEW})


# What the built-in model was trained on, by the model's name.
_KNOWN: Mapping[str, Mapping[str, frozenset[str]]] = MappingProxyType(
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
    """The terms of a vocabulary with their prompts, for `term_probabilities`.

    Args:
        name: ``modality``, ``anatomy`` or ``view``.
        model: The model's name; the built-in one is given the terms that it was trained on, others all.

    Raises:
        InputError: There is no such vocabulary (``vocabulary_unknown``).
    """
    if name not in VOCABULARIES:
        raise InputError(
            f"expected one of the vocabularies {', '.join(VOCABULARIES)}, got {name!r}", code="vocabulary_unknown"
        )
    terms = VOCABULARIES[name]
    known = _KNOWN[model][name] if model in _KNOWN else frozenset(terms)
    return {term: prompts for term, prompts in terms.items() if term in known}


def term_probabilities(
    vectors: ArrayLike, terms: Mapping[str, Sequence[str]], embed_texts: EmbedTexts, logit_scale: float
) -> NDArray[np.float32]:
    """Probabilities of terms that exclude each other, (N, T) float32, rows sum to 1: each by its best prompt.

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
    prompts = unit_rows(embed_texts([prompt for one in terms.values() for prompt in one]), what="prompt vectors")
    rows = unit_rows(vectors, what="image vectors", dim=prompts.shape[1])
    starts = np.cumsum([0, *map(len, terms.values())])[:-1]
    best = np.maximum.reduceat(rows.astype(np.float64) @ prompts.T, starts, axis=1)  # (N, T) cosines
    return activate(np.exp(logit_scale) * best, "softmax").astype(np.float32)
