"""Everything that can be known to be wrong with a dataset before the first step, in one list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medimageinsight.datasets.image_check import check_pictures
from medimageinsight.datasets.leaks import NearPair, find_leaks, find_near_duplicates
from medimageinsight.datasets.problems import Problems

if TYPE_CHECKING:
    from collections.abc import Callable

    from medimageinsight.datasets.fingerprint import Fingerprint
    from medimageinsight.datasets.sample import Table


@dataclass(frozen=True, kw_only=True)
class CheckSettings:
    """How far to look.

    Args:
        pictures: Decode every picture; without it only missing files are found.
        cache: A file that keeps what was found of each picture for the next time.
        workers: Threads; None: one a core.
        near_distance: Most bits, of 256, in which the hashes of pictures that count as near duplicates differ; None
            does not look for them. They need all pairs of the splits: a second for 10,000 by 10,000.
        near_is_problem: Near duplicates in two splits stop a run, rather than being told.
    """

    pictures: bool = True
    cache: str | None = None
    workers: int | None = None
    near_distance: int | None = None
    near_is_problem: bool = False


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What a check saw beside problems: fingerprints in the table's order, and lookalikes of two splits."""

    prints: tuple[Fingerprint, ...]
    near: tuple[NearPair, ...]


def check_table(
    table: Table,
    *,
    settings: CheckSettings = CheckSettings(),
    problems: Problems | None = None,
    progress: Callable[[int], None] | None = None,
) -> Checked:
    """Looks for captions, ids, pictures and leaks that are wrong.

        problems = Problems()
        table = read_tsv(..., problems=problems)
        check_table(table, problems=problems, settings=CheckSettings(cache="pictures.sqlite"))
        problems.raise_any()

    Args:
        table: All splits together, so that leaks are seen.
        settings: How far to look.
        problems: Collects what is found; without it this raises it.
        progress: Called with the number of pictures that are done.

    Raises:
        DatasetProblems: Something is wrong, and ``problems`` was not given.
    """
    found = Problems() if problems is None else problems
    _check_texts(table, found)
    prints: list[Fingerprint] = []
    if settings.pictures:
        prints = check_pictures(table.samples, cache=settings.cache, workers=settings.workers, progress=progress)
        for sample, one in zip(table.samples, prints, strict=True):
            if one.code:
                missing = one.code == "image_not_found"
                found.add(
                    "image_missing" if missing else "image_broken", table.place(sample), "" if missing else one.code
                )
    else:
        for sample in table:
            if not sample.path.is_file():
                found.add("image_missing", table.place(sample))
    find_leaks(table, found, prints or None)
    near: list[NearPair] = []
    if prints and settings.near_distance is not None:
        near = find_near_duplicates(table, prints, distance=settings.near_distance)
        if settings.near_is_problem:
            for pair in near:
                detail = f"{pair.splits[0]}, {pair.splits[1]}: {pair.bits} of 256 bits differ"
                found.add("near_duplicate_in_two_splits", f"{pair.a} and {pair.b}", detail)
    if problems is None:
        found.raise_any()
    return Checked(prints=tuple(prints), near=tuple(near))


def _check_texts(table: Table, problems: Problems) -> None:
    seen: dict[tuple[str, str, str], str] = {}
    for sample in table:
        place = table.place(sample)
        if not sample.caption.strip():
            problems.add("caption_empty", place)
        if not sample.id:
            continue
        # The same id in two splits is a leak, told as one.
        key = (sample.source, sample.split, sample.id)
        if key in seen:
            problems.add("id_duplicate", place, f"as {seen[key]}")
        seen.setdefault(key, place)
