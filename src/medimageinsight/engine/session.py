"""An ONNX graph in an ONNX Runtime session: its device, its threads, and errors with stable codes."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.engine.cuda import BoundRuns
from medimageinsight.engine.graph_cache import DATA, GRAPH, device_cache
from medimageinsight.engine.machine import available_cpus
from medimageinsight.engine.providers import (
    CPU,
    CUDA,
    DIRECTML,
    OPENVINO,
    choose_providers,
    provider_options,
    stores_compiled,
)
from medimageinsight.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import onnxruntime as ort
    from numpy.typing import NDArray

    from medimageinsight.engine.graph_cache import GraphCopy

_FATAL_ONLY = 4  # ONNX Runtime's log level: errors are raised anyway, and log lines contain paths

# Microseconds that an idle thread keeps its core for the next operator, which saves the time to wake it. More helps an
# idle machine and slows a busy one: threads would spin on the cores that decode the next images.
SPIN_US = 100
_SPIN_LIMIT_SINCE = (1, 27)  # version of ONNX Runtime; older ones ignore the setting

# Exceptions for an invalid graph, on any device.
_BAD_GRAPH = ("NoSuchFile", "NoModel", "InvalidProtobuf", "InvalidGraph")


class Session:
    """A loaded graph. Safe to call from many threads.

    Args:
        path: The ``.onnx`` file; its external data is mapped into memory, not read.
        providers: As in `choose_providers`. A default device that cannot be started is replaced by the CPU; see the
            attribute `providers`.
        threads: CPU threads of one call; by default all cores available to the process.
        copy: This machine's optimised copy of the graph, used and written on the CPU; None for no copy.
        verify: Called before the graph's own files are read, which a copy may make unnecessary.
        cuda_graph: On CUDA, record the kernels of a shape once and replay them: less time between kernels, for small
            batches of few different sizes. Runs are then serialized.

    Raises:
        InputError: A provider is unknown.
        ModelError: The graph cannot be loaded (``graph_invalid``), or not on the requested provider
            (``provider_unavailable``).
    """

    def __init__(
        self,
        path: Path,
        *,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        copy: GraphCopy | None = None,
        verify: Callable[[], None] | None = None,
        cuda_graph: bool = False,
    ) -> None:
        chosen = choose_providers(providers)
        self._path = path
        self._threads = threads
        self._copy = copy
        self._verify = verify or (lambda: None)
        self._cuda_graph = cuda_graph
        self._maps_copy = False
        self._rebuilding = threading.Lock()
        self._session = self._open(chosen, requested=providers is not None or cuda_graph)
        first = self.providers[0]
        self._bound = BoundRuns(self._session, record=cuda_graph) if first == CUDA else None
        # DirectML does not support concurrent runs.
        self._serial = threading.Lock() if first == DIRECTML else contextlib.nullcontext()
        self.inputs: dict[str, list[int | str | None]] = {node.name: node.shape for node in self._session.get_inputs()}

    @property
    def providers(self) -> list[str]:
        """Execution providers in use, the preferred one first."""
        return list(self._session.get_providers())

    def run(self, output: str, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Return an output of the graph for a batch, (N, D) float32.

        If a run on the optimised copy fails, the copy is written again and the run repeated, once in a session.

        Raises:
            ModelError: ONNX Runtime failed (``inference_failed``), or its result is not finite
                (``inference_not_finite``).
        """
        session = self._session
        try:
            return self._run(session, output, inputs)
        except ModelError:
            if not self._replace_copy(session):
                raise
            return self._run(self._session, output, inputs)

    def _run(
        self, session: ort.InferenceSession, output: str, inputs: Mapping[str, NDArray[Any]]
    ) -> NDArray[np.float32]:
        try:
            if self._bound is not None:
                result = self._bound.run(output, inputs)
            else:
                with self._serial:
                    result = session.run([output], dict(inputs))[0]
        except Exception as error:
            raise ModelError(
                f"expected the network to run, ONNX Runtime failed ({type(error).__name__}): "
                "try a smaller batch; if it fails again, check the bundle with mi2 verify",
                code="inference_failed",
            ) from error
        if not np.isfinite(result).all():
            raise ModelError(
                "expected finite embeddings, got NaN or infinity: check the bundle with mi2 verify",
                code="inference_not_finite",
            )
        return np.asarray(result, dtype=np.float32)

    def _open(self, chosen: list[str], *, requested: bool) -> ort.InferenceSession:
        if chosen[0] == CPU:
            return self._open_on_cpu()
        self._verify()
        cause: Exception | None = None
        try:
            session = self._load(self._path, chosen)
        except Exception as error:  # ONNX Runtime's exceptions have no common base, and their messages contain paths
            if type(error).__name__ in _BAD_GRAPH:
                raise _bad_graph(error) from error
            cause = error
        else:
            # Where a device's libraries are missing, ONNX Runtime may continue without it after a mere log line.
            if chosen[0] in session.get_providers():
                return session
        if requested:
            raise ModelError(
                f"expected to run on {chosen[0]}, but it could not be started: check its drivers and libraries, "
                "or choose the provider cpu",
                code="provider_unavailable",
            ) from cause
        return self._open_on_cpu()

    def _open_on_cpu(self) -> ort.InferenceSession:
        if self._copy is not None:
            self._maps_copy = True
            if (session := self._map_copy(self._copy)) is not None:
                return session
            self._verify()
            if self._write_copy(self._copy) and (session := self._map_copy(self._copy)) is not None:
                return session
            self._maps_copy = False
        self._verify()
        try:
            return self._load(self._path, [CPU])
        except Exception as error:
            raise _bad_graph(error) from error

    def _map_copy(self, copy: GraphCopy) -> ort.InferenceSession | None:
        """Return a session on the copy, or None without a complete one; a copy that cannot be used is removed."""
        if not copy.is_complete():
            return None
        session: ort.InferenceSession | None = None
        with ThreadPoolExecutor(1) as pool:
            intact = pool.submit(copy.has_intact_data)  # at the same time: one core computes while the other loads
            with contextlib.suppress(Exception):
                session = self._load(copy.graph, [CPU], optimise=False)
        if session is None or not intact.result():
            copy.remove()
            return None
        return session

    def _replace_copy(self, failed: ort.InferenceSession) -> bool:
        """Replace a session on the copy that failed to run; return whether there is another session to try."""
        with self._rebuilding:
            if self._session is failed:
                if not self._maps_copy or self._copy is None:
                    return False
                self._copy.remove()
                self._session = self._open_on_cpu()
                self._maps_copy = False  # of a new copy the failure is final
            return True

    def _write_copy(self, copy: GraphCopy) -> bool:
        """Return whether the copy was written. The session that writes it is freed: its weights are not shared."""
        try:
            with copy.writing() as folder:
                self._load(self._path, [CPU], write_to=folder)
        except Exception:  # a cache is optional: loading the graph itself will report its errors
            return False
        finally:
            _return_freed_memory()
        return True

    def _load(
        self, path: Path, providers: list[str], *, optimise: bool = True, write_to: Path | None = None
    ) -> ort.InferenceSession:
        import onnxruntime as ort

        options = _session_options(self._threads, providers[0])
        if not optimise or providers[0] == OPENVINO:  # OpenVINO optimises better from the original graph
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        if write_to is not None:
            _write_optimised(options, write_to)
        # ONNX Runtime's own fallback prints to standard output and uses the CPU instead of the requested provider.
        return ort.InferenceSession(
            str(path), options, providers=[(name, self._options(name)) for name in providers], enable_fallback=0
        )

    def _options(self, provider: str) -> dict[str, str]:
        cache = device_cache(provider, self._copy.key) if self._copy and stores_compiled(provider) else None
        return provider_options(provider, cache=cache, cuda_graph=self._cuda_graph)


def _session_options(threads: int | None, provider: str) -> ort.SessionOptions:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or available_cpus()
    options.inter_op_num_threads = 1  # both graphs are a chain of operators
    options.use_deterministic_compute = True
    options.log_severity_level = _FATAL_ONLY
    # A memory block planned for each shape saves no measurable time on the CPU and holds the memory of all activations
    # a second time; DirectML does not support it.
    options.enable_mem_pattern = provider not in (CPU, DIRECTML)
    if tuple(int(part) for part in ort.__version__.split(".")[:2]) >= _SPIN_LIMIT_SINCE:
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(SPIN_US))
    else:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _write_optimised(options: ort.SessionOptions, folder: Path) -> None:
    """Make loading write the optimised graph, its larger weights, and these weights packed."""
    options.optimized_model_filepath = str(folder / GRAPH)
    for key, value in {
        "session.optimized_model_external_initializers_file_name": DATA,
        "session.optimized_model_external_initializers_min_size_in_bytes": "1024",
        "session.save_external_prepacked_constant_initializers": "1",
    }.items():
        options.add_session_config_entry(key, value)


def _return_freed_memory() -> None:
    """Return freed memory to the system: glibc retains blocks below 32 MiB, here a gigabyte of packed weights."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # not Linux, or another C library
        ctypes.CDLL(None).malloc_trim(0)


def _bad_graph(error: Exception) -> ModelError:
    import onnxruntime as ort

    return ModelError(
        f"expected a graph that ONNX Runtime {ort.__version__} can load, got {type(error).__name__}: "
        "make the bundle again, or update onnxruntime",
        code="graph_invalid",
    )
