"""Problems of a dataset, collected into one list that is reported before the first training step."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medimageinsight.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Each kind of problem, and what to do about it.
KINDS = {
    "config_key_unknown": "unknown keys of the config: correct or remove them",
    "config_value_invalid": "values of the config that cannot be used: correct them",
    "table_invalid": "tables that cannot be used",
    "file_missing": "files that do not exist: check their paths",
    "row_unreadable": "rows that cannot be read: write them again",
    "json_invalid": "rows whose JSON cannot be used: write it again",
    "rows_unpaired": "rows of an image file without their text, or the other way round: write both files from one list",
    "class_id_mismatch": "class ids that do not match their names: give each name of a source one id",
    "caption_empty": "images without a caption: write one, or the parts to build it from",
    "id_duplicate": "ids that occur twice in one source: make them different",
    "shard_invalid": "damaged shards: copy them again",
    "member_refused": "members of shards that are refused (links, paths with '..', too large, twice): leave them out",
    "image_missing": "images that do not exist: copy them, or remove their rows",
    "image_broken": "images that cannot be read: repair them, or remove their rows",
    "patient_in_two_splits": "patients with images in two splits: move all images of a patient into one",
    "id_in_two_splits": "ids in two splits: keep one of each pair",
    "picture_in_two_splits": "images whose pixels are in two splits: keep one of each pair",
    "near_duplicate_in_two_splits": "images that look alike in two splits: keep one of each pair",
}
_EXAMPLES = 5  # of each kind, in a message
_MAX_STORED = 1000  # of each kind, in memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One problem.

    ``location`` is a path below the dataset's folder, with a line or row number, or a key; never a patient's id.
    """

    kind: str  # of KINDS
    location: str
    detail: str = ""

    def __str__(self) -> str:
        text = f"{self.location} ({self.detail})" if self.detail else self.location
        return " ".join(text.split())  # a line break in a file name must not start a line of the report


class Problems:
    """A collection of problems: all are counted, at most a thousand of each kind are stored."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._found: defaultdict[str, list[Problem]] = defaultdict(list)

    def __len__(self) -> int:
        return self.counts.total()

    def __bool__(self) -> bool:
        return bool(self.counts)

    def add(self, kind: str, location: str, detail: str = "") -> None:
        """Add one problem of a kind of `KINDS`."""
        if kind not in KINDS:
            raise KeyError(kind)
        self.counts[kind] += 1
        if len(self._found[kind]) < _MAX_STORED:
            self._found[kind].append(Problem(kind=kind, location=location, detail=detail))

    @property
    def found(self) -> tuple[Problem, ...]:
        """The stored problems, in the order of `KINDS`."""
        return tuple(problem for kind in KINDS for problem in self._found.get(kind, ()))

    def raise_any(self) -> None:
        """Raise all problems as one error, if there are any.

        Raises:
            DatasetProblems: There are problems.
        """
        if self:
            raise DatasetProblems(str(self), counts=self.counts, found=self.found)

    def __str__(self) -> str:
        """Return a report with one line for each kind: the count, the meaning and the first few locations."""
        total = len(self)
        lines = [f"{total:,} problem{'s' if total > 1 else ''} with the data or their config; nothing was done:"]
        for kind, meaning in KINDS.items():
            if count := self.counts[kind]:
                examples = [str(problem) for problem in self._found[kind][:_EXAMPLES]]
                more = f"; and {count - len(examples):,} more" if count > len(examples) else ""
                lines.append(f"  {count:,} {meaning} [{kind}]: {'; '.join(examples)}{more}")
        return "\n".join(lines)


class DatasetProblems(DatasetError):  # noqa: N818 - it is a list of errors
    """All problems of a dataset: ``counts`` by kind, and ``found``, the first thousand of each kind."""

    default_code = "dataset_problems"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        counts: Mapping[str, int] | None = None,
        found: Sequence[Problem] = (),
    ) -> None:
        super().__init__(message, code=code)
        self.counts = dict(counts or {})
        self.found = tuple(found)

    def __reduce__(self) -> tuple[object, ...]:
        return (*super().__reduce__(), {"counts": self.counts, "found": self.found})
