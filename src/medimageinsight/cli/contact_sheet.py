"""Contact sheets: a card for each image with a title, lines of text, and prompts with their probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont, ImageOps

from medimageinsight.cli import output
from medimageinsight.cli.errors import error_context
from medimageinsight.cli.options import check_output_file
from medimageinsight.errors import InputError
from medimageinsight.version import DISCLAIMER

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from medimageinsight.images import Source
    from medimageinsight.search import Hit, Item

    Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont


# In pixels.
IMAGE_SIZE = 280  # width and height
MARGIN = 24
LINE = 22
ROW = 44  # height of a prompt and its bar
BAR = 8
HEADER = 84
FOOTER = 48

COLUMNS = 4  # largest number of cards side by side
SHOWN_VALUES = 4  # metadata lines on a card

BACKGROUND, CARD, TEXT, FAINT, ACCENT, TRACK = "#10151c", "#1a222d", "#e8edf3", "#93a1b2", "#4fb3a9", "#2c3846"


@dataclass(frozen=True, kw_only=True)
class Card:
    """One card of a sheet.

    Attributes:
        image: Stretched to a square; None for an empty card.
        title: Drawn below the image.
        prompts: Prompts with their probabilities, drawn with bars.
        lines: Drawn between title and prompts.
        note: Text of an empty card.
    """

    image: Image.Image | None
    title: str
    prompts: Sequence[tuple[str, float]] = ()
    lines: Sequence[str] = ()
    note: str = ""


def draw_sheet(cards: Sequence[Card], *, title: str, columns: int = 3) -> Image.Image:
    """Draw the contact sheet, mode RGB, with the disclaimer at its bottom; all cards are as high as the highest."""
    below = max(ROW * len(card.prompts) + LINE * len(card.lines) + BAR * bool(card.lines) for card in cards)
    card_height = IMAGE_SIZE + 2 * LINE + below + MARGIN // 2
    rows = -(-len(cards) // columns)
    width = MARGIN + columns * (IMAGE_SIZE + 2 * MARGIN)
    height = HEADER + rows * (card_height + MARGIN) + FOOTER
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title, TEXT, font=ImageFont.load_default(26))
    for index, card in enumerate(cards):
        row, column = divmod(index, columns)
        left = MARGIN + column * (IMAGE_SIZE + 2 * MARGIN)
        _draw_card(sheet, draw, card, left, HEADER + row * (card_height + MARGIN), card_height)
    draw.text((MARGIN, height - FOOTER + 8), DISCLAIMER, FAINT, font=ImageFont.load_default(16))
    return sheet


def _draw_card(sheet: Image.Image, draw: ImageDraw.ImageDraw, card: Card, left: int, top: int, height: int) -> None:
    """Draw a card with its upper left corner at (left, top)."""
    inset = MARGIN // 2
    draw.rounded_rectangle((left, top, left + IMAGE_SIZE + 2 * inset, top + height), 10, fill=CARD)
    left, top = left + inset, top + inset
    font, large = ImageFont.load_default(14), ImageFont.load_default(18)
    if card.image is None:
        draw.rectangle((left, top, left + IMAGE_SIZE - 1, top + IMAGE_SIZE - 1), outline=TRACK)
        note = _wrap(draw, card.note, font, IMAGE_SIZE - 2 * MARGIN)
        draw.multiline_text(
            (left + IMAGE_SIZE // 2, top + IMAGE_SIZE // 2), note, FAINT, font=font, anchor="mm", align="center"
        )
    else:
        sheet.paste(card.image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC), (left, top))
    top += IMAGE_SIZE + LINE // 2
    draw.text((left, top), _shorten(draw, card.title, large, IMAGE_SIZE), TEXT, font=large)
    top += LINE + LINE // 2
    for line in card.lines:
        draw.text((left, top), _shorten(draw, line, font, IMAGE_SIZE), FAINT, font=font)
        top += LINE
    for prompt, probability in card.prompts:
        percent = f"{probability:.0%}"
        draw.text((left, top), _shorten(draw, prompt, font, IMAGE_SIZE - 48), TEXT, font=font)
        draw.text((left + IMAGE_SIZE, top), percent, FAINT, font=font, anchor="ra")
        bar_top = top + LINE
        draw.rounded_rectangle((left, bar_top, left + IMAGE_SIZE, bar_top + BAR), BAR // 2, fill=TRACK)
        if filled := round(IMAGE_SIZE * probability):
            draw.rounded_rectangle((left, bar_top, left + filled, bar_top + BAR), BAR // 2, fill=ACCENT)
        top += ROW


def _wrap(draw: ImageDraw.ImageDraw, text: str, font: Font, width: int) -> str:
    """Break a text into at most eight lines that fit the width."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if draw.textlength(longer, font=font) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(_shorten(draw, line, font, width) for line in lines[:8])


def _shorten(draw: ImageDraw.ImageDraw, text: str, font: Font, width: int) -> str:
    """Cut a text off where it exceeds the width."""
    if draw.textlength(text, font=font) <= width:
        return text
    while text and draw.textlength(f"{text}…", font=font) > width:
        text = text[:-1]
    return f"{text.rstrip()}…"


@dataclass(frozen=True, kw_only=True)
class HitCard:
    """A stored image on the sheet.

    Attributes:
        hit: The stored image.
        lines: Drawn below its score.
        shown_column: A metadata column that `lines` contains already.
    """

    hit: Hit
    lines: Sequence[str] = ()
    shown_column: str = ""


def check_sheet(sheet: Path | None, folders: Sequence[Path] | None) -> list[Path]:
    """Refuse a sheet that cannot be written; return the folders from which stored images may be read.

    Raises:
        InputError: Folders without a sheet (``pictures_missing``), or a path without a folder (``folder_not_found``).
    """
    if sheet is None and folders:
        raise InputError(
            "expected --contact-sheet with --folder, got none: add it, or leave --folder out", code="pictures_missing"
        )
    for folder in folders or ():
        if not folder.is_dir():
            with error_context(folder):
                raise InputError(
                    "expected a folder, found none at this path: check its spelling", code="folder_not_found"
                )
    if sheet is not None:
        check_output_file(sheet)
    return [*folders] if folders else [Path.cwd()]


def query_card(
    title: str,
    *,
    image: Source | None = None,
    window: str | None = None,
    stored: Item | None = None,
    folders: Sequence[Path] = (),
    note: str = "",
    prompts: Sequence[tuple[str, float]] = (),
) -> Card:
    """Return the card of the query: `image`, the `stored` image, or a text or vector that `note` describes."""
    pixels: Image.Image | None = None
    if image is not None:
        pixels = _load_square(image, window)
    elif stored is not None:
        pixels, note = _load_stored(stored, folders, window)
    return Card(
        image=pixels,
        title=title,
        prompts=[(output.printable(prompt), probability) for prompt, probability in prompts],
        note=note,
    )


def save_hits(
    out: Path,
    query: Card,
    hits: Sequence[HitCard],
    folders: Sequence[Path],
    *,
    title: str,
    window: str | None = None,
) -> None:
    """Draw the query and its hits with the store's window, and write the sheet as PNG.

    Raises:
        OSError: It cannot be written.
    """
    cards = [query]
    for card in hits:
        pixels, note = _load_stored(card.hit, folders, window)
        lines = [output.printable(line) for line in (*card.lines, *_metadata_lines(card.hit, card.shown_column))]
        cards.append(Card(image=pixels, title=f"cosine {card.hit.score:.3f}", lines=lines, note=note))
    sheet = draw_sheet(cards, title=title, columns=min(COLUMNS, max(2, len(cards))))
    with error_context(out):
        sheet.save(out, format="PNG")


def _metadata_lines(hit: Hit, shown_column: str) -> list[str]:
    values = [f"{name} {value}" for name, value in hit.metadata.items() if name != shown_column]
    return [hit.id if len(hit.id) < 40 else f"…{hit.id[-39:]}", *values[:SHOWN_VALUES]]


def _load_stored(stored: Hit | Item, folders: Sequence[Path], window: str | None) -> tuple[Image.Image | None, str]:
    """Return a stored image and '', or None and the reason."""
    from medimageinsight.search import find_image, stored_source

    try:
        return _load_square(stored_source(stored, find_image(stored, folders)), window), ""
    except InputError as error:
        if error.code == "picture_not_available":
            return None, "no such image below the folders that may be read"
    except OSError:
        pass
    return None, "the image cannot be read"


def _load_square(source: Source, window: str | None) -> Image.Image:
    """Return the upright image padded to a square of the sheet's size, its aspect ratio preserved.

    Of a group it is the middle one.
    """
    from medimageinsight import images

    if isinstance(source, images.ImageGroup):
        selected = source.selected()
        source = selected[len(selected) // 2]
    pixels = images.load(source, window=window)
    return ImageOps.pad(Image.fromarray(pixels), (IMAGE_SIZE, IMAGE_SIZE), color=TRACK)
