"""Shared steps of the verbs that train on a table of labelled images or use the result."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.cli import output
from medimageinsight.cli.errors import error_context
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from medimageinsight.adapters import LabelledEmbeddings
    from medimageinsight.api import MedImageInsight
    from medimageinsight.bundle import ModelIdentity
    from medimageinsight.datasets import Sample
    from medimageinsight.metrics.bootstrap import Figure


def read_samples(path: Path, column: str, sources: Sequence[str] | None, separator: str | None) -> "tuple[Sample, ...]":
    """Read the labelled rows of a table, with labels from a column of any name."""
    from medimageinsight.adapters import labelled_samples
    from medimageinsight.datasets import read_table

    return labelled_samples(read_table(path, columns={"label": column}), sources=sources or (), separator=separator)


def check_output_file(out: Path) -> None:
    """Refuse a file that cannot be written, before hours of work on its content."""
    with error_context(out):
        if not out.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if out.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))


def embed_samples(model: "MedImageInsight", samples: "Sequence[Sample]", separator: str | None) -> "LabelledEmbeddings":
    """Embed the samples with a progress bar; return their embeddings and labels."""
    from medimageinsight.adapters import embed_labelled

    with output.counting("embedding", len(samples)) as progress:
        return embed_labelled(model, samples, separator=separator, progress=progress)


def training_preprocessing(model: "ModelIdentity") -> str | None:
    """Return the preprocessing of the images that an adapter or tagger was fitted on."""
    steps = model.preprocessing.get("default")
    return steps if isinstance(steps, str) else None


def print_failed_sources(results: "Sequence[tuple[str, object]]") -> int:
    """Print a line for each source that failed, and return their number."""
    failed = [(source, result) for source, result in results if isinstance(result, InputError)]
    for source, error in failed:
        output.error(error.message, source=source)
    return len(failed)


def format_figure(figure: "Figure | None") -> tuple[str, str]:
    """Format value and interval; dashes where there is no figure."""
    return ("–", "") if figure is None else (f"{figure.value:.3f}", f"{figure.low:.3f} to {figure.high:.3f}")
