"""Tables of labelled images, for the verbs that fit an adapter or a tagger to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.cli import output

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from medimageinsight.adapters import LabelledEmbeddings
    from medimageinsight.api import MedImageInsight
    from medimageinsight.bundle import ModelIdentity
    from medimageinsight.datasets import Sample


def read_samples(path: Path, column: str, sources: Sequence[str] | None, separator: str | None) -> tuple[Sample, ...]:
    """Read the labelled rows of a table, with labels from a column of any name."""
    from medimageinsight.adapters import labelled_samples
    from medimageinsight.datasets import read_table

    return labelled_samples(read_table(path, columns={"label": column}), sources=sources or (), separator=separator)


def embed_samples(model: MedImageInsight, samples: Sequence[Sample], separator: str | None) -> LabelledEmbeddings:
    """Embed the samples with a progress bar; return their embeddings and labels."""
    from medimageinsight.adapters import embed_labelled

    with output.counting("embedding", len(samples)) as progress:
        return embed_labelled(model, samples, separator=separator, progress=progress)


def training_preprocessing(model: ModelIdentity) -> str | None:
    """Return the preprocessing of the images that an adapter or tagger was fitted to."""
    name = model.preprocessing.get("default")
    return name if isinstance(name, str) else None
