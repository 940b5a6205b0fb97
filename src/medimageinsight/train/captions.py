"""Training captions: what a text says of a picture, in many wordings, and of which other pictures it is true too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medimageinsight.train.prompts import PARTS, Wording

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from medimageinsight.datasets.table import Sample
    from medimageinsight.train.config import CaptionAugmentation

UNSTATED = 0
# Columns of facts after those of PARTS: the class of a caption that is said as it stands; a finding's wording.
WHOLE, WORDING = len(PARTS), len(PARTS) + 1
FINDING = PARTS.index("finding")


@dataclass(frozen=True, slots=True)
class Texts:
    """Captions of one batch, and what each states: (N, 6) int64, ids for `PARTS` and what follows, or `UNSTATED`."""

    texts: list[str]
    stated: npt.NDArray[np.int64]


class CaptionWriter:
    """Writes captions for samples and knows which text is true of which sample.

    A text is true of a picture when everything it states holds there: "x-ray chest" of every chest film, whatever its
    finding. Two findings are the same when they are of one label of one source, so that differently worded captions of
    a label share a class, or when they are worded the same. With ``settings.shared_labels`` the labels alone decide,
    whatever their source.

    A sample whose parts do not make its caption is said as it stands. Its class is its label within its source; without
    a label, the caption is a class of its own.

    Args:
        samples: What is written about.
        settings: How captions are worded.
        templates: Sentences of `PARTS` (see `prompts.Template`) of which one is drawn for each caption.
    """

    def __init__(self, samples: Sequence[Sample], settings: CaptionAugmentation, templates: Sequence[str] = ()) -> None:
        self.settings = settings
        self.samples = samples
        self.wording = Wording(settings, templates)
        self._ids: list[dict[Hashable, int]] = [{} for _ in range(len(PARTS) + 2)]
        # General findings have the first ids: 1 to as many as there are.
        self._general = {term: self._id(FINDING, ("general", term)) for term in settings.broader}
        self.facts = np.array([self._facts(sample) for sample in samples], dtype=np.int64)  # (samples, 6)
        self._broader = {
            finding: [term for term, covered in settings.broader.items() if finding in covered]
            for finding in {sample.finding for sample in samples}
        }
        # covers[general finding, finding of the picture]
        self._covers = np.zeros((len(self._general) + 1, len(self._ids[FINDING]) + 1), dtype=bool)
        for sample, facts in zip(samples, self.facts, strict=True):
            for term in self._broader[sample.finding]:
                self._covers[self._general[term], facts[FINDING]] = True

    def vocabulary(self) -> list[str]:
        """Every wording that a caption may be made of, for training a tokenizer."""
        captions = {sample.caption for sample in self.samples}
        synonyms = {text for texts in self.settings.synonyms.values() for text in texts}
        sentences = {text for one in self.wording.templates for text in one.words()}
        return sorted(captions | synonyms | set(self.settings.broader) | sentences | {"showing", "of the", "a", "an"})

    def write(self, indices: npt.NDArray[np.int64], rng: np.random.Generator) -> Texts:
        """One caption for each sample index."""
        written = [self._write_one(int(index), rng) for index in indices]
        return Texts([text for text, _ in written], np.array([stated for _, stated in written], dtype=np.int64))

    def positives(self, indices: npt.NDArray[np.int64], stated: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """(samples, texts) bool: whether the text is true of the sample."""
        return self.truth(self.facts[indices], stated)

    def truth(self, facts: npt.NDArray[np.int64], stated: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """(N, M) bool: whether what a text states (M, 6) is true of a sample's facts (N, 6)."""
        facts = facts[:, None, :]  # (N, 1, 6)
        said = stated[None, :, :]  # (1, M, 6)
        plain = ((said[..., :FINDING] == UNSTATED) | (said[..., :FINDING] == facts[..., :FINDING])).all(axis=-1)
        one, own = said[..., FINDING], facts[..., FINDING]
        general = np.where(one < len(self._covers), one, UNSTATED)
        finding = (one == UNSTATED) | (one == own) | self._covers[general, own]
        finding |= (said[..., WORDING] != UNSTATED) & (said[..., WORDING] == facts[..., WORDING])
        whole = (said[..., WHOLE] == UNSTATED) | (said[..., WHOLE] == facts[..., WHOLE])
        return np.asarray(plain & finding & whole)

    def _facts(self, sample: Sample) -> list[int]:
        shared = self.settings.shared_labels
        finding: Hashable = None
        if sample.finding:
            label = ("label", "" if shared else sample.source, sample.label)
            finding = label if sample.label else ("wording", sample.finding)
        whole: Hashable = None
        if not _is_made_of_parts(sample):
            whole = (sample.source, sample.label) if sample.label else sample.caption
        wording = None if shared and sample.label else sample.finding
        facts = (sample.modality, sample.anatomy, sample.view, finding, whole, wording)
        return [self._id(column, value) if value else UNSTATED for column, value in enumerate(facts)]

    def _id(self, column: int, value: Hashable) -> int:
        """A number for a value of a column, the same each time."""
        ids = self._ids[column]
        return ids.setdefault(value, len(ids) + 1)

    def _write_one(self, index: int, rng: np.random.Generator) -> tuple[str, list[int]]:
        sample, stated = self.samples[index], self.facts[index].tolist()
        if stated[WHOLE] != UNSTATED:
            return sample.caption, [stated[WHOLE] if column == WHOLE else UNSTATED for column in range(len(stated))]
        words = {part: getattr(sample, part) for part in PARTS}
        general = self._broader[sample.finding]
        if general and rng.random() < self.settings.broaden:
            words["finding"] = general[rng.integers(len(general))]
            stated[FINDING], stated[WORDING] = self._general[words["finding"]], UNSTATED
        kept = self.wording.kept_parts(words, rng)
        template = self.wording.choose(kept, words, rng)
        if template is not None:
            kept = [part for part in kept if part in template.said({one: words[one] for one in kept})]
        for position, part in enumerate(PARTS):
            if part not in kept:
                stated[position] = UNSTATED
        if stated[FINDING] == UNSTATED:
            stated[WORDING] = UNSTATED
        said = {part: self.wording.reword(words[part], rng) for part in kept}
        return template.fill(said) if template is not None else self.wording.compose(said, rng), stated


def _is_made_of_parts(sample: Sample) -> bool:
    """Whether the parts say all that the caption says; a label that only the caption names would be lost in them."""
    parts = [value for part in PARTS if (value := getattr(sample, part))]
    return bool(parts) and (bool(sample.finding) or sample.caption in ("", " ".join(parts)))
