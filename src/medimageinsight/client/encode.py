"""What a source is sent as: its own file where it has one, else a PNG of what the local model would see."""

from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from PIL import Image

from medimageinsight import images
from medimageinsight.errors import ImageError
from medimageinsight.images.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence

    from pydicom.dataset import Dataset

    from medimageinsight.client.decode import Column
    from medimageinsight.errors import InputError


_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")
_ORIENTATION_TAG = 0x0112  # Exif 2.3


def image_cell(source: images.Source, *, frame: int) -> str | InputError:
    """A source as base64, or why there is nothing to send; runs in a worker thread."""
    try:
        with quiet():
            return base64.b64encode(_encoded(source, frame)).decode("ascii")
    except ImageError as error:
        return error
    except Exception as error:  # as in `images.open`: the libraries' own messages may quote a header
        return ImageError(
            f"expected an image that can be read and encoded, got one that cannot ({type(error).__name__}): "
            "check that it opens in a viewer",
            code="image_unreadable",
        )


def _encoded(source: images.Source, frame: int) -> bytes:
    """The file that is sent for a source."""
    if frame or isinstance(source, Image.Image | np.ndarray):
        return _png(images.open(source, frame=frame))
    if images.is_dataset(source):
        return _dicom_file(source)
    data = images.read_source(source, images.Limits())
    if not data:
        raise ImageError("expected an image, got an empty file", code="image_empty")
    return data


def _png(picture: images.DecodedImage) -> bytes:
    """The picture without loss; a mode that PNG does not have goes as the RGB that the network would be given."""
    image = picture.image if picture.image.mode in _PNG_MODES else images.to_rgb(picture.image)
    exif = Image.Exif()
    exif[_ORIENTATION_TAG] = picture.orientation
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=exif, compress_level=1)  # higher levels take long and gain little
    return buffer.getvalue()


def _dicom_file(dataset: Dataset) -> bytes:
    """The dataset as PS3.10 7.1 has it, in its own transfer syntax, whichever of a file's elements it lacks."""
    from pydicom import dcmwrite

    from medimageinsight.images.dicom.pixels import transfer_syntax

    syntax = transfer_syntax(dataset)
    buffer = io.BytesIO()
    if not getattr(dataset, "preamble", None):  # else pydicom writes it
        buffer.write(bytes(128) + b"DICM")
    dcmwrite(buffer, dataset, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian)
    return buffer.getvalue()


LARGEST_BODY = 50 << 20
"""Characters of a request's cells, half of what a server of this project takes by default."""

_T = TypeVar("_T")


def batches(cells: Iterable[_T], most: int) -> Generator[list[_T]]:
    """At most ``most`` cells together, and no more than fit a body; errors among them weigh nothing."""
    batch: list[_T] = []
    size = 0
    for cell in cells:
        length = len(cell) if isinstance(cell, str) else 0
        if batch and (len(batch) == most or size + length > LARGEST_BODY):
            yield batch
            batch, size = [], 0
        batch.append(cell)
        size += length
    if batch:
        yield batch


def request_body(column: Column, cells: Sequence[str], params: Mapping[str, object]) -> bytes:
    """The JSON of one request, a row for each cell, whose other cell is missing."""
    data = [[cell, None] if column == "image" else [None, cell] for cell in cells]
    table = {"columns": ["image", "text"], "index": list(range(len(data))), "data": data}
    return json.dumps({"input_data": table, "params": params}).encode()
