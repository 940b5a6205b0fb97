"""Read MedMNIST files: images and labels of three splits in one ``.npz`` file (Yang et al. 2023, Sci Data 10:41).

An ``.npz`` file is a zip archive of NumPy arrays. Nothing in it is executed: headers are parsed as literals, arrays of
Python objects are refused, and sizes are checked before anything is allocated.
"""

from __future__ import annotations

import json
import re
import zipfile
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.datasets.image_array import ArrayItem, ImageArray
from medimageinsight.datasets.sample import Sample, Table
from medimageinsight.errors import DatasetError
from medimageinsight.files.archive_errors import ARCHIVE_ERRORS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

NPZ_SUFFIX = ".npz"
SEPARATOR = "|"  # between several labels of an image
SPLITS = ("train", "val", "test")
_MAX_SIDE = 4096  # pixels
_MAX_IMAGES = 5_000_000  # of a split
_MAX_LABEL_BYTES = 256 << 20
_MAX_COMPRESSION = 200  # of large members: images do not compress so far, a zip bomb does
_LARGE = 64 << 20  # bytes
_ITEM = re.compile(r"(.+\.[nN][pP][zZ])#((?:train|val|test)/\d{1,9})", re.DOTALL)


def is_medmnist(path: str | Path) -> bool:
    """Return whether a path's name is that of an ``.npz`` file."""
    return Path(path).suffix.lower() == NPZ_SUFFIX


def read_medmnist(path: str | Path, *, split: str | None = None, label_names: Sequence[str] | None = None) -> Table:
    """Read a MedMNIST file as a table of its images; they are decompressed when they are opened.

        table = read_medmnist("pneumoniamnist.npz", label_names=("normal", "pneumonia"))
        table.samples[0].id, table.samples[0].label                # "train/0", "pneumonia"

    The file has the arrays ``train_images``, ``train_labels`` and so on for ``val`` and ``test``: images uint8,
    (N, H, W) or (N, H, W, 3), labels (N,) or (N, 1) with the number of a class, or (N, K) of 0 and 1 where they do not
    exclude each other (``Table.separator`` is between them then). It has no names of labels and no patients: a label is
    its number, unless ``label_names`` has the name of each; the caption is the label.

    Raises:
        DatasetError: No such file (``dataset_not_found``), or the file is damaged or not of the form (``npz_invalid``),
            lacks an array (``npz_array_missing``), has Python objects (``npz_objects``), volumes (``npz_volumes``) or
            too much data (``npz_too_large``), or the names do not fit (``label_names_mismatched``).
    """
    file = Path(path)
    if not file.is_file():
        raise DatasetError("expected a file, found none: check the path", code="dataset_not_found")
    samples: list[Sample] = []
    separators = set()
    with _open(file) as archive:
        members = _members(archive)
        for name in SPLITS:
            shape, start = _check_images(archive, members[f"{name}_images"])
            labels = _read_labels(archive, members[f"{name}_labels"], shape[0])
            texts = _label_texts(labels, label_names)
            separators.add(labels.ndim == 2)
            array = ImageArray(file, f"{name}_images.npy", shape, start)
            first = len(samples)
            samples += [
                Sample(
                    path=file, caption=text, label=text, finding=text, source=file.stem, split=name, id=f"{name}/{row}",
                    byte_range=ArrayItem(images=array, name=f"{name}/{row}", index=row, offset=first + row),
                )
                for row, text in enumerate(texts)
            ]  # fmt: skip
    if len(separators) > 1:
        raise _invalid("labels of one kind in one split and of another kind in another")
    if not samples:
        raise DatasetError("expected images, got empty arrays: check the file", code="dataset_empty")
    table = Table(samples=tuple(samples), root=file.parent, separator=SEPARATOR if separators == {True} else "")
    return table if split is None else table.of_split(split)


def list_items(path: str) -> list[str]:
    """Return the names of all images of a MedMNIST file, ``path#train/0`` and so on; see `open_item`.

    Raises:
        DatasetError: As `read_medmnist`.
    """
    return [f"{path}#{item}" for item in _items_of(path)]


def open_item(name: str) -> Sample | None:
    """Return the image that a name such as ``chest.npz#train/17`` means; None for other names.

    Raises:
        DatasetError: As `read_medmnist`, or there is no such image (``npz_item_missing``).
    """
    match = _ITEM.fullmatch(name)
    if match is None or Path(name).exists():
        return None
    sample = _items_of(match[1]).get(match[2])
    if sample is None:
        raise DatasetError(
            "expected the name of an image in the file, such as file.npz#train/17, got one that it does not have: "
            "choose a smaller number",
            code="npz_item_missing",
        )
    return sample


def _items_of(path: str) -> dict[str, Sample]:
    try:
        state = Path(path).stat()
    except OSError:
        return {sample.id: sample for sample in read_medmnist(path)}  # raises the error of the file
    return _cached_items(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)
def _cached_items(path: str, changed: int, size: int) -> dict[str, Sample]:  # noqa: ARG001 - what the cache depends on
    return {sample.id: sample for sample in read_medmnist(path)}


def read_label_names(text: str) -> tuple[str, ...]:
    """Return names of labels in the order of their numbers: ``normal,pneumonia``, or a JSON file.

    The file has a list of names, or, as MedMNIST publishes them, ``{"0": "normal", "1": "pneumonia"}``.

    Raises:
        DatasetError: The names are not of the form (``label_names_invalid``).
        OSError: The file cannot be read.
    """
    if not text.lower().endswith(".json"):
        return _check_names([name.strip() for name in text.split(",")])
    try:
        found = json.loads(Path(text).read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise _invalid_names("a file that is not JSON") from None
    if isinstance(found, dict):
        keys = [str(number) for number in range(len(found))]
        if sorted(found) != sorted(keys):
            raise _invalid_names("keys other than 0, 1 and so on")
        found = [found[key] for key in keys]
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise _invalid_names("JSON of another form")
    return _check_names([name.strip() for name in found])


def _check_names(names: list[str]) -> tuple[str, ...]:
    if not all(names) or len(set(names)) < len(names) or any(SEPARATOR in name for name in names):
        raise _invalid_names(f"empty or equal names, or names with {SEPARATOR!r}")
    return tuple(names)


@contextmanager
def _open(file: Path) -> Iterator[zipfile.ZipFile]:
    """Open the archive; whatever its reader raises becomes one error."""
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive
    except ARCHIVE_ERRORS as error:
        raise _invalid(f"a file that cannot be read ({type(error).__name__})") from None


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the members of all splits by the names of their arrays."""
    found = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    names = [f"{split}_{kind}" for split in SPLITS for kind in ("images", "labels")]
    missing = [name for name in names if name not in found]
    if missing:
        raise DatasetError(
            f"expected the arrays of MedMNIST, {', '.join(names)}, got none named {', '.join(missing)}: name another "
            "file, or write them with numpy.savez_compressed",
            code="npz_array_missing",
        )
    for info in found.values():
        if info.file_size > _LARGE and info.file_size > _MAX_COMPRESSION * info.compress_size:
            raise _too_large("data that is compressed as far as no images are")
    return {name: found[name] for name in names}


def _read_header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:  # noqa: ANN401 - a zip member
    """Return the shape, whether it is in Fortran's order, and the type of an array, without its data."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise _invalid("an array of another version")
    if dtype.hasobject:
        raise DatasetError(
            "expected arrays of numbers, got Python objects, which are code: write the file again without them",
            code="npz_objects",
        )
    return shape, fortran, dtype


def _check_images(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> tuple[tuple[int, ...], int]:
    """Return the shape of an array of images, and the number of bytes before its data."""
    with archive.open(info) as stream:
        shape, fortran, dtype = _read_header(stream)
        start = stream.tell()
    if len(shape) == 5 or (len(shape) == 4 and shape[3] != 3):
        raise DatasetError(
            f"expected images (N, H, W) or (N, H, W, 3), got volumes {shape}: use a 2-D set of MedMNIST, or write "
            "slices of the volumes as images",
            code="npz_volumes",
        )
    if dtype != np.uint8 or len(shape) not in (3, 4) or fortran:
        order = " in Fortran's order" if fortran else ""
        raise _invalid(f"images of shape {shape} and type {dtype}{order} instead of (N, H, W) or (N, H, W, 3) of uint8")
    if not 0 <= shape[0] <= _MAX_IMAGES or not all(1 <= side <= _MAX_SIDE for side in shape[1:3]):
        raise _too_large(f"images of shape {shape}")
    if info.file_size - start != int(np.prod(shape, dtype=np.int64)):
        raise _invalid("an array of images shorter or longer than its header states")
    return shape, start


def _read_labels(archive: zipfile.ZipFile, info: zipfile.ZipInfo, images: int) -> NDArray[np.int64]:
    """Return (N,) numbers of classes, or (N, K) flags."""
    with archive.open(info) as stream:
        shape, _, dtype = _read_header(stream)
    if dtype.kind not in "iub" or len(shape) not in (1, 2) or shape[0] != images or 0 in shape[1:]:
        raise _invalid(f"labels of shape {shape} and type {dtype} for {images:,} images")
    if int(np.prod(shape, dtype=object)) * dtype.itemsize > _MAX_LABEL_BYTES:
        raise _too_large(f"labels of shape {shape}")
    with archive.open(info) as stream:
        labels = np.lib.format.read_array(stream, allow_pickle=False).astype(np.int64)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.size and (labels.min() < 0 or (labels.ndim == 2 and labels.max() > 1)):
        raise _invalid("labels other than numbers from 0 on, or than 0 and 1 where an image has several")
    return np.asarray(labels)


def _label_texts(labels: NDArray[np.int64], names: Sequence[str] | None) -> list[str]:
    """Return the label of each image as text; several are joined."""
    count = labels.shape[1] if labels.ndim == 2 else int(labels.max(initial=-1)) + 1
    if names is not None and (len(names) < count or (labels.ndim == 2 and len(names) > count)):
        raise DatasetError(
            f"expected a name for each of {count} labels, got {len(names)}: name them in the order of their numbers",
            code="label_names_mismatched",
        )
    if labels.ndim == 1:
        return [str(number) if names is None else names[number] for number in labels.tolist()]
    named = [str(number) for number in range(count)] if names is None else names
    return [SEPARATOR.join(named[column] for column in np.flatnonzero(row).tolist()) for row in labels]


def _invalid(found: str) -> DatasetError:
    return DatasetError(
        f"expected a MedMNIST file (.npz), got {found}: download it again, or name another", code="npz_invalid"
    )


def _too_large(found: str) -> DatasetError:
    return DatasetError(
        f"expected at most {_MAX_IMAGES:,} images of 1 to {_MAX_SIDE:,} pixels a side, got {found}: use another file",
        code="npz_too_large",
    )


def _invalid_names(found: str) -> DatasetError:
    return DatasetError(
        f"expected names of labels as A,B,C, or a JSON file of a list or of numbers and names, got {found}",
        code="label_names_invalid",
    )
