"""Where a batch writes: files that appear whole or not at all, and never replace one that is there."""

from __future__ import annotations

import os
import secrets
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.batch.locations import list_objects, local_path, open_bucket, split_uri, store_failed
from medimageinsight.errors import InputError
from medimageinsight.files.atomic import flush, replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Storage(ABC):
    """A folder of files with plain names, on a disk or in an object store."""

    @abstractmethod
    def create(self, name: str, data: bytes) -> bool:
        """Write a file in one step; return False, and write nothing, if there is one of this name."""

    @abstractmethod
    def replace(self, name: str, chunks: Iterable[bytes]) -> None:
        """Write a file of any length; it appears, or replaces an earlier one, when it is complete."""

    @abstractmethod
    def read(self, name: str, *, limit: int) -> bytes | None:
        """Return the content of a file, or None if there is none.

        Raises:
            InputError: It has more than `limit` bytes (``batch_file_too_large``).
        """

    @abstractmethod
    def names(self, folder: str) -> Iterator[str]:
        """Yield the names of the files of a folder ('' is the top), with it, without those of its subfolders."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Delete a file, if it is there."""


def open_storage(location: str) -> Storage:
    """Return the storage of a folder or of a prefix of an object store.

    Raises:
        InputError: ``batch_scheme_unknown``, ``batch_store_failed``, ``batch_out_invalid``.
        MissingExtraError: An object store without obstore.
    """
    path = local_path(location)
    if path is None:
        return ObjectStorage(location)
    if Path(path).exists() and not Path(path).is_dir():
        raise InputError("expected a folder for the output, got a file: name another", code="batch_out_invalid")
    return LocalStorage(Path(path))


class LocalStorage(Storage):
    """A folder on a disk, which is made when the first file is written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create(self, name: str, data: bytes) -> bool:
        """Write a file in one step, see `Storage.create`."""
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            partial.write_bytes(data)
            flush(partial)
            try:
                os.link(partial, path)  # unlike a rename, it fails if the file is there
            except FileExistsError:
                return False
            except OSError:  # a file system without links
                if path.exists():
                    return False
                partial.replace(path)
            flush(path.parent)
        finally:
            partial.unlink(missing_ok=True)
        return True

    def replace(self, name: str, chunks: Iterable[bytes]) -> None:
        """Write a file of any length, see `Storage.replace`."""
        with replace_file(self._folder / name) as partial, partial.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()

    def read(self, name: str, *, limit: int) -> bytes | None:
        """Return the content of a file, see `Storage.read`."""
        try:
            with (self._folder / name).open("rb") as file:
                data = file.read(limit + 1)
        except FileNotFoundError:
            return None
        if len(data) > limit:
            raise _too_large(limit)
        return data

    def names(self, folder: str) -> Iterator[str]:
        """Yield names, see `Storage.names`."""
        try:
            entries = os.scandir(self._folder / folder)
        except FileNotFoundError:
            return
        with entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.is_file():
                    yield f"{folder}/{entry.name}" if folder else entry.name

    def delete(self, name: str) -> None:
        """Delete a file, see `Storage.delete`."""
        (self._folder / name).unlink(missing_ok=True)


class ObjectStorage(Storage):
    """A prefix of an object store: a put is atomic, and conditional on the object not being there."""

    def __init__(self, location: str) -> None:
        self._location = location.rstrip("/")
        root, self._prefix = split_uri(location)
        self._bucket = open_bucket(root)

    def create(self, name: str, data: bytes) -> bool:
        """Write a file in one step, see `Storage.create`."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

        try:
            obstore.put(self._bucket, self._key(name), data, mode="create", use_multipart=False)
        except (AlreadyExistsError, PreconditionError):
            return False
        except (BaseError, OSError) as error:
            raise store_failed(error) from None
        return True

    def replace(self, name: str, chunks: Iterable[bytes]) -> None:
        """Write a file of any length, see `Storage.replace`."""
        import obstore
        from obstore.exceptions import BaseError

        try:
            obstore.put(self._bucket, self._key(name), iter(chunks))  # an error of an iterator aborts the upload
        except (BaseError, OSError) as error:
            raise store_failed(error) from None

    def read(self, name: str, *, limit: int) -> bytes | None:
        """Return the content of a file, see `Storage.read`."""
        import obstore
        from obstore.exceptions import BaseError, NotFoundError

        try:
            found = obstore.get(self._bucket, self._key(name))
            if found.meta["size"] > limit:
                raise _too_large(limit)
            return bytes(found.bytes())
        except (NotFoundError, FileNotFoundError):
            return None
        except (BaseError, OSError) as error:
            raise store_failed(error) from None

    def names(self, folder: str) -> Iterator[str]:
        """Yield names, see `Storage.names`."""
        start = f"{self._prefix}/" if self._prefix else ""
        below = f"{folder}/" if folder else ""
        for item in list_objects(f"{self._location}/{folder}" if folder else self._location):
            name = item["path"].removeprefix(start)
            if name.startswith(below) and "/" not in name[len(below) :]:
                yield name

    def delete(self, name: str) -> None:
        """Delete a file, see `Storage.delete`."""
        import obstore
        from obstore.exceptions import BaseError, NotFoundError

        try:
            obstore.delete(self._bucket, self._key(name))
        except (NotFoundError, FileNotFoundError):
            return
        except (BaseError, OSError) as error:
            raise store_failed(error) from None

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name


def _too_large(limit: int) -> InputError:
    return InputError(
        f"expected a file of a batch of at most {limit:,} bytes, got a larger one: choose another output",
        code="batch_file_too_large",
    )
