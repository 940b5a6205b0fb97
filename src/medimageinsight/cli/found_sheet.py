"""A contact sheet of a search: what was searched for, and the stored images that were found."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.failures import about
from medimageinsight.cli.sources import STANDARD_INPUT, open_source
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from medimageinsight.cli.contact_sheet import Ranking
    from medimageinsight.images import Source
    from medimageinsight.search import Hit

Pictures = Annotated[
    Path | None, typer.Option(metavar="SHEET.png", help="Draw what was found onto a contact sheet, with its pictures.")
]
Folders = Annotated[
    list[Path] | None,
    typer.Option(
        "--folder",
        metavar="DIR",
        help="With --pictures: read pictures of stored images from below here alone; may come again. "
        "Default: the current folder.",
    ),
]

COLUMNS = 4
_SHOWN_VALUES = 4  # metadata lines of a card


@dataclass(frozen=True, kw_only=True)
class Found:
    """One stored image on the sheet, with what is written below its score, and a column that this says already."""

    hit: Hit
    lines: Sequence[str] = ()
    said: str = ""


def check_folders(pictures: Path | None, folders: Sequence[Path] | None) -> list[Path]:
    """The folders from which pictures may be read.

    Raises:
        InputError: Folders without a sheet (``pictures_missing``), or one that is none (``folder_not_found``).
    """
    if pictures is None and folders:
        raise InputError("expected --folder with --pictures only", code="pictures_missing")
    for folder in folders or ():
        if not folder.is_dir():
            with about(folder):
                raise InputError("expected a folder, got none: check its spelling", code="folder_not_found")
    return [*folders] if folders else [Path.cwd()]


def reread(name: str) -> Source:
    """An image that is read twice, to search and to draw: what came on standard input is kept."""
    from medimageinsight.images import Limits

    if name == STANDARD_INPUT:
        return io.BytesIO(sys.stdin.buffer.read(Limits().max_bytes + 1)).getvalue()
    return open_source(name)


def query_card(
    title: str,
    *,
    image: Source | None = None,
    frame: int = 0,
    stored: Hit | str | None = None,
    folders: Sequence[Path] = (),
    note: str = "",
    prompts: Sequence[tuple[str, float]] = (),
) -> Ranking:
    """The card of what was searched for: an image, a stored image, or words."""
    from medimageinsight.cli.contact_sheet import Ranking

    picture: Image.Image | None = None
    if image is not None:
        picture = _square(image, frame)
    elif stored is not None:
        picture, note = _stored(stored, folders)
    return Ranking(image=picture, title=title, prompts=[(output.printable(p), v) for p, v in prompts], note=note)


def save_sheet(out: Path, query: Ranking, found: Sequence[Found], folders: Sequence[Path], *, title: str) -> None:
    """Draw and write the sheet.

    Raises:
        OSError: It cannot be written.
    """
    from medimageinsight.cli.contact_sheet import Ranking, draw_sheet

    cards = [query]
    for one in found:
        picture, note = _stored(one.hit, folders)
        lines = [output.printable(line) for line in (*one.lines, *_values(one.hit, one.said))]
        cards.append(Ranking(image=picture, title=f"cosine {one.hit.score:.3f}", lines=lines, note=note))
    sheet = draw_sheet(cards, title=title, footer=output.DISCLAIMER, columns=min(COLUMNS, max(2, len(cards))))
    with about(out):
        sheet.save(out, format="PNG")


def _values(hit: Hit, said: str) -> list[str]:
    named = [f"{name} {value}" for name, value in hit.metadata.items() if name != said]
    return [hit.id if len(hit.id) < 40 else f"…{hit.id[-39:]}", *named[:_SHOWN_VALUES]]


def _stored(stored: Hit | str, folders: Sequence[Path]) -> tuple[Image.Image | None, str]:
    """The picture of a stored image, or None and why there is none."""
    from medimageinsight.search import picture_of

    try:
        return _square(picture_of(stored, folders), 0), ""
    except InputError as error:
        if error.code == "picture_not_available":
            return None, "no such picture below the folders that may be read"
        return None, "the picture cannot be read"
    except OSError:
        return None, "the picture cannot be read"


def _square(source: Source, frame: int) -> Image.Image:
    """The upright picture in a square of the sheet's size, its sides in their proportion."""
    from PIL import Image, ImageOps

    from medimageinsight import images
    from medimageinsight.cli.contact_sheet import PICTURE, TRACK

    return ImageOps.pad(Image.fromarray(images.load(source, frame=frame)), (PICTURE, PICTURE), color=TRACK)
