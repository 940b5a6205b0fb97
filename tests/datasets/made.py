"""Little files of every format that a dataset may come in."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def picture(seed: int, *, side: int = 24) -> Image.Image:
    """A smooth, unlike any other seed's, picture."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)


def png(seed: int, *, side: int = 24) -> bytes:
    stream = io.BytesIO()
    picture(seed, side=side).save(stream, "png")
    return stream.getvalue()


def text(number: int, name: str, source: str = "mine") -> str:
    return json.dumps({"class_id": number, "class_name": name, "source": source, "task": "classification"})


def write_pair(folder: Path, rows: Iterable[tuple[str, bytes, str]], prefix: str = "train") -> tuple[Path, Path]:
    """An image TSV and its text TSV of (id, picture, JSON)."""
    images, texts = folder / f"{prefix}_images.tsv", folder / f"{prefix}_text.tsv"
    listed = list(rows)
    images.write_bytes(b"".join(f"{key}\t{base64.b64encode(data).decode()}\n".encode() for key, data, _ in listed))
    texts.write_text("".join(f"{key}\t{said}\n" for key, _, said in listed))
    return images, texts


def write_shard(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def shard_of(path: Path, numbers: Iterable[int]) -> Path:
    """Pictures with their JSON."""
    members = []
    for number in numbers:
        said = {"caption": f"caption {number % 3}", "label": str(number % 3), "patient_id": f"p{number}"}
        members += [(f"{number:04}.png", png(number)), (f"{number:04}.json", json.dumps(said).encode())]
    return write_shard(path, members)
