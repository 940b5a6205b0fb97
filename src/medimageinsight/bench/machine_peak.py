"""The machine's peak: one square float32 matrix product, by ONNX Runtime and by NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SIZE = 2048  # large enough to reach a CPU's peak, small enough for a fraction of a second on one core

# ONNX, opset 13: c = MatMul(a, b), all float32 (n, n). As bytes, so that the package onnx is not needed.
GRAPH = (
    b'\x08\x08:[\n\x11\n\x01a\n\x01b\x12\x01c"\x06MatMul\x12\x01g'
    b"Z\x15\n\x01a\x12\x10\n\x0e\x08\x01\x12\n\n\x03\x12\x01n\n\x03\x12\x01n"
    b"Z\x15\n\x01b\x12\x10\n\x0e\x08\x01\x12\n\n\x03\x12\x01n\n\x03\x12\x01n"
    b"b\x15\n\x01c\x12\x10\n\x0e\x08\x01\x12\n\n\x03\x12\x01n\n\x03\x12\x01n"
    b"B\x04\n\x00\x10\r"
)


def matrix_products(threads: int, providers: Sequence[str], size: int = SIZE) -> dict[str, Callable[[], int]]:
    """Return a function for each library; NumPy's threads are set by the environment before it is imported.

    The matrices are on the device of the provider before the call.
    """
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((size, size), dtype=np.float32) for _ in range(2))
    products = {"onnxruntime": _onnxruntime_product(a, b, threads, providers)}
    if providers[0] == "CPUExecutionProvider":
        products["numpy"] = lambda: len(a @ b)
    return products


def _onnxruntime_product(a: np.ndarray, b: np.ndarray, threads: int, providers: Sequence[str]) -> Callable[[], int]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    exact = {"CUDAExecutionProvider": {"use_tf32": "0"}}  # as in the bundle's session
    session = ort.InferenceSession(GRAPH, options, providers=[(name, exact.get(name, {})) for name in providers])
    device = "cuda" if providers[0] == "CUDAExecutionProvider" else "cpu"
    binding = session.io_binding()
    for name, value in (("a", a), ("b", b)):
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(value, device, 0))
    binding.bind_output("c", device)

    def run() -> int:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return len(a)

    return run
