"""Caption rows: the JSON of one text row of the original format, its class checked against those of earlier rows."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from medimageinsight.files.json import json_kind, load_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from medimageinsight.datasets.problems import Problems

OPTIONAL_FIELDS = ("modality", "anatomy", "view", "finding", "patient_id")  # accepted here, not in the original format


def parse_fields(data: Mapping[str, object], names: Iterable[str]) -> tuple[dict[str, str], str]:
    """Return the named fields of a JSON object that have a value, as texts, and why one cannot be used, or ''.

    A number of whole value gives one text in each spelling, 7 and 7.0: pandas writes a column of ids with a gap as
    floats, and the same patient must have the same id in every file. Null and a text of white space are no value.
    """
    fields: dict[str, str] = {}
    for name in names:
        value = data.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            return fields, f"{name}: expected a text or a number, got {json_kind(value)}"
        if isinstance(value, float) and not math.isfinite(value):
            return fields, f"{name}: expected a finite number, got one that is too large"
        text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
        if text:
            fields[name] = text
    return fields, ""


class ClassNames:
    """Check that each class id of a source has one name and each name one id, as in the label file.

    Args:
        problems: Receives contradictions.
        after: Classes of files read before, which must agree with these; its label file is not used.
    """

    def __init__(self, problems: Problems, *, after: ClassNames | None = None) -> None:
        self.problems = problems
        self.label_file: list[str] | None = None
        self._names: dict[tuple[str, int], str] = {} if after is None else after._names
        self._ids: dict[tuple[str, str], int] = {} if after is None else after._ids

    def read_label_file(self, path: Path, name: str) -> None:
        """Read the label file: line n is class n, counted from 0. ``name`` is the file's name in problems."""
        try:
            lines = path.read_text("utf-8-sig").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            self.problems.add("file_missing", name, type(error).__name__)
            return
        while lines and not lines[-1].strip():
            lines.pop()
        self.label_file = [line.strip() for line in lines]

    def check(self, source: str, class_id: int, name: str, location: str) -> None:
        """Add a problem if the pair contradicts an earlier one or the label file."""
        known_name = self._names.setdefault((source, class_id), name)
        known_id = self._ids.setdefault((source, name), class_id)
        listed = self.label_file
        if known_name != name:
            problem = f"id {class_id} had another name before"
        elif known_id != class_id:
            problem = f"the name has id {class_id} here and {known_id} before"
        elif listed is not None and not 0 <= class_id < len(listed):
            problem = f"id {class_id}, the label file has {len(listed)} lines"
        elif listed is not None and listed[class_id] != name:
            problem = f"id {class_id} has another name in the label file"
        else:
            return
        self.problems.add("class_id_mismatch", location, problem)


def parse_caption_row(data: object, location: str, classes: ClassNames) -> dict[str, str] | None:
    """Return fields of `Sample` from a row's JSON value; None after adding a problem to those of ``classes``."""
    problem = _find_problem(data)
    if problem or not isinstance(data, dict):
        classes.problems.add("json_invalid", location, problem)
        return None
    others, problem = parse_fields(data, OPTIONAL_FIELDS)
    if problem:
        classes.problems.add("json_invalid", location, problem)
        return None
    source, label, captions = data.get("source") or "", "", data.get("captions") or []
    texts = [captions] if isinstance(captions, str) else captions
    caption = next((text.strip() for text in texts if text.strip()), "")
    if "class_name" in data:
        label = data["class_name"].strip()
        caption = caption or label
        if label and "class_id" in data:
            classes.check(source, int(data["class_id"]), label, location)
    if not caption:
        classes.problems.add("caption_empty", location)
        return None
    return {"caption": caption, "label": label, "source": source, **others}


def _find_problem(data: object) -> str:
    """Return why a JSON value is not a caption row, or the empty string."""
    if not isinstance(data, dict):
        return f"expected an object, got {type(data).__name__}"
    class_id, captions = data.get("class_id", 0), data.get("captions", "")
    texts = captions if isinstance(captions, list) else [captions]
    requirements = {
        "expected class_name or captions": "class_name" in data or "captions" in data,
        "class_name: expected a text": isinstance(data.get("class_name", ""), str),
        "class_id: expected an integer of 0 or more": is_class_id(class_id),
        "task: expected classification": "captions" in data or data.get("task", "classification") == "classification",
        "captions: expected a text or a list of texts": all(isinstance(text, str) for text in texts),
        "source: expected a text": isinstance(data.get("source", ""), str),
    }
    return next((requirement for requirement, is_met in requirements.items() if not is_met), "")


def is_class_id(value: object) -> bool:
    """Return whether a JSON value is a whole number of 0 or more, such as 7 or 7.0."""
    return (type(value) is int or (isinstance(value, float) and value.is_integer())) and value >= 0


def load_json_cell(cell: str) -> Any:  # noqa: ANN401 - any JSON
    """Return the JSON value of a cell, also if a spreadsheet has quoted it and doubled its quotes."""
    try:
        return load_json(cell)
    except ValueError:
        if len(cell) > 2 and cell.startswith('"{') and cell.endswith('}"'):
            return load_json(cell[1:-1].replace('""', '"'))
        raise


def describe_json_error(error: Exception) -> str:
    """Return where a cell is not JSON, without its text."""
    if isinstance(error, json.JSONDecodeError):
        return f"column {error.colno}: {error.msg}"
    return "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
