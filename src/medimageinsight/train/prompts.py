"""How the parts of a caption are worded: synonyms, parts left out, order, templates."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medimageinsight.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from medimageinsight.train.config import CaptionAugmentation

PARTS = ("modality", "anatomy", "view", "finding")
ATTEMPTS = 8  # to drop parts without dropping all
SENTENCE = "{modality}[ of the {anatomy}][, {view}] showing {finding}"
_PIECE = re.compile(r"\[([^\[\]]*)\]|([^\[\]]+)")
_FIELD = re.compile(r"\{(\w*)\}")


@dataclass(frozen=True, slots=True)
class Template:
    """A sentence with places for fields; what stands in ``[]`` falls away where one of its fields is empty.

    Template.parse("{modality}[ of the {anatomy}] showing {finding}").fill({"modality": "MRI", "finding": "Glioma"})
    # "MRI showing Glioma"
    """

    pieces: tuple[tuple[str, bool], ...]  # text with its fields, and whether it may fall away

    @classmethod
    def parse(cls, text: str) -> Template:
        """From its text.

        Raises:
            ConfigError: A field is unknown, a bracket has no partner, or there is no field (``template_invalid``).
        """
        names = _FIELD.findall(text)
        unknown = [name or "{}" for name in names if name not in PARTS]
        pieces = tuple((one[1] or one[2] or "", one[1] is not None) for one in _PIECE.finditer(text))
        whole = "".join(f"[{piece}]" if optional else piece for piece, optional in pieces) == text
        if unknown or not names or not whole or _FIELD.sub("", text).count("{") or _FIELD.sub("", text).count("}"):
            named = f"unknown {', '.join(unknown)}" if unknown else "no field, or a bracket without its partner"
            raise ConfigError(
                f"expected a template of the fields {', '.join(PARTS)}, got one with {named}: correct it",
                code="template_invalid",
            )
        return cls(pieces)

    @property
    def required(self) -> tuple[str, ...]:
        """The fields without which nothing can be said."""
        return tuple(name for text, optional in self.pieces if not optional for name in _FIELD.findall(text))

    def words(self) -> list[str]:
        """What the template itself says, between its fields."""
        return [said for text, _ in self.pieces for one in _FIELD.split(text)[::2] if (said := one.strip(" ,.;:"))]

    def fits(self, values: Mapping[str, str]) -> bool:
        """Whether the required fields have a value."""
        return all(values.get(name) for name in self.required)

    def fill(self, values: Mapping[str, str]) -> str:
        """The text with the fields' values; brackets with an empty field are left out."""
        kept = self._kept(values)
        return "".join(_FIELD.sub(lambda match: values.get(match[1], ""), text) for text in kept).strip()

    def said(self, values: Mapping[str, str]) -> list[str]:
        """The fields that `fill` says."""
        return [name for text in self._kept(values) for name in _FIELD.findall(text)]

    def _kept(self, values: Mapping[str, str]) -> list[str]:
        return [
            text
            for text, optional in self.pieces
            if not optional or all(values.get(name) for name in _FIELD.findall(text))
        ]


class Wording:
    """Words parts as the settings say; chance comes from the generator alone.

    With ``templates``, a caption is one of those whose fields are there, or the parts in a row where none fits. What a
    template has no place for is not said.
    """

    def __init__(self, settings: CaptionAugmentation, templates: Sequence[str] = ()) -> None:
        self.settings = settings
        self.templates = tuple(Template.parse(text) for text in templates)
        self._sentence = Template.parse(SENTENCE)

    def kept_parts(self, words: Mapping[str, str], rng: np.random.Generator) -> list[str]:
        """The parts that are said, at least one of those that are there."""
        present = [part for part in PARTS if words[part]]
        for _ in range(ATTEMPTS):
            kept = [part for part in present if rng.random() >= getattr(self.settings, f"drop_{part}")]
            if kept:
                return kept
        return present

    def choose(self, kept: Sequence[str], words: Mapping[str, str], rng: np.random.Generator) -> Template | None:
        """One of the templates that the kept parts fill; None where there is none."""
        said = {part: words[part] for part in kept}
        fitting = [one for one in self.templates if one.fits(said) and one.said(said)]
        return fitting[rng.integers(len(fitting))] if fitting else None

    def reword(self, words: str, rng: np.random.Generator) -> str:
        """The words, or another wording of the same."""
        others = self.settings.synonyms.get(words, ())
        if others and rng.random() < self.settings.synonym:
            return others[rng.integers(len(others))]
        return words

    def compose(self, words: Mapping[str, str], rng: np.random.Generator) -> str:
        """The parts as one caption: a sentence, or in a row."""
        if "finding" in words and "modality" in words and rng.random() < self.settings.sentence:
            return self._sentence.fill(words)
        parts = list(words.values())
        if rng.random() < self.settings.shuffle:
            parts = [parts[i] for i in rng.permutation(len(parts))]
        return (", " if rng.random() < self.settings.punctuate else " ").join(parts)
