"""Which store a location names: a folder, or ``postgresql://`` with a name after ``#``."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urldefrag, urlsplit

from medimageinsight.errors import InputError, StoreError, missing_extra

if TYPE_CHECKING:
    from medimageinsight.search.identity import Identity
    from medimageinsight.search.store import Store

DEFAULT_NAME = "mi2"
_SCHEMES = ("postgresql", "postgres")
# What PostgreSQL needs no quotes for; 48 letters leave room for the endings of the tables' names.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")


def create_store(location: str | os.PathLike[str], *, identity: Identity) -> Store:
    """Make a new, empty store.

    Args:
        location: A folder, made with its parents, for a store of LanceDB; or the URL of a database, as
            ``postgresql://user@host/database#name``, where a name tells several stores apart.
        identity: What will make the vectors, see `Identity.of`.

    Raises:
        StoreError: ``store_exists``, ``store_not_writable``, and for a database ``store_unreachable`` or
            ``store_no_pgvector``.
        InputError: ``store_location_invalid``.
        MissingExtraError: The kind of store needs an extra, ``search`` or ``postgres``.
    """
    database = _database(location)
    if database is None:
        from medimageinsight.search.lance import LanceStore

        return LanceStore.create(_folder(location), identity)
    try:
        from medimageinsight.search.postgres import PostgresStore
    except ImportError as error:
        raise missing_extra("postgres", "a store in PostgreSQL") from error
    return PostgresStore.create(*database, identity)


def open_store(location: str | os.PathLike[str], *, identity: Identity | None = None) -> Store:
    """Open a store that is there.

    Args:
        location: As in `create_store`.
        identity: What the vectors have to be made by, where that matters.

    Raises:
        StoreError: ``store_not_found``, ``store_too_new``, ``store_invalid``, ``store_unreachable``.
        InputError: ``store_other_model``, ``store_other_preprocessing``, ``store_location_invalid``.
        MissingExtraError: As in `create_store`.
    """
    database = _database(location)
    store: Store
    if database is None:
        from medimageinsight.search.lance import LanceStore

        store = LanceStore.open(_folder(location))
    else:
        try:
            from medimageinsight.search.postgres import PostgresStore
        except ImportError as error:
            raise missing_extra("postgres", "a store in PostgreSQL") from error
        store = PostgresStore.open(*database)
    if identity is not None:
        try:
            store.identity.check_model(identity)
            store.identity.check_preprocessing(identity)
        except InputError:
            store.close()
            raise
    return store


def open_or_create_store(location: str | os.PathLike[str], *, identity: Identity) -> Store:
    """Open the store, or make it where there is none; errors are those of the two."""
    try:
        return open_store(location, identity=identity)
    except StoreError as error:
        if error.code != "store_not_found":
            raise
    return create_store(location, identity=identity)


def named_location(given: str) -> tuple[str, str]:
    """Name and location of ``NAME=LOCATION``, or of a location, whose last part is its name.

    named_location("chest=stores/1")                          # ("chest", "stores/1")
    named_location("postgresql://host/images#chest")          # ("chest", "postgresql://host/images#chest")
    """
    name, separator, location = given.partition("=")
    if separator and name and not set("/:\\") & set(name):  # a URL may have = in its parameters
        return name, location
    _, separator, fragment = given.rpartition("#")
    return (fragment if separator else Path(given).name), given


def shown_location(location: str | os.PathLike[str]) -> str:
    """A location for people: a URL loses its password and its parameters."""
    text = os.fspath(location)
    if "://" not in text:
        return text
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "the database"
    name = f"#{parts.fragment}" if parts.fragment else ""
    return f"{parts.scheme}://{host}{port}{parts.path}{name}"


def _database(location: str | os.PathLike[str]) -> tuple[str, str] | None:
    """URL and name of a store in a database, None for a folder."""
    text = os.fspath(location)
    scheme, separator, _ = text.partition("://")
    if not separator:
        return None
    if scheme not in _SCHEMES:
        raise InputError(
            "expected a store to be a folder or postgresql://..., got another URL: choose one of them",
            code="store_location_invalid",
        )
    url, name = urldefrag(text)
    if not _NAME.fullmatch(name or DEFAULT_NAME):
        raise InputError(
            "expected a store's name after # of up to 48 small letters, digits and _, got another: rename it",
            code="store_location_invalid",
        )
    return url, name or DEFAULT_NAME


def _folder(location: str | os.PathLike[str]) -> Path:
    if not os.fspath(location):
        raise InputError("expected a folder for the store, got an empty name", code="store_location_invalid")
    return Path(location).absolute()
