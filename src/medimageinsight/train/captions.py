"""Training captions: what a text says of a picture, in many wordings, and of which other pictures it is true too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medimageinsight.train.prompts import PARTS, Wording

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.datasets.table import Sample
    from medimageinsight.train.config import CaptionAugmentation

UNSTATED = 0
WHOLE = len(PARTS)  # column of facts: the class of a caption that is said as it stands


@dataclass(frozen=True, slots=True)
class Texts:
    """Captions of one batch, and what each states: (N, 5) int64, ids for `PARTS` and `WHOLE`, or `UNSTATED`."""

    texts: list[str]
    stated: npt.NDArray[np.int64]


class CaptionWriter:
    """Writes captions for samples and knows which text is true of which sample.

    A text is true of a picture when everything it states holds there: "x-ray chest" of every chest film, whatever its
    finding. Two findings are the same when their labels are, so differently worded captions of a label share a class.

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
        self._ids: list[dict[str, int]] = [{} for _ in PARTS]
        self._wholes: dict[tuple[str, str, str], int] = {}
        self.facts = np.array([self._facts(sample) for sample in samples], dtype=np.int64)  # (samples, 5)
        self._general = {
            term: self._ids[3].setdefault(f"general:{term}", len(self._ids[3]) + 1) for term in settings.broader
        }
        self._broader = {
            finding: [term for term, covered in settings.broader.items() if finding in covered]
            for finding in {sample.finding for sample in samples}
        }
        # covers[stated finding, finding of the picture]
        self._covers = np.eye(len(self._ids[3]) + 1, dtype=bool)
        for sample, facts in zip(samples, self.facts, strict=True):
            for term in self._broader[sample.finding]:
                self._covers[self._general[term], facts[3]] = True

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
        """(N, M) bool: whether what a text states (M, 5) is true of a sample's facts (N, 5)."""
        facts = facts[:, None, :]  # (N, 1, 5)
        said = stated[None, :, :]  # (1, M, 5)
        plain = ((said[..., :3] == UNSTATED) | (said[..., :3] == facts[..., :3])).all(axis=-1)
        finding = (said[..., 3] == UNSTATED) | self._covers[said[..., 3], facts[..., 3]]
        whole = (said[..., WHOLE] == UNSTATED) | (said[..., WHOLE] == facts[..., WHOLE])
        return np.asarray(plain & finding & whole)

    def _facts(self, sample: Sample) -> list[int]:
        values = (sample.modality, sample.anatomy, sample.view, sample.label if sample.finding else "")
        parts = [
            ids.setdefault(value, len(ids) + 1) if value else UNSTATED
            for ids, value in zip(self._ids, values, strict=True)
        ]
        if _is_made_of_parts(sample):
            return [*parts, UNSTATED]
        key = (sample.source, sample.label, "") if sample.label else ("", "", sample.caption)
        return [*parts, self._wholes.setdefault(key, len(self._wholes) + 1)]

    def _write_one(self, index: int, rng: np.random.Generator) -> tuple[str, list[int]]:
        sample, stated = self.samples[index], self.facts[index].tolist()
        if stated[WHOLE] != UNSTATED:
            return sample.caption, [UNSTATED] * len(PARTS) + [stated[WHOLE]]
        words = {part: getattr(sample, part) for part in PARTS}
        general = self._broader[sample.finding]
        if general and rng.random() < self.settings.broaden:
            words["finding"] = general[rng.integers(len(general))]
            stated[3] = self._general[words["finding"]]
        kept = self.wording.kept_parts(words, rng)
        template = self.wording.choose(kept, words, rng)
        if template is not None:
            kept = [part for part in kept if part in template.said({one: words[one] for one in kept})]
        for position, part in enumerate(PARTS):
            if part not in kept:
                stated[position] = UNSTATED
        said = {part: self.wording.reword(words[part], rng) for part in kept}
        return template.fill(said) if template is not None else self.wording.compose(said, rng), stated


def _is_made_of_parts(sample: Sample) -> bool:
    """Whether the parts say all that the caption says; a label that only the caption names would be lost in them."""
    parts = [value for part in PARTS if (value := getattr(sample, part))]
    return bool(parts) and (bool(sample.finding) or sample.caption in ("", " ".join(parts)))
