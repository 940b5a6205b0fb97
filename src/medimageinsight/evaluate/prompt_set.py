"""The texts that classes are compared with: captions of other splits, a template, or a user's file.

A caption of a scored image may describe this image alone (a report), so a model finds the image by its own text and
any label is predicted well. So no text of a scored image is ever a prompt.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.errors import ConfigError, InputError
from medimageinsight.prompts import fill_template

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from medimageinsight.datasets import Sample, Table

_FIELDS = ("modality", "anatomy", "view")
# Of distinct captions to images of a source; a vocabulary of classes has few captions for many images.
_MAX_CAPTION_SHARE = 0.8
_MIN_IMAGES = 10  # of a source, to judge the share


@dataclass(frozen=True, kw_only=True)
class PromptSet:
    """Prompts and the classes that they name.

    Attributes:
        rows: Samples whose ``caption`` is a prompt and whose other fields are the class that it names.
        source: Where the prompts are from, in words, for the report.
        warnings: Why the prompts may not describe classes.
    """

    rows: tuple[Sample, ...]
    source: str
    warnings: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """The P distinct prompts in the order of first appearance."""
        return tuple(dict.fromkeys(row.caption for row in self.rows))


def caption_prompts(table: Table) -> tuple[str, ...]:
    """Return the distinct captions of a table, in the order of first appearance."""
    return tuple(dict.fromkeys(sample.caption for sample in table))


def choose_prompts(
    table: Table,
    split: str | None,
    *,
    template: str | None = None,
    prompts: Mapping[str, Sequence[str]] | None = None,
) -> PromptSet:
    """Return the prompts to score a split with: the captions of the other splits, by default.

    Labels that only scored images have, and tables without other splits, get a prompt of their modality, anatomy, view
    and finding (or label). A ``template`` for `fill_template` makes the prompt of every label instead; its fields are
    ``modality``, ``anatomy``, ``view``, ``finding`` and ``source``. ``prompts`` are those of each label.

    Raises:
        ConfigError: A template and prompts (``prompts_ambiguous``), or labels without one (``prompts_incomplete``).
        InputError: The template is invalid (``template_invalid``).
    """
    if template is not None and prompts is not None:
        raise ConfigError(
            "expected a template or prompts of the labels, got both: leave one out", code="prompts_ambiguous"
        )
    if template is not None:
        rows = [replace(row, caption=_fill(template, row)) for row in table if row.label]
        return PromptSet(rows=_distinct(rows), source=f"the template {template!r}")
    if prompts is not None:
        return PromptSet(rows=_prompts_of_labels(table, prompts), source="a file of prompts")
    return _captions_of_other_splits(table, split)


def select_prompts(
    prompts: PromptSet | Sequence[str], embeddings: NDArray[np.float32], table: Table, split: str | None
) -> tuple[PromptSet, NDArray[np.float32]]:
    """Return prompts without the captions of scored images, and their embeddings (P, D).

    ``prompts`` is a set, or the table's distinct captions in any order.

    Raises:
        InputError: Texts that are not the table's captions (``prompts_mismatched``), or all are captions of scored
            images only (``prompts_of_scored_images``).
    """
    if isinstance(prompts, PromptSet):
        return prompts, embeddings
    captions = set(caption_prompts(table))
    if len(set(prompts)) != len(prompts) or set(prompts) != captions:
        raise InputError(
            f"expected the table's {len(captions)} distinct captions as prompts, got {len(prompts)} prompts, "
            f"{len(captions & set(prompts))} of them captions: take them from caption_prompts(table)",
            code="prompts_mismatched",
        )
    rows = _rows_of_other_splits(table, split)
    if not rows and any(sample.label for sample in table):
        raise InputError(
            "expected prompts that are not captions of the scored images, got a table without another split: "
            "give those of choose_prompts(table, split)",
            code="prompts_of_scored_images",
        )
    selected = PromptSet(rows=rows, source=_captions_source(table, split), warnings=_caption_warnings(table))
    index = {text: number for number, text in enumerate(prompts)}
    order = [index[text] for text in selected.texts]
    return selected, np.asarray(embeddings)[order]


def _captions_of_other_splits(table: Table, split: str | None) -> PromptSet:
    captions = _rows_of_other_splits(table, split)
    named = {(row.source, row.label) for row in captions if row.label}
    without = [row for row in table if not captions or (row.label and (row.source, row.label) not in named)]
    filled = _distinct([replace(row, caption=text) for row in without if (text := _text_of_fields(row))])
    labels = len({(row.source, row.label) for row in filled})
    fields = f"the modality, anatomy, view and finding of {labels:,} labels that no other split has" if filled else ""
    sources = filter(None, (_captions_source(table, split), fields))
    return PromptSet(
        rows=(*captions, *filled), source=", and ".join(sources) or "none", warnings=_caption_warnings(table)
    )


def _rows_of_other_splits(table: Table, split: str | None) -> tuple[Sample, ...]:
    return () if split is None else _distinct([sample for sample in table if sample.split != split])


def _captions_source(table: Table, split: str | None) -> str:
    splits = [name or "(no name)" for name in table.splits if name != split]
    if split is None or not splits:
        return ""
    return f"the captions of the split{'s' if len(splits) > 1 else ''} {' and '.join(splits)}"


def _caption_warnings(table: Table) -> tuple[str, ...]:
    """Return a warning for each source with nearly as many captions as images: they describe images, not classes."""
    warnings = []
    for source in dict.fromkeys(sample.source for sample in table):
        captions = [sample.caption for sample in table if sample.source == source]
        distinct = len(set(captions))
        if len(captions) >= _MIN_IMAGES and distinct >= _MAX_CAPTION_SHARE * len(captions):
            warnings.append(
                f"{source or '(no name)'}: {distinct:,} captions for {len(captions):,} images: they describe single "
                "images rather than classes; give prompts by a template or a file."
            )
    return tuple(warnings)


def _prompts_of_labels(table: Table, prompts: Mapping[str, Sequence[str]]) -> tuple[Sample, ...]:
    labelled = _distinct([replace(row, caption="") for row in table if row.label])
    if missing := sorted({row.label for row in labelled} - prompts.keys()):
        raise ConfigError(
            f"expected a prompt for each of the table's labels, got none for {', '.join(map(repr, missing[:5]))}: "
            "add them",
            code="prompts_incomplete",
        )
    return tuple(replace(row, caption=text) for row in labelled for text in prompts[row.label])


def _fill(template: str, row: Sample) -> str:
    fields = {name: getattr(row, name) for name in (*_FIELDS, "finding", "source")}
    return " ".join(fill_template(template, row.label, fields).split())


def _text_of_fields(row: Sample) -> str:
    parts = [getattr(row, name) for name in _FIELDS]
    return " ".join(filter(None, (*parts, row.finding or row.label)))


def _distinct(rows: Sequence[Sample]) -> tuple[Sample, ...]:
    """Return one row for each caption and class, in order."""
    keys = [(row.caption, row.source, row.label, bool(row.finding), row.modality, row.anatomy) for row in rows]
    return tuple(dict(zip(reversed(keys), reversed(rows), strict=True)).values())[::-1]
