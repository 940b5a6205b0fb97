"""A small store of images on disk, for servers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medimageinsight import MedImageInsight, search
from tests.serve.server_process import make_image

if TYPE_CHECKING:
    from pathlib import Path

FINDINGS = ["normal", "normal", "nodule", "nodule", None, None]


@dataclass(frozen=True, kw_only=True)
class ChestStore:
    """The folders of the store and of its images."""

    location: Path
    images: Path

    @property
    def options(self) -> tuple[str, ...]:
        return ("--store", f"chest={self.location}", "--image-folders", str(self.images))

    def bytes_of(self, number: int) -> bytes:
        return (self.images / f"{number}.png").read_bytes()


def make_chest_store(model: MedImageInsight, folder: Path) -> ChestStore:
    """Store images 0.png to 5.png with the ids "0" to "5", of patients A, A, B, B, C, C."""
    chest = ChestStore(location=folder / "store", images=folder / "images")
    chest.images.mkdir()
    for number in range(len(FINDINGS)):
        (chest.images / f"{number}.png").write_bytes(make_image(number))
    with search.create_store(chest.location, identity=search.Identity.of(model)) as store:
        add(model, store, chest, range(len(FINDINGS)))
    return chest


def add(model: MedImageInsight, store: search.Store, chest: ChestStore, numbers: range) -> None:
    embeddings = model.embed_images([chest.images / f"{number}.png" for number in numbers])
    store.add(
        [
            search.Item(
                id=str(number),
                path=f"{number}.png",
                embedding=embedding,
                metadata={"patient": "AABBCC"[number], "age": 40 + number}
                | ({"finding": finding} if (finding := FINDINGS[number]) else {}),
            )
            for number, embedding in zip(numbers, embeddings, strict=True)
        ]
    )
