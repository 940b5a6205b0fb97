"""Batches of rows of similar length."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from medimageinsight.engine.engine import MIN_FILL, batches_by_length


def test_equal_lengths_form_a_batch() -> None:
    assert list(batches_by_length([9, 3, 9, 3], 2)) == [[1, 3], [0, 2]]


def test_no_rows_form_no_batch() -> None:
    assert list(batches_by_length([], 4)) == []


@given(st.lists(st.integers(1, 77)), st.integers(1, 9))
def test_every_row_is_in_one_batch_of_similar_lengths(lengths: list[int], batch_size: int) -> None:
    batches = list(batches_by_length(lengths, batch_size))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert 1 <= len(batch) <= batch_size
        sizes = [lengths[index] for index in batch]
        assert min(sizes) >= MIN_FILL * max(sizes)
