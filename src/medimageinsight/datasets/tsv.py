"""The original's own format: an image TSV, ``id<TAB>base64``, and beside it a text TSV, ``id<TAB>JSON``, no headers.

    chest/1.png<TAB>iVBORw0KGgo...
    chest/1.png<TAB>{"class_id": 3, "class_name": "x-ray chest Edema", "source": "mine", "task": "classification"}

A label file names the classes, one a line: line 0 is class 0.
"""

from __future__ import annotations

import base64
import json
import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medimageinsight.datasets.lines import first_cells, line_starts
from medimageinsight.datasets.problems import Problems
from medimageinsight.datasets.sample import Piece, Sample, Table
from medimageinsight.datasets.texts import OPTIONAL, ClassNames, Text, json_fault, parse_text, read_text
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
    """Reads pairs of image and text TSVs; pictures stay in their file and are read by position.

        read_tsv("train_images.tsv", "train_text.tsv", label_file="labels.txt", split="train")

    The two files of a pair hold the same ids; the order may differ. A text is ``{"class_id", "class_name", "source",
    "task": "classification"}``, whose class name is caption and label, or ``{"captions": "..." or ["...", ...]}``, of
    which the first is taken and which belong to no class. ``modality``, ``anatomy``, ``view``, ``finding`` and
    ``patient_id`` may be added; other keys are not read.

    Args:
        images: One image TSV or several.
        texts: As many text TSVs, in the same order.
        label_file: Names of the classes, checked against the texts.
        split: Of all samples.
        root: The folder that messages name files below; the first image TSV's own when not given.
        problems: Collects what is wrong, and the good rows are returned.
        classes: Ids and names of files that were read before, which must agree with these.

    Raises:
        DatasetProblems: Files, rows or classes cannot be used, and ``problems`` was not given.
    """
    found = Problems() if problems is None else problems
    pairs = list(zip(_paths(images), _paths(texts), strict=False))
    folder = Path(root) if root is not None else pairs[0][0].parent if pairs else Path()
    if len(_paths(images)) != len(_paths(texts)) or not pairs:
        found.add("file_missing", "tsv", f"{len(_paths(images))} image files and {len(_paths(texts))} text files")
    classes = ClassNames(found, after=classes)
    if label_file is not None:
        classes.read(Path(label_file), _name(Path(label_file), folder))
    samples = [sample for pair in pairs for sample in _read_pair(*pair, split, folder, classes, found)]
    if problems is None:
        found.raise_any()
    return Table(samples=tuple(samples), root=folder)


def _read_pair(
    images: Path, texts: Path, split: str, root: Path, classes: ClassNames, problems: Problems
) -> Iterator[Sample]:
    """The samples of one pair in the order of the image file."""
    if lacking := [path for path in (images, texts) if not path.is_file()]:
        for path in lacking:
            problems.add("file_missing", _name(path, root))
        return
    said = dict(_read_texts(texts, root, classes, problems))
    name, lost = _name(images, root), len(said)
    seen: set[str] = set()
    for line, key, start, stop in _rows(images, root, problems):
        if key in seen:
            problems.add("id_duplicate", f"{name} line {line}")
            continue
        seen.add(key)
        if key not in said:
            problems.add("rows_unpaired", f"{name} line {line}", "no text")
            continue
        lost -= 1
        text = said[key]
        if text is not None:
            yield Sample(
                path=images,
                piece=Piece(offset=start, size=stop - start, encoding="base64"),
                id=key,
                caption=text.caption,
                label=text.label,
                source=text.source,
                split=split,
                **text.others,
            )
    if lost:
        problems.add("rows_unpaired", _name(texts, root), f"{lost} texts without a picture")


def _read_texts(path: Path, root: Path, classes: ClassNames, problems: Problems) -> Iterator[tuple[str, Text | None]]:
    """Id and text of each row; None for one that cannot be used."""
    name = _name(path, root)
    seen: dict[str, int] = defaultdict(int)
    with path.open("rb") as stream:
        for line, key, start, stop in _rows(path, root, problems):
            place = f"{name} line {line}"
            seen[key] += 1
            if seen[key] > 1:
                problems.add("id_duplicate", place)
                continue
            if stop - start > MAX_TEXT_BYTES:
                problems.add("row_unreadable", place, "longer than 1 MiB")
                yield key, None
                continue
            stream.seek(start)
            try:
                data = parse_text(stream.read(stop - start).decode("utf-8"))
            except (ValueError, RecursionError) as error:
                problems.add("json_invalid", place, json_fault(error))
                yield key, None
                continue
            yield key, read_text(data, place, classes)


def _rows(path: Path, root: Path, problems: Problems) -> Iterator[tuple[int, str, int, int]]:
    """Line from 1, id, and where its second cell begins and ends."""
    name = _name(path, root)
    try:
        starts = line_starts(path)
    except OSError as error:
        problems.add("file_missing", name, type(error).__name__)
        return
    for index, cell, start, stop in first_cells(path, starts, limit=MAX_ID_BYTES):
        place = f"{name} line {index + 1}"
        if cell is None:
            problems.add("row_unreadable", place, "no tab after the id")
            continue
        try:
            key = cell.decode("utf-8-sig" if index == 0 else "utf-8").strip()
        except UnicodeDecodeError:
            key = ""
        if not key:
            problems.add("row_unreadable", place, "no id in UTF-8")
        elif stop <= start:
            problems.add("row_unreadable", place, "nothing behind the id")
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
    """Writes samples in the original's format; every distinct caption of the samples is a class.

        classes = write_tsv(table.of_split("train"), "train_images.tsv", "train_text.tsv", "labels.txt")
        write_tsv(table.of_split("val"), "val_images.tsv", "val_text.tsv", "labels.txt", classes=classes)

    Pictures are copied as they are, whatever their kind. ``classes`` are those of files written before, which keep
    their ids.

    Returns:
        The captions, in the order of their class ids.

    Raises:
        ValueError: An id, or a file's name in its place, or a caption is empty or holds a tab or a line's end.
        ImageError: A picture cannot be read.
    """
    ids: dict[str, int] = {caption: number for number, caption in enumerate(classes)}
    with Path(images).open("wb") as image_file, Path(texts).open("wb") as text_file:
        for sample in samples:
            key = sample.id or sample.path.name
            if not key.strip() or key != key.strip() or any(one in key for one in "\t\r\n\ufeff"):
                raise ValueError("expected an id without tabs, line ends and white space around it")
            caption = sample.caption.strip()
            if not caption or "\n" in caption or "\r" in caption:
                raise ValueError("expected a caption of one line")
            number = ids.setdefault(caption, len(ids))
            text: dict[str, Any] = {"class_id": number, "class_name": caption, "source": sample.source}
            text |= {"task": "classification"} | {name: one for name in OPTIONAL if (one := getattr(sample, name))}
            encoded = base64.b64encode(read_source(sample.picture(), Limits()))
            image_file.write(key.encode() + b"\t" + encoded + b"\n")
            text_file.write(f"{key}\t{json.dumps(text, ensure_ascii=False)}\n".encode())
    Path(label_file).write_text("".join(f"{caption}\n" for caption in ids), "utf-8")
    return list(ids)


def _paths(given: str | Path | Sequence[str | Path]) -> list[Path]:
    return [Path(given)] if isinstance(given, str | os.PathLike) else [Path(one) for one in given]


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
