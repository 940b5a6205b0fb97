"""Tables of labelled images, for the verbs that fit an adapter or a tagger to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.cli import output

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from medimageinsight.adapters import LabelledEmbeddings
    from medimageinsight.api import MedImageInsight
    from medimageinsight.datasets import Sample


def read_samples(
    path: Path,
    column: str,
    sources: Sequence[str] | None,
    separator: str | None,
    *,
    path_column: str | None = None,
    root: Path | None = None,
) -> tuple[Sample, ...]:
    """Read the labelled rows of a table, with labels from a column of any name; captions are not needed."""
    from medimageinsight.adapters import labelled_samples
    from medimageinsight.datasets import read_table, similar_labels

    columns = {"label": column} | ({} if path_column is None else {"path": path_column})
    table = read_table(path, root=root, columns=columns, required=("label",))
    samples = labelled_samples(table, sources=sources or (), separator=separator)
    for warning in similar_labels(samples):
        output.note(f"warning: {warning}")
    return samples


def embed_samples(model: MedImageInsight, samples: Sequence[Sample], separator: str | None) -> LabelledEmbeddings:
    """Embed the samples with a progress bar; return their embeddings and labels."""
    from medimageinsight.adapters import embed_labelled

    with output.counting("embedding", len(samples)) as progress:
        return embed_labelled(model, samples, separator=separator, progress=progress)
