"""A separate cache for each test, and a graph with external data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from medimageinsight.engine import graph_cache

if TYPE_CHECKING:
    from pathlib import Path

WIDTH, HIDDEN, DIM = 64, 256, 8


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder of models and caches; any graph with external data counts as large."""
    monkeypatch.setattr(graph_cache, "MIN_BYTES", 1)
    monkeypatch.setenv("MI2_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MI2_GRAPH_CACHE", raising=False)
    return tmp_path / "home"


@pytest.fixture(scope="session")
def large_graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a graph of two matrices with external weights: ``x`` (N, 64) to ``y`` (N, 8). Not to be changed."""
    onnx = pytest.importorskip("onnx", reason="making a graph needs the export extra")
    helper, rng = onnx.helper, np.random.default_rng(11)
    weights = {
        "first": rng.standard_normal((WIDTH, HIDDEN), dtype=np.float32),
        "bias": rng.standard_normal(HIDDEN, dtype=np.float32),
        "second": rng.standard_normal((HIDDEN, DIM), dtype=np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["a"]),
        helper.make_node("Add", ["a", "bias"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("MatMul", ["c", "second"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", WIDTH])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", DIM])],
        initializer=[onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    path = tmp_path_factory.mktemp("large") / "graph.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, path, save_as_external_data=True, location=path.name + ".data", size_threshold=0)
    return path


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(12).standard_normal((5, WIDTH), dtype=np.float32)
