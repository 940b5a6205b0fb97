"""The stores and taggers of a server, opened when it starts, each with the model that made its embeddings."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from medimageinsight import search
from medimageinsight.bundle import ModelIdentity
from medimageinsight.errors import InputError, StoreError
from medimageinsight.preprocess import Preprocessing, Steps
from medimageinsight.serve.rejection import Rejection, overloaded
from medimageinsight.tagging import load_tagger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from medimageinsight.search import Projection, Store
    from medimageinsight.serve.models import ServedModel
    from medimageinsight.serve.settings import ServerSettings
    from medimageinsight.tagging import Tagger

_T = TypeVar("_T")

THREADS = 4  # concurrent calls of stores, which read disks and databases
MAX_PENDING_CALLS = 256  # above this, a request gets 429
MAX_CACHED_MAPS = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class ServedStore:
    """A store, and the model that made its embeddings."""

    name: str
    store: Store
    served: ServedModel


@dataclass(frozen=True, kw_only=True, eq=False)
class ServedTagger:
    """A tagger, its model and its preprocessing."""

    name: str
    tagger: Tagger
    served: ServedModel
    preprocessing: Preprocessing


class ServedStores:
    """All stores and taggers of a server.

    Args:
        settings: The server's options.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.folders = tuple(Path(folder) for folder in settings.image_folders)
        self._settings = settings
        self._stores: dict[str, ServedStore] = {}
        self._taggers: dict[str, ServedTagger] = {}
        self._loaded = False
        self._calls = ThreadPoolExecutor(THREADS, "mi2-store")
        self._pending_calls = 0
        self._maps_lock = threading.Lock()
        self._maps: dict[tuple[str, int], tuple[int, Projection]] = {}  # with the store's count when it was computed

    def load(self, models: list[ServedModel]) -> None:
        """Open all stores and taggers.

        Raises:
            InputError: An image folder does not exist (``folder_not_found``), two stores or taggers have the same name
                (``names_equal``), or no served model made a store's embeddings (``store_other_model``).
            MedImageInsightError: A store or a tagger cannot be opened, or a tagger belongs to another model.
        """
        for number, folder in enumerate(self.folders, 1):
            if not folder.is_dir():
                got = "a file" if folder.exists() else "a path that does not exist"
                raise InputError(
                    f"expected folders as --image-folders, got {got} (number {number})", code="folder_not_found"
                )
        for name, location in _distinct(map(search.parse_named_location, self._settings.store)):
            store = search.open_store(location)
            self._stores[name] = ServedStore(name=name, store=store, served=_model_of_store(store, models))
        for name, file in _distinct((Path(file).stem, Path(file)) for file in self._settings.tagger):
            self._taggers[name] = _served_tagger(name, load_tagger(file), models)
        self._loaded = True

    def check_open(self) -> None:
        """Refuse requests until all stores and taggers are open.

        Raises:
            Rejection: 503.
        """
        if not self._loaded:
            raise Rejection(
                503, "expected open stores, they are being opened: try again", code="stores_opening", retry_after_s=1
            )

    def get(self, name: str) -> ServedStore:
        """Return the store of a name.

        Raises:
            Rejection: 404 for an unknown name, 503 while stores are opened.
        """
        return self._find(self._stores, name, "store", "store_not_found")

    def tagger(self, name: str) -> ServedTagger:
        """Return the tagger of a name.

        Raises:
            Rejection: 404 for an unknown name, 503 while taggers are read.
        """
        return self._find(self._taggers, name, "tagger", "tagger_not_found")

    def _find(self, named: dict[str, _T], name: str, kind: str, code: str) -> _T:
        self.check_open()
        if name not in named:
            raise Rejection(404, f"expected the name of a {kind} of this server, got an unknown one", code=code)
        return named[name]

    def all(self) -> list[ServedStore]:
        """Return every store."""
        return list(self._stores.values())

    def taggers(self) -> list[ServedTagger]:
        """Return every tagger."""
        return list(self._taggers.values())

    async def run(self, function: Callable[[], _T]) -> _T:
        """Call a function that uses a store in a thread and return its result.

        Raises:
            Rejection: 429 if too many calls wait, 503 for an unreachable store, 500 for an unreadable one.
            InputError: An error of the call.
        """
        if self._pending_calls >= MAX_PENDING_CALLS:
            raise overloaded(
                f"expected fewer than {MAX_PENDING_CALLS} waiting searches, got {self._pending_calls}",
                code="stores_busy",
            )
        self._pending_calls += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._calls, function)
        except StoreError as error:
            status = 503 if error.code == "store_unreachable" else 500
            raise Rejection(
                status, error.message, code=error.code, retry_after_s=5 if status == 503 else None
            ) from None
        finally:
            self._pending_calls -= 1

    def projection(self, served: ServedStore, limit: int) -> Projection:
        """Return the map of a store, cached until images are added or deleted.

        An image that is replaced under its id keeps its position until then, since a store does not report it.

        Raises:
            InputError: ``limit_invalid``, ``store_empty``.
            StoreError: The store cannot be read.
        """
        key, count = (served.name, limit), served.store.count()
        with self._maps_lock:
            cached = self._maps.get(key)
        if cached is None or cached[0] != count or len(served.store.existing(cached[1].ids)) < len(cached[1].ids):
            cached = (count, search.Projection.of(served.store, limit=limit))
            with self._maps_lock:
                self._maps[key] = cached
                while len(self._maps) > MAX_CACHED_MAPS:
                    self._maps.pop(next(iter(self._maps)))
        return cached[1]

    def close(self) -> None:
        """Close every store."""
        self._calls.shutdown(wait=True, cancel_futures=True)
        for served in self._stores.values():
            served.store.close()


def _distinct(named: Iterable[tuple[str, _T]]) -> list[tuple[str, _T]]:
    pairs = list(named)
    if len({name for name, _ in pairs}) < len(pairs):
        raise InputError(
            "expected stores and taggers of different names, got two of the same: name stores NAME=...",
            code="names_equal",
        )
    return pairs


def _model_of_store(store: Store, models: list[ServedModel]) -> ServedModel:
    encoder = store.identity.image_encoder
    served = _with_encoder(encoder, models)
    store.identity.check_model(search.Identity.of(served.model))
    return served


def _served_tagger(name: str, tagger: Tagger, models: list[ServedModel]) -> ServedTagger:
    served = _with_encoder(tagger.model.image_encoder, models)
    settings = served.model.preprocessing
    steps: Any = tagger.model.preprocessing.get("default")
    window: Any = tagger.model.preprocessing.get("window")
    if steps in get_args(Steps):  # other values are refused by the check below
        settings = dataclasses.replace(settings, default=steps, window=window)
    tagger.model.check(ModelIdentity.of(served.model.manifest, settings), texts=tagger.adapter is None)
    return ServedTagger(name=name, tagger=tagger, served=served, preprocessing=settings)


def _with_encoder(checksums: dict[str, str], models: list[ServedModel]) -> ServedModel:
    """Return the model with this image encoder, or the first model, which the error then names."""
    return next((served for served in models if search.Identity.of(served.model).image_encoder == checksums), models[0])
