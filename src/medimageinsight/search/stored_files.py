"""Stored images read again from their files."""

from __future__ import annotations

import hashlib
import heapq
import os
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight import images
from medimageinsight.embedder import prefetch_map
from medimageinsight.errors import ImageError
from medimageinsight.search.image_match import reduce_image
from medimageinsight.studies import open_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from PIL import Image

    from medimageinsight.images import Source, WindowLike
    from medimageinsight.search.image_match import SmallImage
    from medimageinsight.search.records import Hit, Item
    from medimageinsight.search.store import Store

SAMPLE_IMAGES = 64
_TRIED_IMAGES = 4 * SAMPLE_IMAGES  # before a sample is smaller
_READ_ROWS = 1024  # items read from a store at a time
_READ_AHEAD = 32  # files


def stored_items(store: Store, ids: Iterable[str]) -> dict[str, Item]:
    """Return the items with these ids, by id."""
    wanted = iter(sorted(ids))
    items: dict[str, Item] = {}
    while part := list(islice(wanted, _READ_ROWS)):
        items.update((item.id, item) for item in store.get(part))
    return items


def open_stored(item: Item, *, frame: int = 0, window: WindowLike | None = None) -> Image.Image | None:
    """Return the upright image of a stored item from its path, else from its id; None where neither can be read.

    It is the item's own frame, slice, member or region; of a pooled vector the image most like it. A relative path
    counts from the current folder. `frame` is for stores of earlier versions, which do not have it.
    """
    for name in (item.path, item.id):
        try:
            if name and Path(name).is_file():
                limits = images.Limits(accept_maps=True)  # decided when it was indexed
                source = stored_source(item, name)
                first = frame if source == name else 0
                return images.open(source, frame=first, window=window, limits=limits).upright()
        except (ImageError, OSError, ValueError):  # ValueError: an id that is no path
            continue
    return None


def stored_source(stored: Hit | Item, file: str | os.PathLike[str]) -> Source:
    """Return the image source of a stored item, whose file is at a path: the file, or an image within it.

    Raises:
        ImageError: The file has no such image.
    """
    origin = replace(stored.origin, path=os.fspath(file))
    return open_image(origin) if origin.fragment else os.fspath(file)


def reduce_stored(
    store: Store, items: Mapping[str, Item], *, frame: int, progress: Callable[[int], None] | None = None
) -> dict[str, SmallImage]:
    """Return the small grey images of items, by id, of those whose files can be read: 4 KiB in memory for each."""
    window = store.identity.settings().window

    def reduce(item: Item) -> SmallImage | None:
        image = open_stored(item, frame=frame, window=window)
        return None if image is None else reduce_image(image)

    small: dict[str, SmallImage] = {}
    with closing(prefetch_map(reduce, items.values(), ahead=_READ_AHEAD)) as reduced:
        for count, (item_id, image) in enumerate(zip(items, reduced, strict=True), start=1):
            if image is not None:
                small[item_id] = image
            if progress is not None:
                progress(count)
    return small


def sample_stored(store: Store, *, where: str | None, frame: int) -> Iterator[Image.Image]:
    """Yield up to `SAMPLE_IMAGES` stored images whose files can be read, in a random order that is always the same."""
    window = store.identity.settings().window
    every = (item_id for ids, _ in store.scan(where=where) for item_id in ids)
    chosen = heapq.nsmallest(_TRIED_IMAGES, every, key=lambda item_id: hashlib.blake2b(item_id.encode()).digest())
    opened = (open_stored(item, frame=frame, window=window) for item in store.get(chosen))
    return islice((image for image in opened if image is not None), SAMPLE_IMAGES)
