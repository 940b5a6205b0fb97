"""Several processes on one port: one that dies is replaced, and one that cannot start ends the server."""

from __future__ import annotations

import logging
import os
import signal
from typing import TYPE_CHECKING

from prometheus_client.multiprocess import mark_process_dead
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

if TYPE_CHECKING:
    import socket

    from medimageinsight.serve.timed_http import ServerConfig

logger = logging.getLogger("medimageinsight.serve")


class Supervisor(Multiprocess):
    """uvicorn's supervisor of worker processes, with this server's rules.

    A first worker that cannot open its models, stores or keys ends the server, since the next one could not either.
    Later ones are tried again: the others still serve. SIGHUP makes workers read their keys again, and ends none.

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
            if process.is_alive(timeout=self.config.timeout_worker_healthcheck):
                continue
            process.kill()
            process.join()
            mark_process_dead(process.pid, self._metrics_folder)  # type: ignore[no-untyped-call]
            if process.exitcode == STARTUP_FAILURE and process in self._first:
                self.failed = True
                self.should_exit.set()
                return
            logger.error("a worker process died and is replaced", extra={"exit_status": process.exitcode})
            self.processes[index] = Process(self.config, self.sockets)
            self.processes[index].start()

    def handle_hup(self) -> None:
        """Make workers read their keys again; those that are starting will read them anyway."""
        for process in self.processes:
            if process.pid is not None and process.is_ready(timeout=self.config.timeout_worker_healthcheck):
                os.kill(process.pid, signal.SIGHUP)
