"""Separate the images of one DICOM series that do not form one stack of parallel slices.

Viewers show such series as several: by size, orientation, pixel spacing and stack, and where several images have one
position, by what tells them apart (time, echo, b-value, image type, cardiac phase, acquisition).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.studies.geometry import normal_of, position_ranks
from medimageinsight.studies.warnings import StudyWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from medimageinsight.studies.dicom_record import Frame, Key, Phase
    from medimageinsight.studies.geometry import Vector

_CROSS_SECTIONAL = ("CT", "MR", "PT")
_MAX_PHASES = 20  # images of one position that become series of their own; more are a course in time
_FEW = 3  # images of another orientation or size that are scouts among
_MANY = 10  # so many
_SAME_DIRECTION = 0.999  # cosine of the largest angle between equal orientations, 2.6 degrees
_IMAGE_TYPE: tuple[str, Callable[[Phase], Key]] = ("image type", lambda phase: phase.image_type)
_PHASE_KEYS: tuple[tuple[str, Callable[[Phase], Key]], ...] = (
    _IMAGE_TYPE,
    ("time", lambda phase: phase.temporal),
    ("echo", lambda phase: phase.echo),
    ("b-value", lambda phase: phase.b_value),
    ("diffusion direction", lambda phase: phase.direction),
    ("cardiac phase", lambda phase: phase.cardiac),
    ("acquisition", lambda phase: phase.acquisition),
    ("dimension", lambda phase: phase.dimensions),
)


@dataclass
class Stack:
    """Images that form one series, in order."""

    frames: list[Frame]
    orientation: tuple[Vector, Vector] | None  # in common, if all have positions along its normal
    warnings: list[StudyWarning] = field(default_factory=list)


def split_frames(frames: Sequence[Frame]) -> tuple[list[Stack], int]:
    """Return the stacks of a series, and the number of localizers that were left out.

    The result does not depend on the order of the frames. Localizers are images whose type states it, or few of
    another orientation or size among many slices; a series of nothing else has them as its images.
    """
    ordered = sorted(frames, key=lambda frame: (frame.phase.acquisition, *frame.number))
    images = [frame for frame in ordered if not frame.is_localizer] or ordered
    groups, reasons = _group_by_plane(images)
    groups, scouts = _without_scouts(groups)
    left_out = len(ordered) - len(images) + scouts
    stacks = [stack for group in groups for stack in _split_positions(group)]
    if len(groups) > 1:
        for code, what in reasons:
            warning = StudyWarning(code, f"images of one series differ in {what}: they were split into {len(groups)}")
            for stack in stacks:
                stack.warnings.insert(0, warning)
    return stacks, left_out


def _group_by_plane(frames: Sequence[Frame]) -> tuple[list[list[Frame]], list[tuple[str, str]]]:
    """Group frames that have sizes, orientations, spacings and stacks in common; and name what differs."""
    reasons = []
    groups = [list(frames)]
    for code, what, split in (
        ("sizes_mixed", "size", _by(_size)),
        ("orientations_mixed", "orientation", _by_orientation),
        ("spacings_mixed", "pixel spacing", _by(_spacing)),
        ("stacks_mixed", "stack", _by(_stack)),
    ):
        parts = [part for group in groups for part in split(group)]
        if len(parts) > len(groups):
            reasons.append((code, what))
        groups = parts
    return groups, reasons


def _by(key: Callable[[Frame], Hashable]) -> Callable[[list[Frame]], list[list[Frame]]]:
    def split(frames: list[Frame]) -> list[list[Frame]]:
        groups = defaultdict(list)
        for frame in frames:
            groups[key(frame)].append(frame)
        return list(groups.values())

    return split


def _size(frame: Frame) -> Hashable:
    if frame.position is None and frame.file.modality not in _CROSS_SECTIONAL:
        return None  # views of a projection, which differ in size
    return frame.file.modality, frame.file.rows, frame.file.columns


def _stack(frame: Frame) -> Hashable:
    return None if frame.position is None and not frame.file.is_loop else frame.stack


def _spacing(frame: Frame) -> Hashable:
    if frame.position is None or frame.pixel_spacing is None:
        return None
    return tuple(float(f"{value:.3g}") for value in frame.pixel_spacing)


def _by_orientation(frames: list[Frame]) -> list[list[Frame]]:
    """Group frames of one orientation; all remain together where nearly each has its own, as in a radial series."""
    groups: list[tuple[tuple[Vector, Vector] | None, list[Frame]]] = []
    for frame in frames:
        for orientation, members in groups:
            if _is_same_orientation(orientation, frame.orientation):
                members.append(frame)
                break
        else:
            groups.append((frame.orientation, [frame]))
            if len(groups) > max(_FEW, len(frames) // 2):
                return [frames]
    return [members for _, members in groups]


def _is_same_orientation(one: tuple[Vector, Vector] | None, other: tuple[Vector, Vector] | None) -> bool:
    if one is None or other is None or one == other:
        return one == other
    return all(
        sum(a * b for a, b in zip(*pair, strict=True)) > _SAME_DIRECTION for pair in zip(one, other, strict=True)
    )


def _without_scouts(groups: list[list[Frame]]) -> tuple[list[list[Frame]], int]:
    largest = max(map(len, groups))
    modality = groups[0][0].file.modality
    if largest < _MANY or modality not in _CROSS_SECTIONAL:
        return groups, 0
    main = next(group[0] for group in groups if len(group) == largest)
    scouts = [group for group in groups if len(group) <= _FEW and _differs(group[0], main)]
    return [group for group in groups if group not in scouts], sum(map(len, scouts))


def _differs(frame: Frame, main: Frame) -> bool:
    return _size(frame) != _size(main) or not _is_same_orientation(frame.orientation, main.orientation)


def _split_positions(frames: list[Frame]) -> list[Stack]:
    """Return the stacks of frames with one orientation and size: one if no two have a position in common."""
    orientation = frames[0].orientation
    positions = [frame.position for frame in frames]
    parallel = all(_is_same_orientation(orientation, frame.orientation) for frame in frames)
    if orientation is None or None in positions or not parallel:
        return [_without_positions(frames)]
    distances = np.asarray(positions, dtype=np.float64) @ normal_of(orientation)
    ranks: dict[int, int] = dict(zip(map(id, frames), position_ranks(distances).tolist(), strict=True))

    def rank_of(frame: Frame) -> int:
        return ranks[id(frame)]

    parts, criterion = _split_repeated(frames, rank_of)
    stacks = [
        Stack(sorted(part, key=lambda frame: (rank_of(frame), frame.phase.sort_key(), frame.number)), orientation)
        for part in parts
    ]
    if (repeated := _repeated(frames, rank_of)) and len(set(ranks.values())) > 1:
        used = f"split into {len(parts)} by {criterion}" if len(parts) > 1 else "sorted by time and number there"
        message = f"positions with several images, which were {used}: {repeated}"
        for stack in stacks:
            stack.warnings.append(StudyWarning("positions_repeated", message))
    return stacks


def _without_positions(frames: list[Frame]) -> Stack:
    if all(frame.order for frame in frames) and frames[0].file.count > 1:
        return Stack(sorted(frames, key=lambda frame: (frame.order, frame.number)), None)
    return Stack(sorted(frames, key=lambda frame: (frame.phase.temporal, frame.phase.acquisition, frame.number)), None)


def _repeated(frames: Iterable[Frame], rank_of: Callable[[Frame], int]) -> int:
    return sum(count > 1 for count in Counter(map(rank_of, frames)).values())


def _split_repeated(frames: list[Frame], rank_of: Callable[[Frame], int]) -> tuple[list[list[Frame]], str]:
    """Split frames so that no two of a part have one position, and name what tells the parts apart.

    Frames of one image type remain together where only few positions have several images, where more than `_MAX_PHASES`
    have one position, and where all have it: these are a course in time.
    """
    counts = Counter(map(rank_of, frames))
    most = max(counts.values())
    repeated = sum(count > 1 for count in counts.values())
    if most == 1 or 2 * repeated <= len(counts):
        return [frames], ""
    is_course = most > _MAX_PHASES or len(counts) == 1
    for name, key in (_IMAGE_TYPE,) if is_course else _PHASE_KEYS:
        values = sorted({key(frame.phase) for frame in frames})
        if 1 < len(values) <= most and _tells_apart(frames, rank_of, key):
            parts = [[frame for frame in frames if key(frame.phase) == value] for value in values]
            split = [_split_repeated(part, rank_of) for part in parts]
            names = dict.fromkeys(found for _, found in split if found)
            return [part for found, _ in split for part in found], " and ".join([name, *names])
    if is_course:
        return [frames], ""
    nth: list[list[Frame]] = [[] for _ in range(most)]
    seen: Counter[int] = Counter()
    for frame in sorted(frames, key=lambda frame: (frame.phase.sort_key(), frame.number)):
        nth[seen[rank_of(frame)]].append(frame)
        seen[rank_of(frame)] += 1
    return nth, "number"


def _tells_apart(frames: list[Frame], rank_of: Callable[[Frame], int], key: Callable[[Phase], Key]) -> bool:
    """Return whether images of most repeated positions differ in a key."""
    counts = Counter(map(rank_of, frames))
    values = defaultdict(set)
    for frame in frames:
        values[rank_of(frame)].add(key(frame.phase))
    repeated = [rank for rank, count in counts.items() if count > 1]
    return 2 * sum(len(values[rank]) > 1 for rank in repeated) > len(repeated)
