"""One ONNX graph in one ONNX Runtime session: which device, how many threads, and errors that can be told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.engine.cpus import available_cpus
from medimageinsight.errors import InputError, ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import onnxruntime as ort
    from numpy.typing import NDArray

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"

# TF32 keeps 10 of float32's 23 bits; the search for the fastest convolution may choose another one each time.
_OPTIONS: dict[str, dict[str, str]] = {CUDA: {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}}
_FATAL_ONLY = 4  # ONNX Runtime's log level; what it raises is reported, what it logs holds paths


class Session:
    """A loaded graph. Calls from many threads at once are fine.

    Args:
        path: The ``.onnx`` file; data beside it is mapped into memory, not read.
        providers: As `choose_providers` takes them.
        threads: CPU threads of one call; all cores the process may use when not given.

    Raises:
        InputError: A provider is unknown.
        ModelError: The graph cannot be loaded (``graph_invalid``), or not on the provider that was asked for
            (``provider_unavailable``).
    """

    def __init__(self, path: Path, *, providers: Sequence[str] | None = None, threads: int | None = None) -> None:
        import onnxruntime as ort

        chosen = choose_providers(providers)
        options = _session_options(threads)
        try:
            self._session = ort.InferenceSession(
                str(path), options, providers=[(name, _OPTIONS.get(name, {})) for name in chosen]
            )
        except Exception as error:  # ONNX Runtime's exceptions have no common base, and their messages hold paths
            raise ModelError(
                f"expected a graph that ONNX Runtime {ort.__version__} can load, it refused ({type(error).__name__}): "
                "make the bundle again, or update onnxruntime",
                code="graph_invalid",
            ) from error
        self._check_provider(chosen[0])
        self.inputs: dict[str, list[int | str | None]] = {one.name: one.shape for one in self._session.get_inputs()}
        self.outputs: dict[str, list[int | str | None]] = {one.name: one.shape for one in self._session.get_outputs()}

    @property
    def providers(self) -> list[str]:
        """The providers in use, the preferred one first."""
        return list(self._session.get_providers())

    def run(self, output: str, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """One output of the graph for a batch, (N, D) float32.

        Raises:
            ModelError: ONNX Runtime failed (``inference_failed``), or its result is not finite
                (``inference_not_finite``).
        """
        try:
            result = self._session.run([output], dict(inputs))[0]
        except Exception as error:
            raise ModelError(
                f"expected the network to run, ONNX Runtime failed ({type(error).__name__}): "
                "try a smaller batch; if it stays, check the bundle with mi2 verify",
                code="inference_failed",
            ) from error
        if not np.isfinite(result).all():
            raise ModelError(
                "expected finite embeddings, the network gave others: check the bundle with mi2 verify",
                code="inference_not_finite",
            )
        return np.asarray(result, dtype=np.float32)

    def _check_provider(self, wanted: str) -> None:
        """ONNX Runtime falls back to the CPU with no more than a log line where a device's libraries are missing."""
        if wanted not in self.providers:
            raise ModelError(
                f"expected to run on {wanted}, it could not be started: check its drivers and libraries, "
                "or choose the provider cpu",
                code="provider_unavailable",
            )


def choose_providers(requested: Sequence[str] | None = None) -> list[str]:
    """ONNX Runtime's execution providers in order of preference, the CPU last.

    Args:
        requested: Names such as ``cuda`` or ``CUDAExecutionProvider``. When not given: CUDA where this ONNX Runtime has
            it, else the CPU.

    Raises:
        InputError: A name is not among those this ONNX Runtime has (``provider_unknown``).
    """
    import onnxruntime as ort

    available = ort.get_available_providers()
    if requested is None:
        return [name for name in (CUDA, CPU) if name in available]
    names = [requested] if isinstance(requested, str) else requested
    by_short_name = {_short(name): name for name in available}
    unknown = [name for name in names if _short(name) not in by_short_name]
    if unknown or not names:
        raise InputError(
            f"expected providers among {', '.join(by_short_name)}, got {', '.join(unknown) or 'none'}: "
            "another device needs another build of onnxruntime",
            code="provider_unknown",
        )
    return list(dict.fromkeys([*(by_short_name[_short(name)] for name in names), CPU]))


def _short(provider: str) -> str:
    """``CUDAExecutionProvider`` to ``cuda``."""
    return provider.lower().removesuffix("executionprovider")


def _session_options(threads: int | None) -> ort.SessionOptions:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or available_cpus()
    options.inter_op_num_threads = 1  # both graphs are one chain
    options.use_deterministic_compute = True
    options.log_severity_level = _FATAL_ONLY
    # Waiting threads would otherwise spin, and take the cores on which the next images are being decoded.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options
