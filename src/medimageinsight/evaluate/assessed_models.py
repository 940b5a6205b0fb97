"""Assess one model on a table, or compare two."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from medimageinsight.evaluate.assess import assess
from medimageinsight.evaluate.comparison import compare
from medimageinsight.evaluate.embedding import Model, embed_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from medimageinsight.datasets import Table
    from medimageinsight.evaluate.assessment import Assessment, AssessmentSettings
    from medimageinsight.evaluate.comparison import Comparison


class NamedModel(Model, Protocol):
    """A `Model` with a name for the report."""

    @property
    def name(self) -> str:
        """The model's name."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AssessedModels:
    """One model's assessment, or two assessments and their comparison."""

    assessment: Assessment
    other: Assessment | None = None
    comparison: Comparison | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types: the first model's keys, and ``comparison`` and ``against`` for two models."""
        document = self.assessment.to_dict()
        if self.comparison is not None:
            document["comparison"] = self.comparison.to_dict()
        if self.other is not None:
            document["against"] = self.other.to_dict()
        return document


def assess_models(
    model: NamedModel,
    table: Table,
    *,
    against: NamedModel | None = None,
    settings: AssessmentSettings | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    command: str = "",
    progress: Callable[[str], AbstractContextManager[Callable[[int], None]]] | None = None,
) -> AssessedModels:
    """Embed a table with one model or two, assess each, and compare the two by a paired test.

    Args:
        model: The first model.
        table: All splits of a table.
        against: The second model.
        settings: What to score and how.
        groups: By column, the group of every row of the table, '' for unknown.
        command: The command that repeats the assessment.
        progress: Called with a model's name; the block gets a function that takes the number of images embedded so far.

    Raises:
        DatasetError: The table has no such split, or images cannot be read (``dataset_broken_images``).
        ConfigError: As `score_table`.
        MissingExtraError: scikit-learn is not installed.
    """
    models = [model] if against is None else [model, against]
    names = [named.name for named in models]
    if len(set(names)) < len(names):
        names = [f"{names[0]} (model)", f"{names[1]} (against)"]
    embedded, assessed = [], []
    for named, name in zip(models, names, strict=True):
        with nullcontext() if progress is None else progress(name) as done:
            embedded.append(embed_table(named, table, progress=done))
        assessed.append(assess(embedded[-1], settings=settings, groups=groups, name=name, command=command))
    if against is None:
        return AssessedModels(assessment=assessed[0])
    return AssessedModels(
        assessment=assessed[0],
        other=assessed[1],
        comparison=compare(embedded[0], assessed[0], embedded[1], assessed[1]),
    )
