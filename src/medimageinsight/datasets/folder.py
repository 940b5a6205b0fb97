"""Read a folder whose subfolders are named after the labels of the images in them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from medimageinsight.datasets.sample import Sample, Table
from medimageinsight.errors import DatasetError
from medimageinsight.prompts import fill_template

if TYPE_CHECKING:
    from collections.abc import Iterator


def read_folder(path: str | Path, *, template: str = "{}") -> Table:
    """Read ``PATH/<label>/**/image``: every folder directly below is a label, with underscores for spaces.

        read_folder("colon", template="endoscopy colon {}")       # colon/blood_clot/1.png: "endoscopy colon blood clot"

    Every file below a label counts as an image, at any depth; unreadable ones are found when they are opened. Hidden
    files and folders, links to folders below a label, files directly in ``path`` (they have no label) and labels
    without a file are ignored. Labels and images are sorted.

    Args:
        path: The folder, whose name becomes the ``source``.
        template: Makes the caption from the label, which replaces ``{}``.

    Raises:
        DatasetError: There is no such folder (``dataset_not_found``), it cannot be listed (``dataset_unreadable``), or
            it has fewer than two labels (``dataset_folder_invalid``).
        InputError: The template has no ``{}`` for the label (``template_invalid``).
    """
    root = Path(path)
    if not root.is_dir():
        raise DatasetError(
            f"expected a folder of labelled images, got {'a file' if root.exists() else 'a path that does not exist'}: "
            "check the path",
            code="dataset_not_found",
        )
    source = root.resolve().name
    try:
        # Links to folders count here; below a label a link could lead in a circle.
        folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        _raise_unreadable(error)
    samples = tuple(
        Sample(path=file, caption=fill_template(template, label, {}), label=label, source=source)
        for folder in folders
        for label in (folder.name.replace("_", " ").strip(),)
        for file in _files_below(folder)
    )
    labels = {sample.label for sample in samples}
    if len(labels) < 2:
        raise DatasetError(
            f"expected images in two or more folders named after their labels, got {len(labels)}: "
            "sort the images into one folder for each label",
            code="dataset_folder_invalid",
        )
    return Table(samples=samples, root=root)


def _files_below(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder, onerror=_raise_unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent) / name for name in sorted(files) if not name.startswith("."))


def _raise_unreadable(error: OSError) -> NoReturn:
    """Stop, since `os.walk` would silently skip a folder that cannot be listed."""
    raise DatasetError(
        "expected folders that can be listed, at least one cannot: check its permissions", code="dataset_unreadable"
    ) from error
