"""A candidate as the measuring process sees it: another process that is asked one thing at a time."""

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
    from medimageinsight.bench.runners import Opening

ANSWER_S = 3600.0  # the released size on one slow core answers in minutes, also when it is compiled or exported

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# glibc gives large buffers back to the system after each layer, and each page of the next one faults: up to a quarter
# of eager PyTorch's time. ONNX Runtime has an arena of its own.
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "8589934592", "MALLOC_TRIM_THRESHOLD_": "17179869184"}
_KEEPS_MEMORY = frozenset({"tuned", "compile"})
_PYTORCH = frozenset({"eager", *_KEEPS_MEMORY})
_NEEDS = {**dict.fromkeys(_PYTORCH, ("torch",)), "plain": ("torch", "onnxscript"), "openvino": ("openvino",)}


class Candidate:
    """A worker process; use it as a context, which ends it.

        with Candidate(opening) as bundle:
            bundle.open()
            bundle.time({"batch": 8})["seconds"]

    Args:
        opening: What the worker opens.
        answer_s: Seconds after which a worker that does not answer is ended.
    """

    def __init__(self, opening: Opening, *, answer_s: float = ANSWER_S) -> None:
        self.name = opening.candidate
        self._opening = opening
        self._answer_s = answer_s
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "medimageinsight.bench.worker"],  # -P: nothing is imported from here
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("MI2_DEBUG") else subprocess.DEVNULL,
            env=_environment(opening),
        )

    def open(self) -> None:
        """Load what the candidate needs.

        Raises:
            ModelError: It cannot be loaded, or the worker ended.
        """
        self._ask({"do": "open", "opening": asdict(self._opening)})

    def time(self, case: dict[str, Any]) -> dict[str, Any]:
        """``{"seconds", "rows"}`` of one call.

        Raises:
            ModelError: The call failed, or the worker ended.
        """
        return self._ask({"do": "time", "case": case})

    def first(self, case: dict[str, Any]) -> dict[str, Any]:
        """As `time`, of a single call without one before it."""
        return self._ask({"do": "time", "case": case, "turn_s": 0.0})

    def memory(self) -> dict[str, int | None]:
        """``{"peak", "private"}`` in bytes, as `figures.Memory` has them."""
        return self._ask({"do": "memory"})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker and free its memory; it has nothing to save."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what was not sent cannot be sent any more
                    pipe.close()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send and wait; a worker that ends meanwhile closes its pipe, so there is always something to read."""
        sender, receiver = self._process.stdin, self._process.stdout
        if sender is None or receiver is None:
            raise TypeError("the worker was started without pipes")
        timer = threading.Timer(self._answer_s, self._process.kill)
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
            got = f"it said nothing for {self._answer_s:,.0f} s and was ended"
        else:
            status = self._process.wait()
            got = f"it ended with signal {-status}" if status < 0 else f"it ended with exit code {status}"
        return ModelError(
            f"expected the process of the candidate {self.name} to answer, {got}: often there is too little memory, "
            "so measure fewer baselines or smaller batches; MI2_DEBUG=1 shows what it printed",
            code="bench_worker_died",
        )


def unavailable(name: str, provider: str) -> str | None:
    """Why a baseline cannot take part; None where it can.

    Args:
        name: The baseline.
        provider: The bundle's execution provider, as ONNX Runtime spells it.
    """
    if not all(importlib.util.find_spec(module) for module in _NEEDS[name]):
        return "needs openvino: pip install openvino" if name == "openvino" else "needs the extra 'export'"
    if name == "openvino" and provider != "CPUExecutionProvider":
        return "is measured on the CPU only, the bundle runs on another device"
    if name in _PYTORCH and provider not in {"CPUExecutionProvider", "CUDAExecutionProvider"}:
        return "is measured on the CPU and CUDA only, the bundle runs on another device"
    return None


def _environment(opening: Opening) -> dict[str, str]:
    threads = dict.fromkeys(_THREAD_VARIABLES, str(opening.threads))
    keep = _KEEP_MEMORY if opening.candidate in _KEEPS_MEMORY else {}
    return {**os.environ, **threads, **keep}
