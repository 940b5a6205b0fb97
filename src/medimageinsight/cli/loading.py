"""What the verbs share that learn from a table of labelled images, or use what was learned."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.errors import error_context
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from medimageinsight.adapters.labelled import Labelled
    from medimageinsight.api import MedImageInsight
    from medimageinsight.bundle.identity import ModelIdentity
    from medimageinsight.datasets import Sample
    from medimageinsight.metrics.bootstrap import Figure

LabelColumn = Annotated[str, typer.Option(metavar="COLUMN", help="The table's column of labels.")]
Separator = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="What is between several labels of a cell, as '|'. Default: one label a cell."),
]
SourceName = Annotated[
    list[str] | None, typer.Option("--source", metavar="NAME", help="Only images of this source; may come again.")
]


def read_samples(path: Path, column: str, sources: Sequence[str] | None, separator: str | None) -> "tuple[Sample, ...]":
    """The labelled rows of a table whose labels stand in a column of any name."""
    from medimageinsight.adapters.tables import labelled_samples
    from medimageinsight.datasets import read_table

    return labelled_samples(read_table(path, columns={"label": column}), sources=sources or (), separator=separator)


def check_out(out: Path) -> None:
    """Refuse a file that cannot be written before hours go into what it is for."""
    with error_context(out):
        if not out.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if out.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))


def embed(model: "MedImageInsight", samples: "Sequence[Sample]", separator: str | None) -> "Labelled":
    """The samples' vectors and labels, with a progress bar."""
    from medimageinsight.adapters.tables import embed_labelled

    with output.counting("embedding", len(samples)) as progress:
        return embed_labelled(model, samples, separator=separator, progress=progress)


def identity(model: "MedImageInsight") -> "ModelIdentity":
    """The model as files of learned numbers know it."""
    from medimageinsight.bundle.identity import ModelIdentity

    return ModelIdentity.of(model.manifest, model.preprocessing)


def steps_of(model: "ModelIdentity") -> str | None:
    """How the images that a file was learned from were prepared."""
    steps = model.preprocessing.get("default")
    return steps if isinstance(steps, str) else None


def report_failures(results: "Sequence[tuple[str, object]]") -> int:
    """One line for each source that failed; how many there are."""
    failures = [(source, one) for source, one in results if isinstance(one, InputError)]
    for source, error in failures:
        output.error(error.message, source=source)
    return len(failures)


def cells(figure: "Figure | None") -> tuple[str, str]:
    """Value and interval; dashes where there is none."""
    return ("–", "") if figure is None else (f"{figure.value:.3f}", f"{figure.low:.3f} to {figure.high:.3f}")
