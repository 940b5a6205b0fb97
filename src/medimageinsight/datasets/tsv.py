"""The original format: an image TSV, ``id<TAB>base64``, and a text TSV, ``id<TAB>JSON``, without headers.

    chest/1.png<TAB>iVBORw0KGgo...
    chest/1.png<TAB>{"class_id": 3, "class_name": "x-ray chest Edema", "source": "mine", "task": "classification"}

A label file names the classes, one in each line: line 0 is class 0.
"""

from __future__ import annotations

import base64
import json
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.datasets.captions import (
    OPTIONAL_FIELDS,
    ClassNames,
    describe_json_error,
    load_json_cell,
    parse_caption_row,
)
from medimageinsight.datasets.line_offsets import iter_first_cells, line_offsets
from medimageinsight.datasets.problems import Problems
from medimageinsight.datasets.sample import ByteRange, Sample, Table, relative_name
from medimageinsight.images import read_source
from medimageinsight.images.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAX_ID_BYTES = 4096
MAX_TEXT_BYTES = 1 << 20  # of one row


def read_tsv(
    images: str | Path | Sequence[str | Path],
    texts: str | Path | Sequence[str | Path],
    *,
    label_file: str | Path | None = None,
    split: str = "",
    root: str | Path | None = None,
    problems: Problems | None = None,
    classes: ClassNames | None = None,
) -> Table:
    """Read pairs of image and text TSVs; the images are not read, only their positions in the file.

        read_tsv("train_images.tsv", "train_text.tsv", label_file="labels.txt", split="train")

    The two files of a pair have the same ids, in any order. A text is ``{"class_id", "class_name", "source", "task":
    "classification"}``, whose class name is caption and label, or ``{"captions": "..." or ["...", ...]}``, whose first
    caption is used and which has no label. ``modality``, ``anatomy``, ``view``, ``finding`` and ``patient_id`` may be
    added; other keys are ignored.

    Args:
        images: One image TSV or several.
        texts: As many text TSVs, in the same order.
        label_file: Names of the classes, checked against the texts.
        split: The split of all samples.
        root: The folder that file names in messages are relative to; the first image TSV's folder by default.
        problems: Collects the problems; the valid rows are returned.
        classes: Class ids and names of files read before, which must agree with these.

    Raises:
        DatasetProblems: Files, rows or classes cannot be used, and ``problems`` was not given.
    """
    found = Problems() if problems is None else problems
    image_paths, text_paths = _as_paths(images), _as_paths(texts)
    pairs = list(zip(image_paths, text_paths, strict=False))
    folder = Path(root) if root is not None else pairs[0][0].parent if pairs else Path()
    if len(image_paths) != len(text_paths) or not pairs:
        found.add("file_missing", "tsv", f"{len(image_paths)} image files and {len(text_paths)} text files")
    classes = ClassNames(found, after=classes)
    if label_file is not None:
        classes.read_label_file(Path(label_file), relative_name(Path(label_file), folder))
    samples = [sample for pair in pairs for sample in _read_pair(*pair, split, folder, classes, found)]
    if problems is None:
        found.raise_any()
    return Table(samples=tuple(samples), root=folder)


def _read_pair(
    images: Path, texts: Path, split: str, root: Path, classes: ClassNames, problems: Problems
) -> Iterator[Sample]:
    """Yield the samples of one pair in the order of the image file."""
    if missing := [path for path in (images, texts) if not path.is_file()]:
        for path in missing:
            problems.add("file_missing", relative_name(path, root))
        return
    rows = dict(_read_texts(texts, root, classes, problems))
    name, unused = relative_name(images, root), len(rows)
    seen: set[str] = set()
    for line, key, start, stop in _scan_rows(images, root, problems):
        if key in seen:
            problems.add("id_duplicate", f"{name} line {line}")
            continue
        seen.add(key)
        if key not in rows:
            problems.add("rows_unpaired", f"{name} line {line}", "no text")
            continue
        unused -= 1
        if (row := rows[key]) is not None:
            byte_range = ByteRange(offset=start, size=stop - start, encoding="base64")
            yield Sample(path=images, byte_range=byte_range, id=key, split=split, **row)
    if unused:
        problems.add("rows_unpaired", relative_name(texts, root), f"{unused} texts without an image")


def _read_texts(
    path: Path, root: Path, classes: ClassNames, problems: Problems
) -> Iterator[tuple[str, dict[str, str] | None]]:
    """Yield the id of each row and its fields of `Sample`; None for a row that cannot be used."""
    name = relative_name(path, root)
    seen: Counter[str] = Counter()
    with path.open("rb") as stream:
        for line, key, start, stop in _scan_rows(path, root, problems):
            location = f"{name} line {line}"
            seen[key] += 1
            if seen[key] > 1:
                problems.add("id_duplicate", location)
                continue
            if stop - start > MAX_TEXT_BYTES:
                problems.add("row_unreadable", location, "longer than 1 MiB")
                yield key, None
                continue
            stream.seek(start)
            try:
                data = load_json_cell(stream.read(stop - start).decode("utf-8"))
            except (ValueError, RecursionError) as error:
                problems.add("json_invalid", location, describe_json_error(error))
                yield key, None
                continue
            yield key, parse_caption_row(data, location, classes)


def _scan_rows(path: Path, root: Path, problems: Problems) -> Iterator[tuple[int, str, int, int]]:
    """Yield the line number, counted from 1, the id, and start and end of the second cell in bytes."""
    name = relative_name(path, root)
    try:
        offsets = line_offsets(path)
    except OSError as error:
        problems.add("file_missing", name, type(error).__name__)
        return
    for index, cell, start, stop in iter_first_cells(path, offsets, limit=MAX_ID_BYTES):
        location = f"{name} line {index + 1}"
        if cell is None:
            problems.add("row_unreadable", location, "no tab after the id")
            continue
        try:
            key = cell.decode("utf-8-sig" if index == 0 else "utf-8").strip()
        except UnicodeDecodeError:
            key = ""
        if not key:
            problems.add("row_unreadable", location, "no id in UTF-8")
        elif stop <= start:
            problems.add("row_unreadable", location, "nothing after the id")
        else:
            yield index + 1, key, start, stop


def write_tsv(
    samples: Iterable[Sample],
    images: str | Path,
    texts: str | Path,
    label_file: str | Path,
    *,
    classes: Sequence[str] = (),
) -> list[str]:
    """Write samples in the original format; every distinct caption of the samples is a class.

        classes = write_tsv(table.of_split("train"), "train_images.tsv", "train_text.tsv", "labels.txt")
        write_tsv(table.of_split("val"), "val_images.tsv", "val_text.tsv", "labels.txt", classes=classes)

    Images are copied unchanged, in any format. ``classes`` are those of files written before, which keep their ids.

    Returns:
        The captions, in the order of their class ids.

    Raises:
        ValueError: An id (the file name if it is empty) or a caption is empty or contains a tab or a line break.
        ImageError: An image cannot be read.
    """
    class_ids: dict[str, int] = {caption: number for number, caption in enumerate(classes)}
    with Path(images).open("wb") as image_file, Path(texts).open("wb") as text_file:
        for sample in samples:
            key = sample.id or sample.path.name
            if not key.strip() or key != key.strip() or any(character in key for character in "\t\r\n\ufeff"):
                raise ValueError("expected an id without tabs, line breaks and surrounding white space")
            caption = sample.caption.strip()
            if not caption or "\n" in caption or "\r" in caption:
                raise ValueError("expected a caption of one line")
            class_id = class_ids.setdefault(caption, len(class_ids))
            text = {
                "class_id": class_id,
                "class_name": caption,
                "source": sample.source,
                "task": "classification",
                **{name: value for name in OPTIONAL_FIELDS if (value := getattr(sample, name))},
            }
            encoded = base64.b64encode(read_source(sample.image_source(), Limits()))
            image_file.write(key.encode() + b"\t" + encoded + b"\n")
            text_file.write(f"{key}\t{json.dumps(text, ensure_ascii=False)}\n".encode())
    Path(label_file).write_text("".join(f"{caption}\n" for caption in class_ids), "utf-8")
    return list(class_ids)


def _as_paths(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    return [Path(paths)] if isinstance(paths, str | os.PathLike) else [Path(path) for path in paths]
