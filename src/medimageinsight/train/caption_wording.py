"""The wording of a caption's parts: synonyms, omitted parts, order, templates."""

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
    """A sentence with fields; text in ``[]`` is omitted if one of its fields is empty.

    Template.parse("{modality}[ of the {anatomy}] showing {finding}").fill({"modality": "MRI", "finding": "Glioma"})
    # "MRI showing Glioma"
    """

    pieces: tuple[tuple[str, bool], ...]  # text with its fields, and whether it is optional

    @classmethod
    def parse(cls, text: str) -> Template:
        """Parse the text of a template.

        Raises:
            ConfigError: A field is unknown, a bracket has no partner, or there is no field (``template_invalid``).
        """
        names = _FIELD.findall(text)
        unknown = [name or "{}" for name in names if name not in PARTS]
        pieces = tuple((match[1] or match[2] or "", match[1] is not None) for match in _PIECE.finditer(text))
        complete = "".join(f"[{piece}]" if optional else piece for piece, optional in pieces) == text
        without_fields = _FIELD.sub("", text)
        if unknown or not names or not complete or "{" in without_fields or "}" in without_fields:
            reason = f"unknown {', '.join(unknown)}" if unknown else "no field, or a bracket without its partner"
            raise ConfigError(
                f"expected a template of the fields {', '.join(PARTS)}, got one with {reason}: correct it",
                code="template_invalid",
            )
        return cls(pieces)

    def words(self) -> list[str]:
        """Return the template's own words between its fields."""
        between = [part.strip(" ,.;:") for text, _ in self.pieces for part in _FIELD.split(text)[::2]]
        return [words for words in between if words]

    def fits(self, values: Mapping[str, str]) -> bool:
        """Return True if the fields outside of brackets have a value."""
        return all(values.get(name) for text, optional in self.pieces if not optional for name in _FIELD.findall(text))

    def fill(self, values: Mapping[str, str]) -> str:
        """Return the text with the fields' values, without brackets that have an empty field."""
        texts = self._used_pieces(values)
        return "".join(_FIELD.sub(lambda match: values.get(match[1], ""), text) for text in texts).strip()

    def used_fields(self, values: Mapping[str, str]) -> list[str]:
        """Return the fields that `fill` writes for these values."""
        return [name for text in self._used_pieces(values) for name in _FIELD.findall(text)]

    def _used_pieces(self, values: Mapping[str, str]) -> list[str]:
        return [
            text
            for text, optional in self.pieces
            if not optional or all(values.get(name) for name in _FIELD.findall(text))
        ]


class Wording:
    """Words the parts of a caption at random, as configured.

    With ``templates``, a caption is one of those whose required fields have values; parts without a field in it are
    omitted. If none fits, the caption is the sequence of its parts.
    """

    def __init__(self, settings: CaptionAugmentation, templates: Sequence[str] = ()) -> None:
        self.settings = settings
        self.templates = tuple(Template.parse(text) for text in templates)
        self._sentence = Template.parse(SENTENCE)

    def choose_parts(self, words: Mapping[str, str], rng: np.random.Generator) -> list[str]:
        """Return the names of the parts to write: at least one of those that have words."""
        present = [part for part in PARTS if words[part]]
        for _ in range(ATTEMPTS):
            chosen = [part for part in present if rng.random() >= getattr(self.settings, f"drop_{part}")]
            if chosen:
                return chosen
        return present

    def choose_template(
        self, parts: Sequence[str], words: Mapping[str, str], rng: np.random.Generator
    ) -> Template | None:
        """Return one of the templates that the parts can fill, or None."""
        values = {part: words[part] for part in parts}
        fitting = [template for template in self.templates if template.fits(values) and template.used_fields(values)]
        return fitting[rng.integers(len(fitting))] if fitting else None

    def reword(self, words: str, rng: np.random.Generator) -> str:
        """Return the words or, at random, one of their synonyms."""
        synonyms = self.settings.synonyms.get(words, ())
        if synonyms and rng.random() < self.settings.synonym:
            return synonyms[rng.integers(len(synonyms))]
        return words

    def compose(self, words: Mapping[str, str], rng: np.random.Generator) -> str:
        """Join the parts to one caption: a sentence, or a sequence."""
        if "finding" in words and "modality" in words and rng.random() < self.settings.sentence:
            return self._sentence.fill(words)
        parts = list(words.values())
        if rng.random() < self.settings.shuffle:
            parts = [parts[i] for i in rng.permutation(len(parts))]
        return (", " if rng.random() < self.settings.punctuate else " ").join(parts)
