"""Files of stored items that may be shown."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from medimageinsight.errors import InputError
from medimageinsight.search import Item, Store, find_image
from medimageinsight.serve.rejection import Rejection

PRIVATE = {"Cache-Control": "private, no-store", "X-Content-Type-Options": "nosniff"}


def find_stored(store: Store, item_id: str, folders: Sequence[Path]) -> tuple[Item, Path]:
    """Return a stored item and its file.

    Raises:
        InputError: There is no such item (``ids_unknown``), or its file is not in the folders.
    """
    (item,) = store.get([item_id])
    return item, find_image(item, folders)


@contextmanager
def stored_image_errors() -> Iterator[None]:
    """Turn every `InputError` into one response, which does not reveal whether a file exists.

    Raises:
        Rejection: 404.
    """
    try:
        yield
    except InputError as error:
        code = error.code if error.code == "ids_unknown" else "picture_not_available"
        raise Rejection(
            404,
            "expected the id of a stored image below --image-folders, got an id without such an image",
            code=code,
        ) from None
