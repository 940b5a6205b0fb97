"""Small files of every dataset format."""

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


def make_image(seed: int, *, side: int = 24) -> Image.Image:
    """Return a smooth image that is unlike those of other seeds."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)


def png_bytes(seed: int, *, side: int = 24) -> bytes:
    stream = io.BytesIO()
    make_image(seed, side=side).save(stream, "png")
    return stream.getvalue()


def caption_json(class_id: int, name: str, source: str = "mine") -> str:
    return json.dumps({"class_id": class_id, "class_name": name, "source": source, "task": "classification"})


def write_tsv_pair(folder: Path, rows: Iterable[tuple[str, bytes, str]], prefix: str = "train") -> tuple[Path, Path]:
    """Write an image TSV and its text TSV of (id, image, JSON)."""
    images, texts = folder / f"{prefix}_images.tsv", folder / f"{prefix}_text.tsv"
    rows = list(rows)
    images.write_bytes(b"".join(f"{key}\t{base64.b64encode(data).decode()}\n".encode() for key, data, _ in rows))
    texts.write_text("".join(f"{key}\t{text}\n" for key, _, text in rows))
    return images, texts


def write_shard(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def write_image_shard(path: Path, numbers: Iterable[int]) -> Path:
    """Write a shard of images with their JSON."""
    members = []
    for number in numbers:
        fields = {"caption": f"caption {number % 3}", "label": str(number % 3), "patient_id": f"p{number}"}
        members += [(f"{number:04}.png", png_bytes(number)), (f"{number:04}.json", json.dumps(fields).encode())]
    return write_shard(path, members)
