"""Prompts of labels that do not exclude each other."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.datasets import Sample, Table
from medimageinsight.errors import ConfigError
from medimageinsight.evaluate.prompt_set import choose_prompts
from medimageinsight.tagging import TagPrompts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FIELDS = ("modality", "anatomy", "view")


@dataclass(frozen=True, kw_only=True)
class LabelPrompts:
    """The prompts of each label, and where they are from in words."""

    prompts: Mapping[str, TagPrompts]
    source: str

    @property
    def count(self) -> int:
        """Number of texts."""
        return sum(len(tag.positive) + len(tag.negative) for tag in self.prompts.values())

    @property
    def score(self) -> str:
        """How the zero-shot score of a label is formed, in words."""
        contrasts = sum(bool(tag.negative) for tag in self.prompts.values())
        cosine = "cosine of the image and the mean of the label's prompts"
        contrast = "softmax of the cosines with the label's positive and with its negative prompts"
        if not contrasts:
            return cosine
        return contrast if contrasts == len(self.prompts) else f"{contrast}; without negative prompts {cosine}"


def choose_label_prompts(
    table: Table,
    names: Sequence[str],
    *,
    template: str | None = None,
    prompts: Mapping[str, TagPrompts] | None = None,
) -> LabelPrompts:
    """Return the prompts of labels: the table's most frequent modality, anatomy and view, and the label's name.

    A ``template`` as in `choose_prompts` makes them instead, or ``prompts`` of each label, as `tagging.read_prompts`
    reads them. Captions are never prompts: they describe several labels.

    Raises:
        ConfigError: A template and prompts (``prompts_ambiguous``), or a label without one (``prompts_incomplete``).
        InputError: The template is invalid (``template_invalid``).
    """
    if template is not None and prompts is not None:
        raise ConfigError(
            "expected a template or prompts of the labels, got both: leave one out", code="prompts_ambiguous"
        )
    if prompts is not None:
        if missing := [name for name in names if name not in prompts]:
            raise ConfigError(
                f"expected a prompt for each of the table's labels, got none for "
                f"{', '.join(map(repr, missing[:5]))}: add them",
                code="prompts_incomplete",
            )
        return LabelPrompts(prompts={name: prompts[name] for name in names}, source="a file of prompts")
    fields: dict[str, str] = {
        field: Counter(getattr(sample, field) for sample in table).most_common(1)[0][0] if len(table) else ""
        for field in _FIELDS
    }
    modality, anatomy, view = (fields[field] for field in _FIELDS)
    rows = tuple(
        Sample(path=Path(), caption="", label=name, finding=name, modality=modality, anatomy=anatomy, view=view)
        for name in names
    )
    texts = choose_prompts(Table(samples=rows, root=Path()), None, template=template)
    present = [field for field in _FIELDS if fields[field]]
    default = (
        f"the table's most frequent {' and '.join(present)}, and the label" if present else "the names of the labels"
    )
    return LabelPrompts(
        prompts={row.label: TagPrompts(positive=(row.caption,)) for row in texts.rows},
        source=default if template is None else texts.source,
    )
