"""A picture of pictures: each on a card with its title, and the prompts that fit it best or a few lines."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from PIL import Image, ImageDraw, ImageFont

from medimageinsight.cli import output
from medimageinsight.cli.errors import error_context
from medimageinsight.cli.sources import STANDARD_INPUT, open_source
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.images import Source
    from medimageinsight.search import Hit


# Pixels.
PICTURE = 280
MARGIN = 24
LINE = 22
ROW = 44  # a prompt above its bar
BAR = 8
HEADER = 84
FOOTER = 48

BACKGROUND, CARD, TEXT, FAINT, ACCENT, TRACK = "#10151c", "#1a222d", "#e8edf3", "#93a1b2", "#4fb3a9", "#2c3846"


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """One card.

    Attributes:
        image: Stretched to a square; None for an empty card.
        title: Below the image.
        prompts: The best ones with their probabilities, each above a bar.
        lines: Below the title, above the prompts.
        note: What stands on an empty card.
    """

    image: Image.Image | None
    title: str
    prompts: Sequence[tuple[str, float]] = ()
    lines: Sequence[str] = ()
    note: str = ""


def draw_sheet(rankings: Sequence[Ranking], *, title: str, footer: str, columns: int = 3) -> Image.Image:
    """The contact sheet, mode RGB; its cards are as high as the one with the most below its picture."""
    below = max(ROW * len(one.prompts) + LINE * len(one.lines) + BAR * bool(one.lines) for one in rankings)
    card_height = PICTURE + 2 * LINE + below + MARGIN // 2
    rows = -(-len(rankings) // columns)
    width = MARGIN + columns * (PICTURE + 2 * MARGIN)
    height = HEADER + rows * (card_height + MARGIN) + FOOTER
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title, TEXT, font=ImageFont.load_default(26))
    for index, ranking in enumerate(rankings):
        row, column = divmod(index, columns)
        left = MARGIN + column * (PICTURE + 2 * MARGIN)
        _draw_card(sheet, draw, ranking, left, HEADER + row * (card_height + MARGIN), card_height)
    draw.text((MARGIN, height - FOOTER + 8), footer, FAINT, font=ImageFont.load_default(16))
    return sheet


def _draw_card(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, ranking: Ranking, left: int, top: int, height: int
) -> None:
    inset = MARGIN // 2
    draw.rounded_rectangle((left, top, left + PICTURE + 2 * inset, top + height), 10, fill=CARD)
    left, top = left + inset, top + inset
    font, large = ImageFont.load_default(14), ImageFont.load_default(18)
    if ranking.image is None:
        draw.rectangle((left, top, left + PICTURE - 1, top + PICTURE - 1), outline=TRACK)
        note = _wrapped(draw, ranking.note, font, PICTURE - 2 * MARGIN)
        draw.multiline_text(
            (left + PICTURE // 2, top + PICTURE // 2), note, FAINT, font=font, anchor="mm", align="center"
        )
    else:
        sheet.paste(ranking.image.resize((PICTURE, PICTURE), Image.Resampling.BICUBIC), (left, top))
    top += PICTURE + LINE // 2
    draw.text((left, top), _shortened(draw, ranking.title, large, PICTURE), TEXT, font=large)
    top += LINE + LINE // 2
    for line in ranking.lines:
        draw.text((left, top), _shortened(draw, line, font, PICTURE), FAINT, font=font)
        top += LINE
    for prompt, probability in ranking.prompts:
        percent = f"{probability:.0%}"
        draw.text((left, top), _shortened(draw, prompt, font, PICTURE - 48), TEXT, font=font)
        draw.text((left + PICTURE, top), percent, FAINT, font=font, anchor="ra")
        bar_top = top + LINE
        draw.rounded_rectangle((left, bar_top, left + PICTURE, bar_top + BAR), BAR // 2, fill=TRACK)
        if filled := round(PICTURE * probability):
            draw.rounded_rectangle((left, bar_top, left + filled, bar_top + BAR), BAR // 2, fill=ACCENT)
        top += ROW


def _wrapped(
    draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> str:
    """The text in lines that fit into the width, eight at most."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if draw.textlength(longer, font=font) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(_shortened(draw, line, font, width) for line in lines[:8])


def _shortened(
    draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> str:
    """The text, or as much of it as fits into the width."""
    if draw.textlength(text, font=font) <= width:
        return text
    while text and draw.textlength(f"{text}…", font=font) > width:
        text = text[:-1]
    return f"{text.rstrip()}…"


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
            with error_context(folder):
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

    cards = [query]
    for one in found:
        picture, note = _stored(one.hit, folders)
        lines = [output.printable(line) for line in (*one.lines, *_values(one.hit, one.said))]
        cards.append(Ranking(image=picture, title=f"cosine {one.hit.score:.3f}", lines=lines, note=note))
    sheet = draw_sheet(cards, title=title, footer=output.DISCLAIMER, columns=min(COLUMNS, max(2, len(cards))))
    with error_context(out):
        sheet.save(out, format="PNG")


def _values(hit: Hit, said: str) -> list[str]:
    named = [f"{name} {value}" for name, value in hit.metadata.items() if name != said]
    return [hit.id if len(hit.id) < 40 else f"…{hit.id[-39:]}", *named[:_SHOWN_VALUES]]


def _stored(stored: Hit | str, folders: Sequence[Path]) -> tuple[Image.Image | None, str]:
    """The picture of a stored image, or None and why there is none."""
    from medimageinsight.search import find_image

    try:
        return _square(find_image(stored, folders), 0), ""
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

    return ImageOps.pad(Image.fromarray(images.load(source, frame=frame)), (PICTURE, PICTURE), color=TRACK)
