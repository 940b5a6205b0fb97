"""The life of a server: its models load while it already answers 503, and SIGTERM drains it."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import threading
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from uvicorn.config import STARTUP_FAILURE

from medimageinsight.errors import MedImageInsightError
from medimageinsight.serve.open_inference.grpc_port import grpc_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from fastapi import FastAPI

    from medimageinsight.serve.authentication import Authentication
    from medimageinsight.serve.routes.state import ServerState

logger = logging.getLogger("medimageinsight.serve")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load the models in the background while the block runs, and close them at its end."""
    state: ServerState = app.state.server
    loading = asyncio.create_task(_load(state))
    with state.tracing.running(), _draining_on_sigterm(state), _reloading_on_sighup(app.state.authentication):
        async with grpc_server(state, app.state.authentication):
            yield
    loading.cancel()
    with suppress(asyncio.CancelledError):
        await loading
    await asyncio.to_thread(state.stores.close)
    await asyncio.to_thread(state.models.close)
    state.workers.shutdown()


async def _load(state: ServerState) -> None:
    try:
        await state.models.load()
        await asyncio.to_thread(state.stores.load, state.models.all())
    except Exception as error:
        cause = f"{error.code}: {error.message}" if isinstance(error, MedImageInsightError) else type(error).__name__
        logger.critical("a model, a store or a tagger cannot be loaded", extra={"error": cause})
        # The server is of no use; nothing is in work, and the exit status reports it, also to a worker's parent.
        os._exit(1 if multiprocessing.parent_process() is None else STARTUP_FAILURE)
    logger.info("ready", extra={"models": [served.name for served in state.models.all()]})


@contextmanager
def _draining_on_sigterm(state: ServerState) -> Iterator[None]:
    """While the block runs, let SIGTERM first make the server refuse new work, then stop it as before."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread alone; a server in another thread is stopped by its own program
        return
    loop = asyncio.get_running_loop()
    previous: Any = signal.getsignal(signal.SIGTERM)

    def drain(number: int, frame: Any) -> None:  # noqa: ANN401 - a frame
        state.models.draining = True
        logger.info("draining")
        if not callable(previous):
            return
        if state.settings.drain_delay_s:
            loop.call_soon_threadsafe(loop.call_later, state.settings.drain_delay_s, previous, number, frame)
        else:
            previous(number, frame)

    signal.signal(signal.SIGTERM, drain)
    try:
        yield
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)


@contextmanager
def _reloading_on_sighup(authentication: Authentication) -> Iterator[None]:
    """While the block runs, let SIGHUP read the keys again; without keys, it does nothing."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGHUP"):
        yield
        return
    loop = asyncio.get_running_loop()

    def reload() -> None:
        authentication.reload()
        required = authentication.is_required
        logger.info("keys were read again" if required else "SIGHUP: there are no keys to read again")

    loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # requests in progress are still being answered
