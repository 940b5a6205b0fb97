"""Training captions in varied wording, and the images for which each caption is true."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medimageinsight.train.caption_wording import PARTS, Wording
from medimageinsight.train.clip_templates import CLIP_TEMPLATES, write_in_clip_template
from medimageinsight.train.free_texts import match_free_texts

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from medimageinsight.datasets import Sample
    from medimageinsight.train.config import CaptionAugmentation
    from medimageinsight.train.free_texts import FreeText

UNSTATED = 0
# Columns of facts after those of PARTS: the class of a caption without parts; the wording of the finding.
WHOLE, WORDING = len(PARTS), len(PARTS) + 1
FINDING = PARTS.index("finding")


@dataclass(frozen=True, slots=True)
class Captions:
    """Captions of one batch and their statements: (N, 6) int64, an id or `UNSTATED` per column of facts."""

    texts: list[str]
    stated: npt.NDArray[np.int64]


class CaptionWriter:
    """Writes captions for samples and computes for which samples a caption is true.

    A text is true of an image if every statement of the text holds for it: "x-ray chest" for every chest x-ray,
    regardless of findings. Two findings are the same if they have the same label in the same source, so that captions
    of one label in different words share a class, or if their wording is the same. With ``settings.shared_labels`` the
    labels alone decide, in whichever source.

    If the parts of a sample do not contain all of its caption, the caption is used unchanged. Its class is then its
    label within its source; without a label, the caption is a class of its own.

    With ``settings.clip_templates``, a caption that is the name of its class is written within one of CLIP's sentences.

    With ``templates``, sentences of `PARTS` (see `caption_wording.Template`), one is drawn for each caption.

    With the probability ``settings.free_text`` a caption is one of ``free_texts`` that is true of the image.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        settings: CaptionAugmentation,
        templates: Sequence[str] = (),
        free_texts: Sequence[FreeText] = (),
    ) -> None:
        self.settings = settings
        self.samples = samples
        self.wording = Wording(settings, templates)
        self.free_texts = free_texts
        self._matching = match_free_texts(free_texts, samples)
        self._ids: list[dict[Hashable, int]] = [{} for _ in range(len(PARTS) + 2)]
        # General findings have the lowest ids, starting at 1.
        self._general = {term: self._id(FINDING, ("general", term)) for term in settings.broader}
        self.facts = np.array([self._facts(sample) for sample in samples], dtype=np.int64)  # (samples, 6)
        self._broader = {
            finding: [term for term, covered in settings.broader.items() if finding in covered]
            for finding in {sample.finding for sample in samples}
        }
        # covers[general finding, finding of the image]
        self._covers = np.zeros((len(self._general) + 1, len(self._ids[FINDING]) + 1), dtype=bool)
        for sample, facts in zip(samples, self.facts, strict=True):
            for term in self._broader[sample.finding]:
                self._covers[self._general[term], facts[FINDING]] = True

    def vocabulary(self) -> list[str]:
        """Return every phrase that captions are composed of, for training a tokenizer."""
        captions = {sample.caption for sample in self.samples}
        synonyms = {text for texts in self.settings.synonyms.values() for text in texts}
        sentences = {text for template in self.wording.templates for text in template.words()}
        if self.settings.clip_templates:
            sentences |= {template.replace("{}", "") for template in CLIP_TEMPLATES}
        captions |= {free.text for free in self.free_texts}
        return sorted(captions | synonyms | set(self.settings.broader) | sentences | {"showing", "of the", "a", "an"})

    def write(self, indices: npt.NDArray[np.int64], rng: np.random.Generator) -> Captions:
        """Write one caption for each sample index."""
        written = [self._write_caption(int(index), rng) for index in indices]
        return Captions([text for text, _ in written], np.array([stated for _, stated in written], dtype=np.int64))

    def positives(self, indices: npt.NDArray[np.int64], stated: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return (N, M) bool, True if the statements of a text (M, 6) hold for the facts of a sample (N,)."""
        facts = self.facts[indices, None, :]  # (N, 1, 6)
        stated = stated[None, :, :]  # (1, M, 6)
        unstated = stated == UNSTATED
        equal = stated == facts
        parts = (unstated[..., :FINDING] | equal[..., :FINDING]).all(axis=-1)
        general = np.where(stated[..., FINDING] < len(self._covers), stated[..., FINDING], UNSTATED)
        finding = unstated[..., FINDING] | equal[..., FINDING] | self._covers[general, facts[..., FINDING]]
        finding |= ~unstated[..., WORDING] & equal[..., WORDING]
        return np.asarray(parts & finding & (unstated[..., WHOLE] | equal[..., WHOLE]))

    def _facts(self, sample: Sample) -> list[int]:
        shared = self.settings.shared_labels
        finding: Hashable = None
        if sample.finding:
            label = ("label", "" if shared else sample.source, sample.label)
            finding = label if sample.label else ("wording", sample.finding)
        whole: Hashable = None
        if not _has_all_parts(sample):
            whole = (sample.source, sample.label) if sample.label else sample.caption
        wording = None if shared and sample.label else sample.finding
        facts = (sample.modality, sample.anatomy, sample.view, finding, whole, wording)
        return [self._id(column, value) if value else UNSTATED for column, value in enumerate(facts)]

    def _id(self, column: int, value: Hashable) -> int:
        """Return the number of a value in a column, the same for each call."""
        ids = self._ids[column]
        return ids.setdefault(value, len(ids) + 1)

    def _write_caption(self, index: int, rng: np.random.Generator) -> tuple[str, list[int]]:
        sample, stated = self.samples[index], self.facts[index].tolist()
        if self.settings.clip_templates and sample.label and sample.caption == sample.label:
            return write_in_clip_template(sample.caption, rng), stated
        if stated[WHOLE] != UNSTATED:
            return sample.caption, [stated[WHOLE] if column == WHOLE else UNSTATED for column in range(len(stated))]
        words = {part: getattr(sample, part) for part in PARTS}
        matching = self._matching.get(tuple(words.values()), ())
        if matching and rng.random() < self.settings.free_text:
            free = matching[rng.integers(len(matching))]
            columns = [column for column, stated_part in enumerate(free.parts) if stated_part]
            if FINDING in columns:
                columns.append(WORDING)
            return free.text, [value if column in columns else UNSTATED for column, value in enumerate(stated)]
        general = self._broader[sample.finding]
        if general and rng.random() < self.settings.broaden:
            words["finding"] = general[rng.integers(len(general))]
            stated[FINDING], stated[WORDING] = self._general[words["finding"]], UNSTATED
        parts = self.wording.choose_parts(words, rng)
        template = self.wording.choose_template(parts, words, rng)
        if template is not None:
            used = template.used_fields({part: words[part] for part in parts})
            parts = [part for part in parts if part in used]
        for column, part in enumerate(PARTS):
            if part not in parts:
                stated[column] = UNSTATED
        if stated[FINDING] == UNSTATED:
            stated[WORDING] = UNSTATED
        worded = {part: self.wording.reword(words[part], rng) for part in parts}
        return template.fill(worded) if template is not None else self.wording.compose(worded, rng), stated


def _has_all_parts(sample: Sample) -> bool:
    """Return True if the parts contain all of the caption; a label named only in the caption would be lost in them."""
    parts = [value for part in PARTS if (value := getattr(sample, part))]
    return bool(parts) and (bool(sample.finding) or sample.caption in ("", " ".join(parts)))
