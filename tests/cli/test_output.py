from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from medimageinsight.cli.output import numbers, printable


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_numbers_read_back_as_the_same_float32(values: list[float]) -> None:
    embedding = np.array(values, dtype=np.float32)
    read = np.array(json.loads(json.dumps(numbers(embedding))), dtype=np.float32)
    assert read.tobytes() == embedding.tobytes()


def test_numbers_are_short() -> None:
    assert numbers(np.array([0.1], dtype=np.float32)) == [0.1]


@given(st.text())
def test_printable_text_is_one_line_and_can_be_encoded(text: str) -> None:
    printed = printable(text)
    assert printed.isprintable()
    printed.encode()
    assert len(printed) <= 200 * 10


def test_printable_keeps_letters_of_any_script() -> None:
    assert printable("räntgen 胸部") == "räntgen 胸部"
