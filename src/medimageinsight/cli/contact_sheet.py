"""A picture of pictures: each as the model sees it, and the prompts that fit it best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    """One picture: its title, and its best prompts with their probabilities."""

    image: Image.Image
    title: str
    prompts: Sequence[tuple[str, float]]


def draw_sheet(rankings: Sequence[Ranking], *, title: str, footer: str, columns: int = 3) -> Image.Image:
    """The contact sheet, mode RGB; all rankings have the same number of prompts."""
    card_height = PICTURE + 2 * LINE + ROW * len(rankings[0].prompts) + MARGIN // 2
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
    sheet.paste(ranking.image.resize((PICTURE, PICTURE), Image.Resampling.BICUBIC), (left, top))
    top += PICTURE + LINE // 2
    draw.text((left, top), ranking.title, TEXT, font=ImageFont.load_default(18))
    top += LINE + LINE // 2
    font = ImageFont.load_default(14)
    for prompt, probability in ranking.prompts:
        percent = f"{probability:.0%}"
        draw.text((left, top), _shortened(draw, prompt, font, PICTURE - 48), TEXT, font=font)
        draw.text((left + PICTURE, top), percent, FAINT, font=font, anchor="ra")
        bar_top = top + LINE
        draw.rounded_rectangle((left, bar_top, left + PICTURE, bar_top + BAR), BAR // 2, fill=TRACK)
        if filled := round(PICTURE * probability):
            draw.rounded_rectangle((left, bar_top, left + filled, bar_top + BAR), BAR // 2, fill=ACCENT)
        top += ROW


def _shortened(
    draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> str:
    """The text, or as much of it as fits into the width."""
    if draw.textlength(text, font=font) <= width:
        return text
    while text and draw.textlength(f"{text}…", font=font) > width:
        text = text[:-1]
    return f"{text.rstrip()}…"
