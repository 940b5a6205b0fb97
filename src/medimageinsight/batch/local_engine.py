"""The engine of one machine: worker processes that load the model once."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import asdict
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from medimageinsight.batch.engine import (
    MAX_DEATHS,
    Engine,
    ModelSettings,
    PartDone,
    PartRunning,
    WorkerDied,
    WorkerFailedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from medimageinsight.batch.engine import PartEvent
    from medimageinsight.batch.plan import Part


class LocalEngine(Engine):
    """Runs parts in processes of this machine; one uses all its cores.

    Args:
        workers: Number of processes; several are worth it where a device waits for the decoding of images.
    """

    def __init__(self, workers: int = 1) -> None:
        self._workers = max(1, workers)

    def run(self, parts: Iterable[Part], settings: ModelSettings, report: Callable[[PartEvent], None]) -> None:
        """Embed all parts, see `Engine.run`."""
        queue: SimpleQueue[PartEvent | BaseException | None] = SimpleQueue()
        work = _Work(iter(parts))
        threads = [_WorkerThread(work, settings, queue.put) for _ in range(self._workers)]
        running = len(threads)
        for thread in threads:
            thread.start()
        try:
            while running:
                event = queue.get()
                if event is None:
                    running -= 1
                elif isinstance(event, BaseException):
                    raise event
                else:
                    report(event)
        finally:
            work.stop()
            for thread in threads:
                thread.kill()
            for thread in threads:
                thread.join()


class _Work:
    """Hands out parts to threads; those whose worker ended come last, so that the others are done."""

    def __init__(self, parts: Iterator[Part]) -> None:
        self._parts = parts
        self._again: list[Part] = []
        self._deaths: Counter[int] = Counter()
        self._stopped = False
        self._lock = threading.Lock()

    def take(self) -> Part | None:
        with self._lock:
            if self._stopped:
                return None
            part = next(self._parts, None)
            return part if part is not None or not self._again else self._again.pop(0)

    def died(self, part: Part) -> int:
        with self._lock:
            self._deaths[part.index] += 1
            if self._deaths[part.index] < MAX_DEATHS:
                self._again.append(part)
            return self._deaths[part.index]

    def stop(self) -> None:
        with self._lock:
            self._stopped = True

    @property
    def stopped(self) -> bool:
        return self._stopped


class _WorkerThread(threading.Thread):
    """Feeds one worker process, and starts another when it ends."""

    def __init__(
        self, work: _Work, settings: ModelSettings, put: Callable[[PartEvent | BaseException | None], None]
    ) -> None:
        super().__init__(name="mi2-batch", daemon=True)
        self._work = work
        self._settings = settings
        self._put = put
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._unready = 0  # processes in a row that ended before they had the model

    def run(self) -> None:
        try:
            while (part := self._work.take()) is not None:
                while not (self._embed(part) or self._work.stopped):
                    pass
        except BaseException as error:
            self._put(error)
        finally:
            self.kill()
            self._put(None)

    def kill(self) -> None:
        """End the process; its part is not written, or already whole."""
        with self._lock:
            if self._process is not None:
                self._process.kill()
                for stream in (self._process.stdin, self._process.stdout):
                    if stream is not None and threading.current_thread() is self:
                        _close(stream)
                self._process.wait()

    def _embed(self, part: Part) -> bool:
        """Send a part, and report its events until it is done or the process has ended; False if it never began."""
        process = self._start()
        if process.stdin is None or process.stdout is None:
            return False
        try:
            process.stdin.write(json.dumps(asdict(part)) + "\n")
            process.stdin.flush()
            lines: Iterable[str] = process.stdout
        except OSError:
            lines = ()
        for line in lines:
            event = json.loads(line)
            if "failed" in event:
                raise WorkerFailedError(event["failed"]["message"], code=event["failed"]["code"])
            if "ready" in event:
                self._unready = -1
            elif "done" in event:
                self._put(PartDone(part=part, rows=event["done"], errors=event["errors"]))
                return True
            else:
                self._put(PartRunning(part=part, rows=event["running"], errors=event["errors"]))
        process.wait()
        if self._work.stopped:
            return True
        if self._unready >= 0:  # it ended before it had the model, which no part is the reason of
            self._unready += 1
            if self._unready >= MAX_DEATHS:
                raise WorkerFailedError(
                    f"expected a worker process that starts, got {MAX_DEATHS} that ended while they loaded the model: "
                    "check the memory of the machine",
                    code="batch_worker_failed",
                )
            return False
        self._put(WorkerDied(part=part, deaths=self._work.died(part)))
        return True

    def _start(self) -> subprocess.Popen[str]:
        """Return the running process, or a new one."""
        with self._lock:
            if self._process is not None:
                if self._process.poll() is None:
                    return self._process
                _close(self._process.stdin)
                _close(self._process.stdout)
            self._unready = max(self._unready, 0)
            options: dict[str, Any] = {} if sys.platform == "win32" else {"start_new_session": True}  # not for Ctrl-C
            self._process = subprocess.Popen(
                [sys.executable, "-m", "medimageinsight.batch.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                **options,
            )
            if self._process.stdin is not None:
                self._process.stdin.write(json.dumps(self._settings.to_dict()) + "\n")
            return self._process


def _close(stream: Any) -> None:  # noqa: ANN401 - a pipe
    try:
        stream.close()
    except OSError:  # what was not sent yet
        return
