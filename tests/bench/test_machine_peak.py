from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

from medimageinsight.bench.machine_peak import GRAPH, matrix_products

CPU = "CPUExecutionProvider"


def test_the_graph_is_one_product_of_float32_matrices():
    session = ort.InferenceSession(GRAPH, providers=[CPU])
    a, b = np.float32([[1, 2], [3, 4]]), np.float32([[5, 6], [7, 8]])
    (product,) = session.run(None, {"a": a, "b": b})
    assert product.dtype == np.float32
    assert np.array_equal(product, a @ b)


def test_the_bytes_are_valid_onnx():
    onnx = pytest.importorskip("onnx", reason="needs the extra export")
    model = onnx.load_from_string(GRAPH)
    onnx.checker.check_model(model)
    assert [node.op_type for node in model.graph.node] == ["MatMul"]


def test_both_libraries_run():
    assert {name: run() for name, run in matrix_products(1, [CPU], size=16).items()} == {"onnxruntime": 16, "numpy": 16}
