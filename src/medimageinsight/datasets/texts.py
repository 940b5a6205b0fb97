"""A text of the original's: the JSON of one row, its class checked against those of all rows before."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medimageinsight.files import strict

if TYPE_CHECKING:
    from pathlib import Path

    from medimageinsight.datasets.problems import Problems

# Beyond the original's keys: what a sample may know too.
OPTIONAL = ("modality", "anatomy", "view", "finding", "patient_id")


class ClassNames:
    """Holds that one id of a source has one name, and one name one id; and both as the label file has them.

    Args:
        problems: Where contradictions are noted.
        after: What was seen before, and counts too; its label file does not.
    """

    def __init__(self, problems: Problems, *, after: ClassNames | None = None) -> None:
        self.problems = problems
        self.listed: list[str] | None = None
        self._names: dict[tuple[str, int], str] = {} if after is None else after._names
        self._ids: dict[tuple[str, str], int] = {} if after is None else after._ids

    def read(self, path: Path, name: str) -> None:
        """Takes the label file's names: line n is class n, counted from 0. A problem calls the file ``name``."""
        try:
            lines = path.read_text("utf-8-sig").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            self.problems.add("file_missing", name, type(error).__name__)
            return
        while lines and not lines[-1].strip():
            lines.pop()
        self.listed = [line.strip() for line in lines]

    def check(self, source: str, number: int, name: str, place: str) -> None:
        """Notes a problem when the pair contradicts an earlier one or the label file."""
        known_name = self._names.setdefault((source, number), name)
        known_id = self._ids.setdefault((source, name), number)
        if known_name != name:
            self.problems.add("class_id_mismatch", place, f"id {number} had another name before")
        elif known_id != number:
            self.problems.add("class_id_mismatch", place, f"the name has id {number} here and {known_id} before")
        elif self.listed is not None and not 0 <= number < len(self.listed):
            self.problems.add("class_id_mismatch", place, f"id {number}, the label file has {len(self.listed)} lines")
        elif self.listed is not None and self.listed[number] != name:
            self.problems.add("class_id_mismatch", place, f"id {number} has another name in the label file")


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """What a text row says."""

    caption: str
    label: str
    source: str
    others: dict[str, str]  # of OPTIONAL


def read_text(data: object, place: str, classes: ClassNames) -> Text | None:
    """A text from its JSON, or None after noting what is wrong with it.

    Args:
        data: What the JSON reader gave.
        place: Names the row in a problem.
        classes: Checks class ids.
    """
    problem = _misfit(data)
    if problem or not isinstance(data, dict):
        classes.problems.add("json_invalid", place, problem)
        return None
    source = data.get("source") or ""
    caption, label = _first_caption(data.get("captions")), ""
    if "class_name" in data:
        label = data["class_name"].strip()
        caption = caption or label
        if label and "class_id" in data:
            classes.check(source, data["class_id"], label, place)
    if not caption:
        classes.problems.add("caption_empty", place)
        return None
    others = {key: str(data[key]).strip() for key in OPTIONAL if data.get(key) not in (None, "")}
    return Text(caption=caption, label=label, source=source, others=others)


def _misfit(data: object) -> str:
    """What is wrong with the form of a text, or the empty string."""
    if not isinstance(data, dict):
        return f"expected an object, got {type(data).__name__}"
    number, captions = data.get("class_id", 0), data.get("captions", "")
    texts = captions if isinstance(captions, list) else [captions]
    wanted = {
        "expected class_name or captions": "class_name" in data or "captions" in data,
        "class_name: expected a text": isinstance(data.get("class_name", ""), str),
        "class_id: expected an integer from 0 on": type(number) is int and number >= 0,
        "task: expected classification": "captions" in data or data.get("task", "classification") == "classification",
        "captions: expected a text or a list of them": all(isinstance(one, str) for one in texts),
        "source: expected a text": isinstance(data.get("source", ""), str),
    }
    return next((what for what, met in wanted.items() if not met), "")


def _first_caption(captions: str | list[str] | None) -> str:
    listed = [captions] if isinstance(captions, str) else captions or []
    return next((one.strip() for one in listed if one.strip()), "")


def parse_text(cell: str) -> Any:  # noqa: ANN401 - any JSON
    """The JSON of a cell; a table program may have put it in quotes, with its own doubled."""
    try:
        return strict.load_json(cell)
    except ValueError:
        if len(cell) > 2 and cell.startswith('"{') and cell.endswith('}"'):
            return strict.load_json(cell[1:-1].replace('""', '"'))
        raise


def json_fault(error: Exception) -> str:
    """Where it is wrong; the text itself is not repeated."""
    if isinstance(error, json.JSONDecodeError):
        return f"column {error.colno}: {error.msg}"
    return "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
