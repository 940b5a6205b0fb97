"""Names of images of a command line: files, folders, ``-`` for standard input, ``data:`` URIs."""

from __future__ import annotations

import codecs
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.cli import output
from medimageinsight.cli.errors import error_context
from medimageinsight.errors import DatasetError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.images import Source

STANDARD_INPUT = "-"


def list_sources(names: Sequence[str], *, arrays: bool = True) -> list[str]:
    """Replace every folder by the images below it, without hidden files; notes count what else it has.

    A MedMNIST file (``.npz``) is replaced by the names of its images, unless ``arrays`` is False: see `open_source`.

    Raises:
        InputError: A folder has no images (``folder_empty``).
        DatasetError: A MedMNIST file cannot be read, or has no such image.
    """
    from medimageinsight.datasets import find_images, is_medmnist, list_items, open_item

    sources: list[str] = []
    for name in names:
        if not Path(name).is_dir():
            with error_context(name, DatasetError):
                is_array = arrays and is_medmnist(name) and Path(name).is_file()
                sources += list_items(name) if is_array else [name]
                if arrays and not is_array:
                    open_item(name)
            continue
        with error_context(name):
            found = find_images(name)
            others = ", ".join(f"{number:,} {kind}" for kind, number in sorted(found.others.items()))
            if not found.paths:
                raise InputError(
                    f"expected images in the folder, got {others or 'no files'}: choose another", code="folder_empty"
                )
        if others:
            output.note(f"{name}: {found.others.total():,} files are not images: {others}")
        if found.links:
            output.note(f"{name}: links to folders were followed: {found.links:,}")
        if found.several_frames:
            output.note(f"{name}: {found.several_frames:,} images have several frames, one is used (--frame, --select)")
        sources.extend(found.paths)
    return sources


def read_file_list(name: str) -> list[str]:
    """Return the paths in the lines of a text file or of standard input (``-``); NUL bytes may separate them instead.

    Raises:
        InputError: The list names no path (``files_missing``).
    """
    with error_context(name):
        data = sys.stdin.buffer.read() if name == STANDARD_INPUT else Path(name).read_bytes()
        lines = data.split(b"\0") if b"\0" in data else data.removeprefix(codecs.BOM_UTF8).splitlines()
        paths = [os.fsdecode(line) for line in lines if line.strip()]
        if not paths:
            raise InputError("expected a path in each line, got no line: list the images", code="files_missing")
    return paths


def open_source(name: str) -> Source:
    """Return the image source for a name: standard input for ``-``, an image of a MedMNIST file, else the name."""
    from medimageinsight.datasets import open_item

    if name == STANDARD_INPUT:
        return sys.stdin.buffer
    item = open_item(name)
    return name if item is None else item.lazy_source()
