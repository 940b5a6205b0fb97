"""A folder of pictures sorted into folders named after their labels, as most small data sets come."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.datasets.table import Sample, Table
from medimageinsight.errors import DatasetError
from medimageinsight.prompts import fill_template

if TYPE_CHECKING:
    from collections.abc import Iterator


def read_folder(path: str | Path, *, template: str = "{}") -> Table:
    """Reads ``PATH/<label>/**/picture``: every folder directly below is a label, with underscores for spaces.

        read_folder("colon", template="endoscopy colon {}")       # colon/blood_clot/1.png: "endoscopy colon blood clot"

    Every file below a label is a picture, however deep; whether it can be read is found out by whoever opens it.
    Left out are hidden files and folders, links to folders below a label, files directly in ``path``, which have no
    label, and labels without a file. Labels and pictures come sorted.

    Args:
        path: The folder, whose name becomes the ``source``.
        template: What makes the caption of a label, which takes the place of ``{}``.

    Raises:
        DatasetError: There is no such folder (``dataset_not_found``), it cannot be listed (``dataset_unreadable``), or
            it has fewer than two labels (``dataset_folder_invalid``).
        InputError: The template has no place for the label (``template_invalid``).
    """
    root = Path(path)
    if not root.is_dir():
        raise DatasetError(
            "expected a folder of labelled pictures, found none: check the path", code="dataset_not_found"
        )
    source = root.resolve().name
    samples = tuple(
        Sample(path=file, caption=fill_template(template, label, {}), label=label, source=source)
        for folder in _label_folders(root)
        for label in (folder.name.replace("_", " ").strip(),)
        for file in _files_below(folder)
    )
    labels = {sample.label for sample in samples}
    if len(labels) < 2:
        raise DatasetError(
            f"expected pictures in two or more folders named after their labels, got {len(labels)}: "
            "sort the pictures into one folder for each label",
            code="dataset_folder_invalid",
        )
    return Table(samples=samples, root=root)


def _label_folders(root: Path) -> list[Path]:
    """A link counts here, as data sets are often put together of links; below a label it could lead in a circle."""
    try:
        return sorted(one for one in root.iterdir() if one.is_dir() and not one.name.startswith("."))
    except OSError as error:
        raise _unreadable() from error


def _files_below(folder: Path) -> Iterator[Path]:
    """In the order of their paths."""
    for parent, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        yield from (Path(parent) / one for one in sorted(files) if not one.startswith("."))


def _refuse(error: OSError) -> None:
    """A folder that cannot be listed would otherwise be passed over, and its pictures with it."""
    raise _unreadable() from error


def _unreadable() -> DatasetError:
    return DatasetError(
        "expected folders that can be listed, one of them cannot: check its permissions", code="dataset_unreadable"
    )
