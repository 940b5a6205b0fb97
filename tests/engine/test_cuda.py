"""Bound runs on the CPU, where their results can be compared with plain runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort
import pytest

from medimageinsight.engine.cuda import MAX_RECORDED_SHAPES, BoundRuns

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def session(large_graph: Path) -> ort.InferenceSession:
    return ort.InferenceSession(str(large_graph), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("record", [False, True])
def test_results_equal_those_of_a_plain_run(session: ort.InferenceSession, *, record: bool) -> None:
    rng, runs = np.random.default_rng(2), BoundRuns(session, record=record, device="cpu")
    for rows in [*range(1, MAX_RECORDED_SHAPES + 3), 1, 2, 1]:
        x = rng.standard_normal((rows, 64), dtype=np.float32)
        np.testing.assert_array_equal(runs.run("y", {"x": x}), session.run(["y"], {"x": x})[0])


@pytest.mark.parametrize("record", [False, True])
def test_a_later_run_does_not_change_a_result(session: ort.InferenceSession, x: np.ndarray, *, record: bool) -> None:
    runs = BoundRuns(session, record=record, device="cpu")
    first = runs.run("y", {"x": x})
    copied = first.copy()
    runs.run("y", {"x": x + 1})
    np.testing.assert_array_equal(first, copied)


@pytest.mark.parametrize("record", [False, True])
def test_a_non_contiguous_input(session: ort.InferenceSession, x: np.ndarray, *, record: bool) -> None:
    runs, every_second = BoundRuns(session, record=record, device="cpu"), np.repeat(x, 2, axis=1)[:, ::2]
    for _ in range(2):
        np.testing.assert_array_equal(runs.run("y", {"x": every_second}), session.run(["y"], {"x": x})[0])
