"""Encode sources and requests: the file of a source where it has one, else a PNG of the pixels the local model uses."""

from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from PIL import Image

from medimageinsight import images
from medimageinsight.errors import ImageError
from medimageinsight.images.decoded import ORIENTATION_TAG
from medimageinsight.images.decoder_warnings import suppress_decoder_warnings

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence

    from pydicom.dataset import Dataset

    from medimageinsight.client.decode import Column
    from medimageinsight.errors import InputError

MAX_BODY = 50 << 20  # characters of a request's cells, half of the default limit of this project's server
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")
_T = TypeVar("_T")


def encode_image(
    source: images.Source, *, frame: int = 0, window: images.WindowSelection | None = None
) -> str | InputError:
    """Return a source as base64, or its error; runs in a worker thread."""
    try:
        with suppress_decoder_warnings():
            return base64.b64encode(_to_file(source, frame, window)).decode("ascii")
    except ImageError as error:
        return error
    except Exception as error:  # as in `images.open`: the libraries' own messages may quote a header
        return ImageError(
            f"expected an image that can be read and encoded, got one that cannot ({type(error).__name__}): "
            "check that it opens in a viewer",
            code="image_unreadable",
        )


def split_batches(cells: Iterable[_T], max_cells: int) -> Generator[list[_T]]:
    """Yield batches of up to ``max_cells`` cells that fit into one body; errors among them have no size."""
    batch: list[_T] = []
    size = 0
    for cell in cells:
        length = len(cell) if isinstance(cell, str) else 0
        if batch and (len(batch) == max_cells or size + length > MAX_BODY):
            yield batch
            batch, size = [], 0
        batch.append(cell)
        size += length
    if batch:
        yield batch


def encode_request(column: Column, cells: Sequence[str], params: Mapping[str, object]) -> bytes:
    """Return the JSON of one request, a row for each cell; the other column is null."""
    data = [[cell, None] if column == "image" else [None, cell] for cell in cells]
    table = {"columns": ["image", "text"], "index": list(range(len(data))), "data": data}
    return json.dumps({"input_data": table, "params": params}).encode()


def _to_file(source: images.Source, frame: int, window: images.WindowSelection | None) -> bytes:
    if frame or window is not None or isinstance(source, Image.Image | np.ndarray | images.DeferredImage):
        return _to_png(images.open(source, frame=frame, window=window))
    if images.is_dataset(source):
        return _to_dicom(source)
    data = images.read_source(source, images.Limits())
    if not data:
        raise ImageError("expected an image, got an empty file", code="image_empty")
    return data


def _to_png(decoded: images.DecodedImage) -> bytes:
    """Return a lossless PNG; a mode that PNG lacks is converted to RGB, as in the preprocessing."""
    image = decoded.image if decoded.image.mode in _PNG_MODES else images.to_rgb(decoded.image)
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = decoded.orientation
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=exif, compress_level=1)  # higher levels are slow and save little
    return buffer.getvalue()


def _to_dicom(dataset: Dataset) -> bytes:
    """Return a dataset as a file of PS3.10 7.1, in its own transfer syntax, with or without file meta information."""
    from pydicom import dcmwrite

    from medimageinsight.images.dicom.transfer_syntax import transfer_syntax

    syntax = transfer_syntax(dataset)
    buffer = io.BytesIO()
    if not getattr(dataset, "preamble", None):  # else pydicom writes it
        buffer.write(bytes(128) + b"DICM")
    dcmwrite(buffer, dataset, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian)
    return buffer.getvalue()
