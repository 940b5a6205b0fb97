"""Several processes on one port: one that dies is replaced, and one that cannot start ends the server."""

from __future__ import annotations

import logging
import os
import signal
import time
from typing import TYPE_CHECKING

from prometheus_client.multiprocess import mark_process_dead
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

if TYPE_CHECKING:
    import socket

    from medimageinsight.serve.timed_http import ServerConfig

MAX_WAIT_S = 60.0  # between attempts to start a worker

logger = logging.getLogger("medimageinsight.serve")


class Supervisor(Multiprocess):
    """uvicorn's supervisor of worker processes, with this server's rules.

    A first worker that cannot open its models, stores or keys ends the server, since the next one could not either.
    Later ones are tried again, each time after a longer while, as long as others run. SIGHUP makes workers read their
    keys again, and ends none.

    Args:
        config: uvicorn's settings; the application is the path of a factory.
        sockets: Listening sockets.
        metrics_folder: Where workers leave the values of their metrics.
    """

    def __init__(self, config: ServerConfig, sockets: list[socket.socket], *, metrics_folder: str) -> None:
        super().__init__(config, sockets)
        self.failed = False
        self._metrics_folder = metrics_folder
        self._first: tuple[Process, ...] = ()
        self._failures: dict[int, int] = {}  # of workers that could not start since they last ran
        self._start_at: dict[int, float] = {}  # of workers that wait for it, of time.monotonic

    def init_processes(self) -> None:
        """Start the first workers."""
        super().init_processes()
        self._first = tuple(self.processes)

    def terminate_all(self) -> None:
        """Stop listening, since nothing would accept new connections, and end the workers."""
        for listener in self.sockets:
            listener.close()
        super().terminate_all()

    def keep_subprocess_alive(self) -> None:
        """Replace workers that have died or do not respond."""
        for index, process in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            if index in self._start_at:
                if time.monotonic() >= self._start_at[index]:
                    self._start(index)
            elif not process.is_alive(timeout=self.config.timeout_worker_healthcheck):
                self._replace(index, process)

    def _replace(self, index: int, process: Process) -> None:
        process.kill()
        process.join()
        mark_process_dead(process.pid, self._metrics_folder)  # type: ignore[no-untyped-call]
        if process.exitcode != STARTUP_FAILURE:
            logger.error("a worker process died and is replaced", extra={"exit_status": process.exitcode})
            self._failures.pop(index, None)
            self._start(index)
            return
        self._failures[index] = self._failures.get(index, 0) + 1
        if process in self._first or len(self._start_at) == len(self.processes) - 1:  # no other one runs
            logger.critical("no worker process can start")
            self.failed = True
            self.should_exit.set()
            return
        wait_s = min(2.0 ** self._failures[index], MAX_WAIT_S)
        logger.error("a worker process cannot start, and is tried again", extra={"seconds": wait_s})
        self._start_at[index] = time.monotonic() + wait_s

    def _start(self, index: int) -> None:
        self._start_at.pop(index, None)
        self.processes[index] = Process(self.config, self.sockets)
        self.processes[index].start()

    def handle_hup(self) -> None:
        """Make workers read their keys again; those that are starting will read them anyway."""
        for index, process in enumerate(self.processes):
            if (
                index not in self._start_at
                and process.pid is not None
                and process.is_ready(timeout=self.config.timeout_worker_healthcheck)
            ):
                os.kill(process.pid, signal.SIGHUP)
