"""Check a dataset for all problems that can be found before the first training step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medimageinsight.datasets.image_check import check_images
from medimageinsight.datasets.leaks import NearPair, find_leaks, find_near_duplicates
from medimageinsight.datasets.problems import Problems

if TYPE_CHECKING:
    from collections.abc import Callable

    from medimageinsight.datasets.fingerprint import Fingerprint
    from medimageinsight.datasets.sample import Table


@dataclass(frozen=True, kw_only=True)
class CheckSettings:
    """How thorough a check is; the fields are keys of a training config.

    Args:
        pictures: Decode every image; otherwise only missing files are found.
        cache: A file that stores the fingerprint of each image for the next check.
        workers: Threads; None: one for each core.
        near_distance: Maximum number of different bits, of 256, in the hashes of near duplicates; None does not look
            for them. All pairs of two splits are compared: a second for 10,000 by 10,000.
        near_is_problem: Near duplicates in two splits are problems, which stop a run.
    """

    pictures: bool = True
    cache: str | None = None
    workers: int | None = None
    near_distance: int | None = None
    near_is_problem: bool = False


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The fingerprints in the table's order, and the near duplicates in two splits."""

    fingerprints: tuple[Fingerprint, ...]
    near: tuple[NearPair, ...]


def check_table(
    table: Table,
    *,
    settings: CheckSettings = CheckSettings(),
    problems: Problems | None = None,
    progress: Callable[[int], None] | None = None,
) -> CheckResult:
    """Check captions, ids and images, and look for leaks between splits.

        problems = Problems()
        table = read_tsv(..., problems=problems)
        check_table(table, problems=problems, settings=CheckSettings(cache="images.sqlite"))
        problems.raise_any()

    The table has all splits together, so that leaks are found. ``progress`` is called with the number of images done.

    Raises:
        DatasetProblems: There are problems, and ``problems`` was not given to collect them.
    """
    found = Problems() if problems is None else problems
    _check_texts(table, found)
    fingerprints: list[Fingerprint] = []
    if settings.pictures:
        fingerprints = check_images(table.samples, cache=settings.cache, workers=settings.workers, progress=progress)
        for sample, entry in zip(table.samples, fingerprints, strict=True):
            if entry.code == "image_not_found":
                found.add("image_missing", table.relative_location(sample))
            elif entry.code:
                found.add("image_broken", table.relative_location(sample), entry.code)
    else:
        for sample in table:
            if not sample.path.is_file():
                found.add("image_missing", table.relative_location(sample))
    find_leaks(table, found, fingerprints or None)
    near: list[NearPair] = []
    if fingerprints and settings.near_distance is not None:
        near = find_near_duplicates(table, fingerprints, distance=settings.near_distance)
    for pair in near if settings.near_is_problem else ():
        detail = f"{pair.splits[0]}, {pair.splits[1]}: {pair.bits} of 256 bits differ"
        found.add("near_duplicate_in_two_splits", f"{pair.a} and {pair.b}", detail)
    if problems is None:
        found.raise_any()
    return CheckResult(fingerprints=tuple(fingerprints), near=tuple(near))


def _check_texts(table: Table, problems: Problems) -> None:
    first_with: dict[tuple[str, str, str], str] = {}
    for sample in table:
        location = table.relative_location(sample)
        if not sample.caption.strip():
            problems.add("caption_empty", location)
        if not sample.id:
            continue
        key = (sample.source, sample.split, sample.id)  # the same id in two splits is a leak, reported as such
        if key in first_with:
            problems.add("id_duplicate", location, f"as {first_with[key]}")
        first_with.setdefault(key, location)
