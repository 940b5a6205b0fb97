"""Runs of a graph with inputs and outputs bound to a device, for CUDA.

Written from ONNX Runtime's documentation of I/O binding and CUDA graphs. The binding is tested on the CPU, where its
results equal those of a plain run; this project has not run it on a GPU.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnxruntime as ort
    from numpy.typing import NDArray

# A recording holds its intermediate results on the device until the session is freed.
MAX_RECORDED_SHAPES = 4

# While a graph is recorded, CUDA refuses work from other threads of the process, in any session.
_RECORDING_LOCK = threading.Lock()

_NOT_RECORDED = "-1"  # ONNX Runtime's graph id for a plain run


class BoundRuns:
    """Runs of one session with inputs and outputs on a device: each array is copied to or from the device once.

    With CUDA graphs the first run with a new shape records all kernels, and later runs with that shape replay them in
    one launch. A replay uses the buffers of the recording, so these are retained and runs are serialized.

    Args:
        session: A session on that device.
        record: Use CUDA graphs; the session needs the provider's option ``enable_cuda_graph``.
        device: ONNX Runtime's name of the device.
    """

    def __init__(self, session: ort.InferenceSession, *, record: bool = False, device: str = "cuda") -> None:
        self._session = session
        self._record = record
        self._device = device
        self._recorded: dict[tuple[object, ...], _Recording] = {}

    def run(self, output: str, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Return an output for a batch, (N, D) float32, as `Session.run`."""
        if not self._record:
            return self._run_once(output, inputs, None)
        with _RECORDING_LOCK:
            key = (output, *((name, array.shape, array.dtype.str) for name, array in sorted(inputs.items())))
            if key not in self._recorded and len(self._recorded) < MAX_RECORDED_SHAPES:
                number = len(self._recorded) + 1  # 0 is reserved
                self._recorded[key] = _Recording(self._session, output, inputs, device=self._device, number=number)
            if key in self._recorded:
                return self._recorded[key].run(inputs)
            return self._run_once(output, inputs, _run_options(_NOT_RECORDED))

    def _run_once(
        self, output: str, inputs: Mapping[str, NDArray[Any]], options: ort.RunOptions | None
    ) -> NDArray[np.float32]:
        binding = self._session.io_binding()
        for name, array in inputs.items():
            binding.bind_ortvalue_input(name, _on_device(array, self._device))
        binding.bind_output(output, self._device)
        self._session.run_with_iobinding(binding, options)
        result: NDArray[np.float32] = binding.copy_outputs_to_cpu()[0]
        return result


class _Recording:
    """A CUDA graph for one input shape, and the buffers that it reads and writes."""

    def __init__(
        self,
        session: ort.InferenceSession,
        output: str,
        inputs: Mapping[str, NDArray[Any]],
        *,
        device: str,
        number: int,
    ) -> None:
        import onnxruntime as ort

        self._session = session
        self._options = _run_options(str(number))
        self._inputs = {name: _on_device(array, device) for name, array in inputs.items()}
        width = next(node.shape[-1] for node in session.get_outputs() if node.name == output)
        rows = len(next(iter(inputs.values())))
        self._output = ort.OrtValue.ortvalue_from_shape_and_type([rows, width], np.float32, device, 0)
        self._binding = session.io_binding()
        for name, value in self._inputs.items():
            self._binding.bind_ortvalue_input(name, value)
        self._binding.bind_ortvalue_output(output, self._output)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        for name, array in inputs.items():
            self._inputs[name].update_inplace(np.ascontiguousarray(array))
        self._session.run_with_iobinding(self._binding, self._options)
        return np.array(self._output.numpy())  # a copy: the next replay writes into the same buffer


def _on_device(array: NDArray[Any], device: str) -> ort.OrtValue:
    import onnxruntime as ort

    return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), device, 0)


def _run_options(graph_id: str) -> ort.RunOptions:
    import onnxruntime as ort

    options = ort.RunOptions()
    options.add_run_config_entry("gpu_graph_id", graph_id)
    return options
