"""Resolve a store location: a folder, or ``postgresql://`` with a store's name after ``#``."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urldefrag, urlsplit

from medimageinsight.errors import InputError, StoreError, missing_extra

if TYPE_CHECKING:
    from medimageinsight.search.identity import Identity
    from medimageinsight.search.postgres_store import PostgresStore
    from medimageinsight.search.store import Store

# PostgreSQL needs no quotes for these names; 48 letters leave space for the suffixes of the tables' names.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")


def create_store(location: str | os.PathLike[str], *, identity: Identity) -> Store:
    """Create a new, empty store for the vectors of a model, see `Identity.of`.

    The location is a folder, created with its parents, for a LanceDB store; or the URL of a database, such as
    ``postgresql://user@host/database#name``, where the name distinguishes stores of one database.

    Raises:
        StoreError: ``store_exists``, ``store_not_writable``, and for a database ``store_unreachable`` or
            ``store_no_pgvector``.
        InputError: ``store_location_invalid``.
        MissingExtraError: The store needs an extra, ``search`` or ``postgres``.
    """
    database = _parse_database(location)
    if database is not None:
        return _postgres_store().create(*database, identity)
    from medimageinsight.search.lance_store import LanceStore

    return LanceStore.create(_resolve_folder(location), identity)


def open_store(location: str | os.PathLike[str], *, identity: Identity | None = None) -> Store:
    """Open an existing store, and check its model and preprocessing if an identity is given.

    Raises:
        StoreError: ``store_not_found``, ``store_too_new``, ``store_invalid``, ``store_unreachable``.
        InputError: ``store_other_model``, ``store_other_preprocessing``, ``store_location_invalid``.
        MissingExtraError: As in `create_store`.
    """
    database = _parse_database(location)
    store: Store
    if database is not None:
        store = _postgres_store().open(*database)
    else:
        from medimageinsight.search.lance_store import LanceStore

        store = LanceStore.open(_resolve_folder(location))
    if identity is not None:
        try:
            store.identity.check_model(identity)
            store.identity.check_preprocessing(identity)
        except InputError:
            store.close()
            raise
    return store


def open_or_create_store(location: str | os.PathLike[str], *, identity: Identity) -> Store:
    """Open the store, or create it if it does not exist; errors are those of `open_store` and `create_store`."""
    for attempt in (open_store, create_store, open_store):  # another process may create it in between
        try:
            return attempt(location, identity=identity)
        except StoreError as error:
            if (attempt, error.code) not in ((open_store, "store_not_found"), (create_store, "store_exists")):
                raise
            last = error
    raise last


def parse_named_location(text: str) -> tuple[str, str]:
    """Return name and location of ``NAME=LOCATION``, or of a location, whose last part is its name.

    parse_named_location("chest=stores/1")                      # ("chest", "stores/1")
    parse_named_location("postgresql://host/images#chest")      # ("chest", "postgresql://host/images#chest")
    """
    name, separator, location = text.partition("=")
    if separator and name and not set("/:\\") & set(name):  # a URL may have = in its parameters
        return name, location
    _, separator, fragment = text.rpartition("#")
    return (fragment if separator else Path(text).name), text


def redact_location(location: str | os.PathLike[str]) -> str:
    """Return a location for display: a URL without user, password and parameters."""
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


def _postgres_store() -> type[PostgresStore]:
    try:
        from medimageinsight.search.postgres_store import PostgresStore
    except ImportError as error:
        raise missing_extra("postgres", "a store in PostgreSQL") from error
    return PostgresStore


def _parse_database(location: str | os.PathLike[str]) -> tuple[str, str] | None:
    """Return URL and name of a store in a database, None for a folder."""
    text = os.fspath(location)
    scheme, separator, _ = text.partition("://")
    if not separator:
        return None
    if scheme not in ("postgresql", "postgres"):
        shown = f"{scheme}://" if scheme.isalnum() and len(scheme) <= 10 else "a URL of another scheme"
        raise InputError(
            f"expected a store to be a folder or postgresql://..., got {shown}: choose one of them",
            code="store_location_invalid",
        )
    url, name = urldefrag(text)
    name = name or "mi2"
    if not _NAME.fullmatch(name):
        raise InputError(
            "expected a store's name after # of a small letter and up to 47 small letters, digits and _, "
            f"got a name of {len(name)} characters that is not: rename it",
            code="store_location_invalid",
        )
    return url, name


def _resolve_folder(location: str | os.PathLike[str]) -> Path:
    if not os.fspath(location):
        raise InputError("expected a folder for the store, got an empty name", code="store_location_invalid")
    return Path(location).absolute()
