"""Selections of images by text: which images they choose, of any number, and in several windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medimageinsight import studies
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from medimageinsight.images import DecodedImage, Limits, WindowSelection


def decode(window: WindowSelection | None, limits: Limits) -> DecodedImage:
    raise AssertionError("a selection looks at no pixels")


def slices(count: int, *, step: float | None = 2.5) -> list[studies.StudyImage]:
    return [
        studies.StudyImage(
            origin=studies.Origin(path="a.nii", frame=index),
            read=decode,
            position_mm=None if step is None else step * index - 10,
        )
        for index in range(count)
    ]


@pytest.mark.parametrize(
    ("text", "count", "expected"),
    [
        ("all", 3, [0, 1, 2]),
        ("every:3", 8, [0, 3, 6]),
        ("every:3", 1, [0]),
        ("even:1", 9, [4]),
        ("even:3", 9, [1, 4, 7]),
        ("even:16", 5, [0, 1, 2, 3, 4]),
        ("centre:1", 9, [3, 4, 5]),
        ("center:1", 9, [3, 4, 5]),
        ("centre:9", 3, [0, 1, 2]),
        ("centre:0", 1, [0]),
        ("mm:-5..5", 9, [2, 3, 4, 5, 6]),
        ("mm:0..0", 9, [4]),
        ("frames:5,0,1-2", 9, [0, 1, 2, 5]),
        (" frames:1, 3 ", 4, [1, 3]),
    ],
)
def test_what_is_chosen(text: str, count: int, expected: list[int]) -> None:
    selection = studies.parse_selection(text)
    assert selection.choose(slices(count)) == expected
    assert studies.parse_selection(str(selection)).choose(slices(count)) == expected


@given(st.integers(1, 60), st.integers(1, 400))
def test_evenly_spaced_images(number: int, count: int) -> None:
    chosen = studies.parse_selection(f"even:{number}").choose(slices(count))
    assert len(chosen) == min(number, count)
    assert chosen == sorted(set(chosen))
    steps = np.diff(chosen)
    assert not steps.size or steps.max() - steps.min() <= 1
    # No end is preferred.
    assert abs(chosen[0] - (count - 1 - chosen[-1])) <= 1


@pytest.mark.parametrize(
    "text", ["", "every", "every:0", "even:0", "even:-1", "every:x", "mm:5..1", "mm:1", "frames:", "frames:3-1",
             "all:1", "frames:1;2", "last:3", "every:99999999999999"],
)  # fmt: skip
def test_what_is_no_selection(text: str) -> None:
    with pytest.raises(InputError) as caught:
        studies.parse_selection(text)
    assert caught.value.code == "selection_invalid"


@pytest.mark.parametrize(("text", "step"), [("frames:9", 2.5), ("mm:900..901", 2.5), ("mm:0..9", None)])
def test_what_does_not_fit_the_series(text: str, step: float | None) -> None:
    with pytest.raises(InputError) as caught:
        studies.parse_selection(text).choose(slices(9, step=step))
    assert caught.value.code == "selection_not_applicable"


def test_windows_of_an_image_are_chosen_together() -> None:
    images = [image for image in slices(6) for _ in range(3)]
    series = studies.Series(kind="volume", images=images, key="a", source="a", windows_per_image=3)
    series = series.with_options(selection=studies.parse_selection("centre:1"))
    assert series.selected_indices() == [3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert [image.origin.frame for image in series.selected()] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
