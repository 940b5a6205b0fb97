"""A candidate in a process of its own, which answers one request at a time."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Self

from medimageinsight.errors import ModelError

if TYPE_CHECKING:
    from medimageinsight.bench.runners import CandidateConfig

TIMEOUT_S = 3600.0  # the released size on one slow core answers in minutes, also when it is compiled or exported

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# glibc returns large buffers to the system after each layer, and each page of the next one faults: up to a quarter of
# eager PyTorch's time. ONNX Runtime has an arena of its own.
_RETAIN_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "8589934592", "MALLOC_TRIM_THRESHOLD_": "17179869184"}
_RETAINING = frozenset({"tuned", "compile"})
_PYTORCH = frozenset({"eager", *_RETAINING})
_NEEDS = {**dict.fromkeys(_PYTORCH, ("torch",)), "plain": ("torch", "onnxscript"), "openvino": ("openvino",)}


class Candidate:
    """A worker process; a context manager ends it.

        with Candidate(config) as bundle:
            bundle.open()
            bundle.time({"batch": 8})["seconds"]

    A worker that does not answer within `timeout_s` seconds is ended.
    """

    def __init__(self, config: CandidateConfig, *, timeout_s: float = TIMEOUT_S) -> None:
        self.name = config.candidate
        self._config = config
        self._timeout_s = timeout_s
        threads = dict.fromkeys(_THREAD_VARIABLES, str(config.threads))
        allocator = _RETAIN_MEMORY if config.candidate in _RETAINING else {}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "medimageinsight.bench.worker"],  # -P: not from the current folder
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("MI2_DEBUG") else subprocess.DEVNULL,
            env={**os.environ, **threads, **allocator},
        )

    def open(self) -> None:
        """Load the candidate.

        Raises:
            ModelError: It cannot be loaded, or the worker ended.
        """
        self._request({"do": "open", "config": asdict(self._config)})

    def time(self, case: dict[str, Any]) -> dict[str, Any]:
        """Return ``{"seconds", "rows"}`` of one call, the median of several short ones.

        Raises:
            ModelError: The call failed, or the worker ended.
        """
        return self._request({"do": "time", "case": case})

    def time_once(self, case: dict[str, Any]) -> dict[str, Any]:
        """Return `time` of exactly one call."""
        return self._request({"do": "time", "case": case, "sample_s": 0.0})

    def memory(self) -> dict[str, int | None]:
        """Return ``{"peak", "private"}`` in bytes, as in `results.Memory`."""
        return self._request({"do": "memory"})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker and free its memory."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # unsent data cannot be flushed any more
                    pipe.close()

    def _request(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and wait for the answer; reading ends if the worker does, which closes its pipe."""
        sender, receiver = self._process.stdin, self._process.stdout
        if sender is None or receiver is None:
            raise TypeError("the worker was started without pipes")
        timer = threading.Timer(self._timeout_s, self._process.kill)
        timer.start()
        try:
            sender.write(json.dumps(request).encode() + b"\n")
            sender.flush()
            line = receiver.readline()
        except OSError:  # the pipe is closed already
            line = b""
        finally:
            late = not timer.is_alive()
            timer.cancel()
        if not line.endswith(b"\n"):
            raise self._died(late=late)
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            error = answer["error"]
            raise ModelError(f"{self.name}: {error['message']}", code=error["code"])
        return answer

    def _died(self, *, late: bool) -> ModelError:
        if late:
            got = f"it was silent for {self._timeout_s:,.0f} s and was ended"
        else:
            status = self._process.wait()
            got = f"it ended with signal {-status}" if status < 0 else f"it ended with exit code {status}"
        return ModelError(
            f"expected the process of the candidate {self.name} to answer, {got}: often there is too little memory, "
            "so measure fewer baselines or smaller batches; MI2_DEBUG=1 shows its output",
            code="bench_worker_died",
        )


def unavailable_reason(name: str, provider: str) -> str | None:
    """Return why a baseline cannot be measured with an execution provider of ONNX Runtime, None if it can."""
    if not all(importlib.util.find_spec(module) for module in _NEEDS[name]):
        return "needs openvino: pip install openvino" if name == "openvino" else "needs the extra 'export'"
    if name == "openvino" and provider != "CPUExecutionProvider":
        return "is measured on the CPU only, the bundle runs on another device"
    if name in _PYTORCH and provider not in {"CPUExecutionProvider", "CUDAExecutionProvider"}:
        return "is measured on the CPU and CUDA only, the bundle runs on another device"
    return None
