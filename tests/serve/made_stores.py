"""A small store of pictures on disk, for servers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medimageinsight import MedImageInsight, search
from tests.serve.running import picture

if TYPE_CHECKING:
    from pathlib import Path

FINDINGS = ["normal", "normal", "nodule", "nodule", None, None]


@dataclass(frozen=True, kw_only=True)
class Chest:
    """Where the store and its pictures lie."""

    location: Path
    pictures: Path

    @property
    def options(self) -> tuple[str, ...]:
        return ("--store", f"chest={self.location}", "--pictures", str(self.pictures))

    def bytes_of(self, number: int) -> bytes:
        return (self.pictures / f"{number}.png").read_bytes()


def make_chest(model: MedImageInsight, folder: Path) -> Chest:
    """Pictures 0.png to 5.png with the ids "0" to "5", of patients A, A, B, B, C, C."""
    chest = Chest(location=folder / "store", pictures=folder / "pictures")
    chest.pictures.mkdir()
    for number in range(len(FINDINGS)):
        (chest.pictures / f"{number}.png").write_bytes(picture(number))
    with search.create_store(chest.location, identity=search.Identity.of(model)) as store:
        add(model, store, chest, range(len(FINDINGS)))
    return chest


def add(model: MedImageInsight, store: search.Store, chest: Chest, numbers: range) -> None:
    embeddings = model.embed_images([chest.pictures / f"{number}.png" for number in numbers])
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
