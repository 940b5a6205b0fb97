"""Bound runs on the CPU, where what they give can be compared with a plain run."""

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
def test_what_a_plain_run_gives(session: ort.InferenceSession, *, record: bool) -> None:
    rng, runs = np.random.default_rng(2), BoundRuns(session, record=record, device="cpu")
    for rows in [*range(1, MAX_RECORDED_SHAPES + 3), 1, 2, 1]:
        x = rng.standard_normal((rows, 64), dtype=np.float32)
        np.testing.assert_array_equal(runs.run("y", {"x": x}), session.run(["y"], {"x": x})[0])


@pytest.mark.parametrize("record", [False, True])
def test_a_result_stays_as_it_is(session: ort.InferenceSession, x: np.ndarray, *, record: bool) -> None:
    runs = BoundRuns(session, record=record, device="cpu")
    first = runs.run("y", {"x": x})
    kept = first.copy()
    runs.run("y", {"x": x + 1})
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("record", [False, True])
def test_an_array_with_gaps(session: ort.InferenceSession, x: np.ndarray, *, record: bool) -> None:
    runs, every_second = BoundRuns(session, record=record, device="cpu"), np.repeat(x, 2, axis=1)[:, ::2]
    for _ in range(2):
        np.testing.assert_array_equal(runs.run("y", {"x": every_second}), session.run(["y"], {"x": x})[0])
