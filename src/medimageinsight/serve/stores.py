"""The stores and taggers of one server: opened when it starts, each with the model that it belongs to."""

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

CALLS = 4  # of stores at once: they read disks and databases
WAITING = 256  # calls beyond which a request is answered 429
MAPS = 16  # that are kept


@dataclass(frozen=True, kw_only=True, eq=False)
class ServedStore:
    """A store, and the model that made its vectors."""

    name: str
    store: Store
    served: ServedModel


@dataclass(frozen=True, kw_only=True, eq=False)
class ServedTagger:
    """A tagger, its model, and how images are prepared for it."""

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
        self.folders = tuple(Path(folder) for folder in settings.pictures)
        self._settings = settings
        self._stores: dict[str, ServedStore] = {}
        self._taggers: dict[str, ServedTagger] = {}
        self._loaded = False
        self._calls = ThreadPoolExecutor(CALLS, "mi2-store")
        self._waiting = 0
        self._maps_lock = threading.Lock()
        self._maps: dict[tuple[str, int], tuple[int, Projection]] = {}  # with the count of the store at that time

    def load(self, models: list[ServedModel]) -> None:
        """Open everything.

        Raises:
            InputError: A folder of pictures is none (``folder_not_found``), two stores or taggers have one name
                (``names_equal``), or no served model made a store's vectors (``store_other_model``).
            MedImageInsightError: A store or a tagger cannot be opened, or a tagger is of another model.
        """
        if not all(folder.is_dir() for folder in self.folders):
            raise InputError("expected --pictures to be folders, got one that is none", code="folder_not_found")
        for name, location in _distinct(map(search.parse_named_location, self._settings.store)):
            store = search.open_store(location)
            self._stores[name] = ServedStore(name=name, store=store, served=_model_of_store(store, models))
        for name, file in _distinct((Path(one).stem, Path(one)) for one in self._settings.tagger):
            self._taggers[name] = _served_tagger(name, load_tagger(file), models)
        self._loaded = True

    def check_open(self) -> None:
        """Refuse work until everything is open.

        Raises:
            Rejection: 503.
        """
        if not self._loaded:
            raise Rejection(503, "expected open stores, they are being opened: try again", code="stores_opening",
                          retry_after_s=1)  # fmt: skip

    def get(self, name: str) -> ServedStore:
        """A store by its name.

        Raises:
            Rejection: 404 for an unknown name, 503 while stores are opened.
        """
        self.check_open()
        if name not in self._stores:
            raise Rejection(404, "expected the name of a store of this server, got another", code="store_not_found")
        return self._stores[name]

    def tagger(self, name: str) -> ServedTagger:
        """A tagger by its name.

        Raises:
            Rejection: 404 for an unknown name, 503 while taggers are read.
        """
        self.check_open()
        if name not in self._taggers:
            raise Rejection(404, "expected the name of a tagger of this server, got another", code="tagger_not_found")
        return self._taggers[name]

    def all(self) -> list[ServedStore]:
        """Every store."""
        return list(self._stores.values())

    def taggers(self) -> list[ServedTagger]:
        """Every tagger."""
        return list(self._taggers.values())

    async def run(self, function: Callable[[], _T]) -> _T:
        """What a call of a store gives, made in a thread.

        Raises:
            Rejection: 429 where too many wait, 503 for a store that cannot be reached, 500 for one that cannot be read.
            InputError: As the call.
        """
        if self._waiting >= WAITING:
            raise overloaded("expected a free place to search, all are taken", code="stores_busy")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._calls, function)
        except StoreError as error:
            status = 503 if error.code == "store_unreachable" else 500
            raise Rejection(
                status, error.message, code=error.code, retry_after_s=5 if status == 503 else None
            ) from None
        finally:
            self._waiting -= 1

    def projection(self, served: ServedStore, limit: int) -> Projection:
        """The map of a store, kept until images are added or deleted.

        An image that is replaced by another of its id keeps its place until then: a store does not tell.

        Raises:
            InputError: ``limit_invalid``, ``store_empty``.
            StoreError: The store cannot be read.
        """
        key, count = (served.name, limit), served.store.count()
        with self._maps_lock:
            kept = self._maps.get(key)
        if kept is None or kept[0] != count or len(served.store.existing(kept[1].ids)) < len(kept[1].ids):
            kept = (count, search.Projection.of(served.store, limit=limit))
            with self._maps_lock:
                self._maps[key] = kept
                while len(self._maps) > MAPS:
                    self._maps.pop(next(iter(self._maps)))
        return kept[1]

    def close(self) -> None:
        """Close every store."""
        self._calls.shutdown(wait=True, cancel_futures=True)
        for served in self._stores.values():
            served.store.close()


def _distinct(named: Iterable[tuple[str, _T]]) -> list[tuple[str, _T]]:
    pairs = list(named)
    if len({name for name, _ in pairs}) < len(pairs):
        raise InputError(
            "expected stores and taggers of different names, got two of one: name stores NAME=...", code="names_equal"
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
    if steps in get_args(Steps):  # else the check refuses it
        settings = dataclasses.replace(settings, default=steps)
    tagger.model.check(ModelIdentity.of(served.model.manifest, settings), texts=tagger.adapter is None)
    return ServedTagger(name=name, tagger=tagger, served=served, preprocessing=settings)


def _with_encoder(checksums: dict[str, str], models: list[ServedModel]) -> ServedModel:
    """The model with this image encoder; the first where none has it, for the error to name."""
    return next((one for one in models if search.Identity.of(one.model).image_encoder == checksums), models[0])
