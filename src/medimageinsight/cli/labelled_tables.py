"""Tables of labelled images, for the verbs that fit or score something with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.cli import output
from medimageinsight.cli.errors import error_context
from medimageinsight.errors import DatasetError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from medimageinsight.adapters import LabelledEmbeddings
    from medimageinsight.api import MedImageInsight
    from medimageinsight.datasets import Sample, Table


def read_samples(
    path: Path,
    column: str,
    sources: Sequence[str] | None,
    separator: str | None,
    *,
    path_column: str | None = None,
    root: Path | None = None,
    label_names: str | None = None,
) -> tuple[tuple[Sample, ...], str | None]:
    """Read the labelled rows of a table, with labels from a column of any name; captions are not needed.

    Returns:
        The samples, and the separator of several labels: that of a MedMNIST file by default.
    """
    from medimageinsight.adapters import labelled_samples
    from medimageinsight.datasets import is_medmnist, read_table, similar_labels

    if is_medmnist(path):
        if column != "label":
            raise InputError(
                "expected no --label-column with a MedMNIST file, got one: leave it out", code="option_unused"
            )
        table = read_arrays(path, label_names, path_column=path_column, root=root)
    else:
        refuse_label_names(label_names)
        columns = {"label": column} | ({} if path_column is None else {"path": path_column})
        table = read_table(path, root=root, columns=columns, required=("label",))
    separator = separator or table.separator or None
    samples = labelled_samples(table, sources=sources or (), separator=separator)
    for warning in similar_labels(samples):
        output.note(f"warning: {warning}")
    return samples, separator


def read_arrays(
    path: Path, label_names: str | None, *, path_column: str | None, root: Path | None, needs_names: bool = False
) -> Table:
    """Read a MedMNIST file with the names of ``--label-names``, which zero-shot prompts need.

    Raises:
        InputError: Options of other tables (``option_unused``), or no names (``label_names_missing``).
        DatasetError: The file or the names cannot be read.
    """
    from medimageinsight.datasets import read_label_names, read_medmnist

    if path_column is not None or root is not None:
        raise InputError(
            "expected no --path-column and --root with a MedMNIST file, which contains its images: leave them out",
            code="option_unused",
        )
    with error_context(label_names, (DatasetError, OSError)):
        names = None if label_names is None else read_label_names(label_names)
    table = read_medmnist(path, label_names=names)
    if needs_names and names is None:
        raise InputError(
            "expected names of the labels, which are numbers in a MedMNIST file and name nothing to a model: give "
            "--label-names, or prompts of the numbers",
            code="label_names_missing",
        )
    return table


def refuse_label_names(label_names: str | None) -> None:
    """Refuse ``--label-names``, which would be ignored.

    Raises:
        InputError: ``option_unused``.
    """
    if label_names is not None:
        raise InputError(
            "expected --label-names with a MedMNIST file (.npz), got another table, which has names: leave it out",
            code="option_unused",
        )


def embed_samples(model: MedImageInsight, samples: Sequence[Sample], separator: str | None) -> LabelledEmbeddings:
    """Embed the samples with a progress bar; return their embeddings and labels."""
    from medimageinsight.adapters import embed_labelled

    with output.counting("embedding", len(samples)) as progress:
        return embed_labelled(model, samples, separator=separator, progress=progress)
