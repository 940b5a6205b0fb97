"""Training captions: what a text says of a picture, in many wordings, and of which other pictures it is true too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.datasets.table import Sample
    from medimageinsight.train.config import CaptionAugmentation

PARTS = ("modality", "anatomy", "view", "finding")
UNSTATED = 0
ATTEMPTS = 8  # to drop parts without dropping all


@dataclass(frozen=True, slots=True)
class Texts:
    """Captions of one batch, and what each states: (N, 4) int64, an id for each of `PARTS`, or `UNSTATED`."""

    texts: list[str]
    stated: npt.NDArray[np.int64]


class CaptionWriter:
    """Writes captions for samples and knows which text is true of which sample.

    A text is true of a picture when everything it states holds there: "x-ray chest" of every chest film, whatever its
    finding. Two findings are the same when their labels are, so differently worded captions of a label share a class.
    """

    def __init__(self, samples: Sequence[Sample], settings: CaptionAugmentation) -> None:
        self.settings = settings
        self.samples = samples
        self._ids: list[dict[str, int]] = [{} for _ in PARTS]
        self.facts = np.array([self._facts(sample) for sample in samples], dtype=np.int64)  # (samples, 4)
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
        return sorted(captions | synonyms | set(self.settings.broader) | {"showing", "of the", "a", "an"})

    def write(self, indices: npt.NDArray[np.int64], rng: np.random.Generator) -> Texts:
        """One caption for each sample index."""
        written = [self._write_one(int(index), rng) for index in indices]
        return Texts([text for text, _ in written], np.array([stated for _, stated in written], dtype=np.int64))

    def positives(self, indices: npt.NDArray[np.int64], stated: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """(samples, texts) bool: whether the text is true of the sample."""
        facts = self.facts[indices][:, None, :]  # (N, 1, 4)
        said = stated[None, :, :]  # (1, M, 4)
        plain = ((said[..., :3] == UNSTATED) | (said[..., :3] == facts[..., :3])).all(axis=-1)
        finding = (said[..., 3] == UNSTATED) | self._covers[said[..., 3], facts[..., 3]]
        return np.asarray(plain & finding)

    def _facts(self, sample: Sample) -> list[int]:
        values = (sample.modality, sample.anatomy, sample.view, sample.label if sample.finding else "")
        return [
            ids.setdefault(value, len(ids) + 1) if value else UNSTATED
            for ids, value in zip(self._ids, values, strict=True)
        ]

    def _write_one(self, index: int, rng: np.random.Generator) -> tuple[str, list[int]]:
        sample, stated = self.samples[index], self.facts[index].tolist()
        words = {part: getattr(sample, part) for part in PARTS}
        general = self._broader[sample.finding]
        if general and rng.random() < self.settings.broaden:
            words["finding"] = general[rng.integers(len(general))]
            stated[3] = self._general[words["finding"]]
        kept = self._kept_parts(words, rng)
        for position, part in enumerate(PARTS):
            if part not in kept:
                stated[position] = UNSTATED
        return self._compose({part: self._reword(words[part], rng) for part in kept}, rng), stated

    def _kept_parts(self, words: dict[str, str], rng: np.random.Generator) -> list[str]:
        present = [part for part in PARTS if words[part]]
        for _ in range(ATTEMPTS):
            kept = [part for part in present if rng.random() >= getattr(self.settings, f"drop_{part}")]
            if kept:
                return kept
        return present

    def _reword(self, words: str, rng: np.random.Generator) -> str:
        others = self.settings.synonyms.get(words, ())
        if others and rng.random() < self.settings.synonym:
            return others[rng.integers(len(others))]
        return words

    def _compose(self, words: dict[str, str], rng: np.random.Generator) -> str:
        if "finding" in words and "modality" in words and rng.random() < self.settings.sentence:
            place = f" of the {words['anatomy']}" if "anatomy" in words else ""
            view = f", {words['view']}" if "view" in words else ""
            return f"{words['modality']}{place}{view} showing {words['finding']}"
        parts = list(words.values())
        if rng.random() < self.settings.shuffle:
            parts = [parts[i] for i in rng.permutation(len(parts))]
        return (", " if rng.random() < self.settings.punctuate else " ").join(parts)
