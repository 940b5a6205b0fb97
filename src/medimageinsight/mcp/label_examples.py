"""Example prompts in the form of the training captions, for labels in words that the model knows."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from medimageinsight.schemas import LabelExample, LabelExamples
from medimageinsight.tagging import ANATOMY, MODALITY, VOCABULARIES, vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from medimageinsight.schemas import LabelExamplesArguments

FORM = (
    "modality anatomy view finding, in this order with single spaces, as 'x-ray chest anteroposterior Cardiomegaly'. "
    "View and finding may be left out; 'No Finding' is the normal one. To classify, give findings as labels and a "
    "template that ends in {}, as 'x-ray chest anteroposterior {}': then prompts differ in the finding alone."
)

# Captions of the built-in model's training images (its model card), further captions of the released model's, and how
# people and DICOM files abbreviate the words of captions.
_DATA = json.loads(files(__package__).joinpath("label_examples.json").read_text("utf-8"))
_BUILT_IN: list[dict[str, Any]] = _DATA["built_in"]
_RELEASED: list[dict[str, Any]] = _DATA["released"]
_SYNONYMS: dict[str, str] = _DATA["synonyms"]
_WORD = re.compile(r"[\w-]+")


def find_label_examples(model: str, arguments: LabelExamplesArguments) -> LabelExamples:
    """Return examples of prompts, those with most words of the query first.

    Args:
        model: The model's name; for the built-in one, only what it was trained on is returned.
        arguments: Words, as ``pneumonia chest``, without which all examples are returned; a modality and an anatomy,
            to which examples are limited, also by abbreviations as ``CT``; and how many examples at most.
    """
    required = _words(arguments.modality) | _words(arguments.anatomy)
    fitting = [example for example in _examples(model) if required <= _words(_text(example))]
    query = _words(arguments.query)
    counts = {example.prompt: len(query & _words(_text(example))) for example in fitting}
    matched = not query or any(counts.values())
    found = [example for example in fitting if counts[example.prompt]] if query and matched else fitting
    found.sort(key=lambda example: -counts[example.prompt])  # stable: findings stay before the rest
    return LabelExamples(form=FORM, matched=matched, total=len(found), examples=found[: arguments.limit])


@cache
def _examples(model: str) -> tuple[LabelExample, ...]:
    """Return the examples of a model, with findings first, every prompt once."""
    known = {name: vocabulary(name, model=model) for name in VOCABULARIES}
    everything = all(len(known[name]) == len(VOCABULARIES[name]) for name in VOCABULARIES)
    first: dict[str, LabelExample] = {}
    for example in (*_with_findings(_BUILT_IN + _RELEASED * everything), *_without_findings(known)):
        first.setdefault(example.prompt, example)
    return tuple(first.values())


def _with_findings(rows: Iterable[dict[str, Any]]) -> Iterator[LabelExample]:
    for row in rows:
        parts = {name: row[name] or None for name in ("modality", "anatomy", "view")}
        for finding in row["findings"]:
            prompt = " ".join(filter(None, (*parts.values(), finding)))
            yield LabelExample(prompt=prompt, finding=finding or None, **parts)


def _without_findings(known: dict[str, dict[str, tuple[str, ...]]]) -> Iterator[LabelExample]:
    """Yield those prompts of the vocabularies whose terms the model knows."""
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
    """Return the first term that the prompt contains as whole words."""
    return next((term for term in terms if f" {term} " in f" {prompt} "), None)


def _text(example: LabelExample) -> str:
    return " ".join(filter(None, (example.prompt, example.modality, example.anatomy, example.view)))


def _words(text: str) -> frozenset[str]:
    """Return the words of a text in lower case, abbreviations written out."""
    words = _WORD.findall(text.lower())
    return frozenset(part for word in words for part in _SYNONYMS.get(word, word).split())
