"""Example prompts in the form of the training captions, so that an agent words its labels as the model knows them."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from medimageinsight.mcp.answers import LabelExample, LabelExamplesAnswer
from medimageinsight.tagging import ANATOMY, MODALITY, VOCABULARIES, vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FORM = (
    "modality anatomy view finding, in this order with single spaces, as 'x-ray chest anteroposterior Cardiomegaly'. "
    "View and finding may be left out; 'No Finding' is the normal one. To classify, give findings as labels and a "
    "template that ends in {}, as 'x-ray chest anteroposterior {}': then prompts differ in the finding alone."
)

# Modality, anatomy, view, findings; of the captions that the built-in model was trained on (its model card).
_BUILT_IN = (
    ("x-ray", "chest", "anteroposterior", ("No Finding", "Bacterial Pneumonia", "Viral Pneumonia")),
    (
        "x-ray",
        "knee",
        "posteroanterior",
        (
            "No Finding (Kellgren-Lawrence grade 0)",
            "Doubtful Osteoarthritis (Kellgren-Lawrence grade 1)",
            "Minimal Osteoarthritis (Kellgren-Lawrence grade 2)",
            "Moderate Osteoarthritis (Kellgren-Lawrence grade 3)",
            "Severe Osteoarthritis (Kellgren-Lawrence grade 4)",
        ),
    ),
    ("x-ray", "hand", "posteroanterior", ("",)),
    ("computed tomography", "head", "axial", ("",)),
    ("computed tomography", "chest", "axial", ("",)),
    ("computed tomography", "abdomen", "axial", ("",)),
    ("magnetic resonance imaging", "brain", "", ("No Finding", "Glioma", "Meningioma", "Pituitary Tumor")),
    ("magnetic resonance imaging", "breast", "axial", ("",)),
    ("ultrasound", "breast", "", ("No Finding", "Benign Lesion", "Malignant Lesion")),
    (
        "fundus photography",
        "retina",
        "macula-centered",
        (
            "No Diabetic Retinopathy, no macular edema risk",
            "Mild Nonproliferative Diabetic Retinopathy, no macular edema risk",
            "Moderate Nonproliferative Diabetic Retinopathy, severe macular edema risk",
            "Severe Nonproliferative Diabetic Retinopathy, severe macular edema risk",
            "Proliferative Diabetic Retinopathy, no macular edema risk",
        ),
    ),
    ("dermoscopy", "skin", "", ("Melanocytic Nevus", "Melanoma")),
    (
        "microscopy",
        "peripheral blood smear",
        "",
        (
            "Neutrophil",
            "Eosinophil",
            "Basophil",
            "Lymphocyte",
            "Monocyte",
            "Immature Granulocyte",
            "Erythroblast",
            "Platelet",
            "normal red blood cells",
        ),
    ),
)
# Of the released model's, beside those above.
_RELEASED = (
    (
        "x-ray",
        "chest",
        "anteroposterior",
        (
            "Atelectasis",
            "Cardiomegaly",
            "Consolidation",
            "Edema",
            "Effusion",
            "Emphysema",
            "Fibrosis",
            "Hernia",
            "Infiltration",
            "Mass",
            "Nodule",
            "Pleural_Thickening",
            "Pneumonia",
            "Pneumothorax",
        ),
    ),
)

# How people and DICOM files write what the captions write out.
_SYNONYMS = {
    "ct": "computed tomography",
    "cxr": "x-ray chest",
    "dx": "x-ray",
    "film": "x-ray",
    "mr": "magnetic resonance imaging",
    "mri": "magnetic resonance imaging",
    "radiograph": "x-ray",
    "sonography": "ultrasound",
    "us": "ultrasound",
    "xray": "x-ray",
}
_WORD = re.compile(r"[\w-]+")


def find_label_examples(
    model: str, *, query: str = "", modality: str = "", anatomy: str = "", limit: int = 20
) -> LabelExamplesAnswer:
    """The examples that a model can be asked with, those with most words of the query first.

    Args:
        model: Its name; of the built-in one, only what it was trained on is given.
        query: Words, as ``pneumonia chest``; none gives all.
        modality: Only examples of it; abbreviations as ``CT`` are known.
        anatomy: Only examples of it.
        limit: How many at most.
    """
    wanted = [_words(modality), _words(anatomy)]
    fitting = [one for one in _examples(model) if all(words <= _words(_text(one)) for words in wanted)]
    asked = _words(query)
    counts = {one.prompt: len(asked & _words(_text(one))) for one in fitting}
    matched = not asked or any(counts.values())
    found = [one for one in fitting if not asked or counts[one.prompt]] if matched else fitting
    found.sort(key=lambda one: -counts[one.prompt])  # stable: findings stay before the rest
    return LabelExamplesAnswer(form=FORM, matched=matched, total=len(found), examples=found[:limit])


@cache
def _examples(model: str) -> tuple[LabelExample, ...]:
    """With findings first; every prompt once."""
    known = {name: vocabulary(name, model=model) for name in VOCABULARIES}
    everything = all(len(known[name]) == len(VOCABULARIES[name]) for name in VOCABULARIES)
    made = [*_with_findings(*_BUILT_IN, *(_RELEASED if everything else ())), *_without_findings(known)]
    first: dict[str, LabelExample] = {}
    for one in made:
        first.setdefault(one.prompt, one)
    return tuple(first.values())


def _with_findings(*rows: tuple[str, str, str, tuple[str, ...]]) -> Iterator[LabelExample]:
    for modality, anatomy, view, findings in rows:
        for finding in findings:
            yield LabelExample(
                prompt=" ".join(filter(None, (modality, anatomy, view, finding))),
                modality=modality,
                anatomy=anatomy,
                view=view or None,
                finding=finding or None,
            )


def _without_findings(known: dict[str, dict[str, tuple[str, ...]]]) -> Iterator[LabelExample]:
    """The vocabularies' prompts, where the model knows every term that one stands for."""
    terms_of: dict[str, dict[str, str]] = {}
    for name, terms in VOCABULARIES.items():
        for term, prompts in terms.items():
            for prompt in prompts:
                terms_of.setdefault(prompt, {}).setdefault(name, term)
    for prompt, found in terms_of.items():
        parts = {"modality": _first(MODALITY, prompt), "anatomy": _first(ANATOMY, prompt), **found}
        if all(term in known[name] for name, term in parts.items() if term is not None):
            yield LabelExample(prompt=prompt, **parts)


def _first(terms: Iterable[str], prompt: str) -> str | None:
    """The first term that the prompt has as whole words."""
    return next((term for term in terms if f" {term} " in f" {prompt} "), None)


def _text(example: LabelExample) -> str:
    return " ".join(filter(None, (example.prompt, example.modality, example.anatomy, example.view)))


def _words(text: str) -> frozenset[str]:
    """Its words in small letters, abbreviations written out."""
    words = _WORD.findall(text.lower())
    return frozenset(part for word in words for part in _SYNONYMS.get(word, word).split())
