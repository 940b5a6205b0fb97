"""Locations of inputs and outputs: paths of this machine, and URIs of object stores."""

from __future__ import annotations

import io
import os
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import unquote, urlsplit

from medimageinsight.errors import ImageError, InputError, missing_extra

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medimageinsight.images import Limits

SCHEMES = ("s3", "gs", "az")
_BLOCK = 1 << 20  # bytes of a request to an object store when a table is read


def is_uri(location: str) -> bool:
    """Return whether a location is a URI with a scheme and ``://`` rather than a path."""
    scheme, separator, _ = location.partition("://")
    return bool(separator) and scheme.isalnum()


def local_path(location: str) -> str | None:
    """Return the path of a location on this machine, also of a ``file://`` URI; None for an object store.

    Raises:
        InputError: A URI of another scheme (``batch_scheme_unknown``).
    """
    if not is_uri(location):
        return location
    scheme = location.partition("://")[0].lower()
    if scheme == "file":
        return unquote(urlsplit(location).path)
    if scheme not in SCHEMES:
        raise InputError(
            f"expected a path or a URI of {', '.join(f'{name}://' for name in SCHEMES)}, got another scheme: "
            "copy the files first",
            code="batch_scheme_unknown",
        )
    return None


def split_uri(location: str) -> tuple[str, str]:
    """Return the root of an object store, ``scheme://bucket``, and the key without slashes at its ends."""
    scheme, _, rest = location.partition("://")
    bucket, _, key = rest.partition("/")
    return f"{scheme.lower()}://{bucket}", key.strip("/")


@lru_cache(maxsize=16)
def open_bucket(root: str) -> Any:  # noqa: ANN401 - one of obstore's stores
    """Return obstore's store of a bucket, with the credentials and endpoint of the environment.

    Raises:
        InputError: It cannot be used (``batch_store_failed``).
        MissingExtraError: obstore is not installed.
    """
    try:
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ImportError:
        raise missing_extra("batch", "reading and writing object stores") from None
    options = {}
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if root.startswith("s3://") and endpoint:
        options = {"endpoint": endpoint}
    try:
        return from_url(root, config=options, client_options={"allow_http": bool(endpoint)})  # type: ignore[call-overload]
    except (BaseError, ValueError) as error:
        raise store_failed(error) from None


def store_failed(error: Exception) -> InputError:
    """Return the error for a request to an object store that failed, without its texts, which contain names."""
    return InputError(
        f"expected an object store that can be read and written, got {type(error).__name__}: check the location, the "
        "credentials and the network",
        code="batch_store_failed",
    )


def read_object(location: str, limits: Limits) -> bytes:
    """Return the bytes of an object.

    Raises:
        ImageError: ``image_not_found``, ``image_unreadable`` or ``image_too_large``.
    """
    root, key = split_uri(location)
    bucket = open_bucket(root)
    import obstore
    from obstore.exceptions import BaseError, NotFoundError

    try:
        found = obstore.get(bucket, key)
        limits.check_bytes(found.meta["size"])
        return bytes(found.bytes())
    except (NotFoundError, FileNotFoundError):
        raise ImageError("expected an object in the store, got none: check the key", code="image_not_found") from None
    except (BaseError, OSError) as error:
        raise ImageError(
            f"expected an object that can be read, got {type(error).__name__}: check the store", code="image_unreadable"
        ) from None


def list_objects(location: str) -> Iterator[dict[str, Any]]:
    """Yield ``path``, ``size`` and ``version`` of the objects below a prefix, in the order of their keys.

    Raises:
        InputError: ``batch_store_failed``.
    """
    root, prefix = split_uri(location)
    bucket = open_bucket(root)
    import obstore
    from obstore.exceptions import BaseError

    try:
        for chunk in obstore.list(bucket, prefix or None):
            for item in chunk:
                version = item["e_tag"] or item["last_modified"].isoformat()
                yield {"path": item["path"], "size": item["size"], "version": version}
    except (BaseError, OSError) as error:
        raise store_failed(error) from None


def may_be_image(uri: str) -> bool:
    """Return whether an object is an image by its name: it has an image's ending, none, or the number of a UID."""
    from medimageinsight.studies.formats import IMAGE_SUFFIXES

    name = uri.rpartition("/")[2]
    suffix = PurePosixPath(name).suffix.lower()
    return not name.startswith((".", "_")) and (suffix in IMAGE_SUFFIXES or not suffix or suffix[1:].isdigit())


def stat_location(location: str) -> tuple[int, str]:
    """Return the size in bytes and the version (time of change, or ETag) of a file or object; -1 and '' if unknown."""
    path = local_path(location)
    if path is not None:
        try:
            found = os.stat(path)  # noqa: PTH116 - called for each row
        except (OSError, ValueError):
            return -1, ""
        return found.st_size, str(found.st_mtime_ns)
    root, key = split_uri(location)
    bucket = open_bucket(root)
    import obstore
    from obstore.exceptions import BaseError

    try:
        meta = obstore.head(bucket, key)
    except (BaseError, OSError):
        return -1, ""
    return meta["size"], meta["e_tag"] or meta["last_modified"].isoformat()


def open_location(location: str) -> BinaryIO:
    """Return a seekable file object of a file or object, which the caller closes.

    Raises:
        OSError: It cannot be opened.
        InputError: ``batch_store_failed``.
    """
    path = local_path(location)
    if path is not None:
        return open(path, "rb")  # noqa: PTH123 - the caller closes it
    return io.BufferedReader(_ObjectFile(location), _BLOCK)


class _ObjectFile(io.RawIOBase):
    """An object that is read by ranges."""

    def __init__(self, location: str) -> None:
        root, self._key = split_uri(location)
        self._bucket = open_bucket(root)
        size, _ = stat_location(location)
        if size < 0:
            raise FileNotFoundError
        self._size, self._position = size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - a writable buffer
        import obstore
        from obstore.exceptions import BaseError

        count = min(len(buffer), self._size - self._position)
        if count <= 0:
            return 0
        try:
            data = obstore.get_range(self._bucket, self._key, start=self._position, length=count)
        except BaseError as error:
            raise store_failed(error) from None
        buffer[: len(data)] = memoryview(data)
        self._position += len(data)
        return len(data)
