"""What is wrong with a dataset, all of it in one list: found before the first step, not in the tenth hour."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medimageinsight.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# What each kind of problem is, and what to do about it.
KINDS = {
    "config_key_unknown": "keys of the config that are not understood: correct or remove them",
    "config_value_invalid": "values of the config that cannot be used: correct them",
    "table_invalid": "tables that cannot be used",
    "file_missing": "files that are not there: check their paths",
    "row_unreadable": "rows that cannot be read: write them again",
    "json_invalid": "rows whose JSON cannot be used: write it again",
    "rows_unpaired": "rows of an image file without their text, or the other way round: write both files from one list",
    "class_id_mismatch": "class ids that do not match their names: give each name of a source one id",
    "caption_empty": "pictures without a caption: write one, or what to build it from",
    "id_duplicate": "ids that come twice in one source: make them different",
    "shard_invalid": "shards that are damaged: copy them again",
    "member_refused": "members of shards that are not taken (links, paths with '..', too large, twice): leave them out",
    "image_missing": "pictures that are not there: copy them, or remove their rows",
    "image_broken": "pictures that cannot be read: mend them, or remove their rows",
    "patient_in_two_splits": "patients with pictures in two splits: move all pictures of a patient into one",
    "id_in_two_splits": "ids in two splits: keep one of each pair",
    "picture_in_two_splits": "pictures whose pixels are in two splits: keep one of each pair",
    "near_duplicate_in_two_splits": "pictures that look alike in two splits: keep one of each pair",
}
EXAMPLES = 5  # of each kind, in a message
_KEPT = 1000  # of each kind, in memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong.

    ``place`` is a path below the dataset's folder, with a line or row number, or a key; never a patient's id.
    """

    kind: str  # of KINDS
    place: str
    detail: str = ""

    def __str__(self) -> str:
        text = f"{self.place} ({self.detail})" if self.detail else self.place
        return " ".join(text.split())  # a name with a line's end makes no line of its own


class Problems:
    """Collects problems; at most a thousand of each kind are kept, all are counted."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._found: defaultdict[str, list[Problem]] = defaultdict(list)

    def __len__(self) -> int:
        return self.counts.total()

    def __bool__(self) -> bool:
        return bool(self.counts)

    def add(self, kind: str, place: str, detail: str = "") -> None:
        """Notes one problem of a kind of `KINDS`."""
        if kind not in KINDS:
            raise KeyError(kind)
        self.counts[kind] += 1
        if len(self._found[kind]) < _KEPT:
            self._found[kind].append(Problem(kind=kind, place=place, detail=detail))

    @property
    def found(self) -> tuple[Problem, ...]:
        """Those kept, in the order of `KINDS`."""
        return tuple(one for kind in KINDS for one in self._found.get(kind, ()))

    def raise_any(self) -> None:
        """Raises them all as one error, if there are any.

        Raises:
            DatasetProblems: There are.
        """
        if self:
            raise DatasetProblems(describe(self.counts, self.found), counts=self.counts, found=self.found)


class DatasetProblems(DatasetError):  # noqa: N818 - it is the list of them
    """Everything that is wrong with a dataset: ``counts`` by kind, and ``found``, the first thousand of each."""

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


def describe(counts: Mapping[str, int], found: Sequence[Problem]) -> str:
    """One line a kind: how many, what, and the first few places."""
    by_kind: defaultdict[str, list[Problem]] = defaultdict(list)
    for one in found:
        by_kind[one.kind].append(one)
    total = sum(counts.values())
    lines = [f"{total:,} problem{'s' if total > 1 else ''} with the data or their config; nothing was done:"]
    for kind, meaning in KINDS.items():
        if counts.get(kind):
            shown = [str(one) for one in by_kind[kind][:EXAMPLES]]
            more = counts[kind] - len(shown)
            places = "; ".join(shown) + (f"; and {more:,} more" if more else "")
            lines.append(f"  {counts[kind]:,} {meaning} [{kind}]: {places}")
    return "\n".join(lines)
