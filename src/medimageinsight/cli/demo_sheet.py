"""The demo's sheet: a card for each image with the best descriptions, then the searches, each judged in words."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image, ImageDraw, ImageFont, ImageOps

from medimageinsight.cli.contact_sheet import ACCENT, BACKGROUND, CARD, FAINT, TEXT, TRACK
from medimageinsight.cli.results import mark_lines
from medimageinsight.version import DISCLAIMER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medimageinsight.cli.contact_sheet import Font
    from medimageinsight.cli.demo_results import DemoResults, Judged, Search, Verdict, Word

# In pixels.
COLUMNS = 6
MARGIN, GAP, INSET = 24, 12, 12
WIDTH = 216  # of a card
INNER = WIDTH - 2 * INSET
SHEET = 2 * MARGIN + COLUMNS * WIDTH + (COLUMNS - 1) * GAP
PANEL = (SHEET - 2 * MARGIN - GAP) // 2
THUMBNAIL = 108
BAR = 7

# The colours of a chip and of the words on it.
VERDICTS: Mapping[Word, tuple[str, str]] = {
    "right": ("#7fe0a3", "#0d2417"),
    "half right": ("#ffd479", "#2b2005"),
    "wrong": ("#ff8f86", "#300b08"),
    "not judged": ("#b7c2cf", "#1a222d"),
}


class Line(NamedTuple):
    """A line of text, the bar of a fraction, or the chip of a verdict."""

    text: str
    size: int = 16
    fill: str = TEXT
    fraction: float | None = None
    chip: Word | None = None

    @property
    def height(self) -> int:
        """Height in pixels with the space below."""
        if self.chip:
            return 30
        return BAR + 4 if self.fraction is not None else self.size + 6


def draw_demo(results: DemoResults) -> Image.Image:
    """Draw the sheet, mode RGB, with the disclaimer at its bottom; no text is cut off."""
    scratch = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    cards = [_card_lines(scratch, image) for image in results.images]
    rows = [range(start, min(start + COLUMNS, len(cards))) for start in range(0, len(cards), COLUMNS)]
    heights = [WIDTH + max(sum(line.height for line in cards[index]) for index in row) + INSET // 2 for row in rows]
    header = _header_lines(scratch, results)
    top = MARGIN + sum(line.height for line in header) + GAP
    searches = max(len(results.by_text), len(results.by_image)) * (THUMBNAIL + 40) + 44
    sheet = Image.new("RGB", (SHEET, top + sum(heights) + len(rows) * GAP + searches + GAP + 40), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    _draw_lines(draw, header, MARGIN, MARGIN, SHEET)
    for row, height in zip(rows, heights, strict=True):
        for column, index in enumerate(row):
            left = MARGIN + column * (WIDTH + GAP)
            draw.rounded_rectangle((left, top, left + WIDTH - 1, top + height - 1), 10, fill=CARD)
            sheet.paste(_square(results.images[index], INNER), (left + INSET, top + INSET))
            _draw_lines(draw, cards[index], left + INSET, top + WIDTH - INSET // 2, INNER)
        top += height + GAP
    _draw_searches(
        sheet, results, "Search by text: the three best of these images", results.by_text, MARGIN, top, searches
    )
    _draw_searches(
        sheet,
        results,
        "Similar cases: the three most similar of the other images",
        results.by_image,
        MARGIN + PANEL + GAP,
        top,
        searches,
    )
    draw.text((MARGIN, top + searches + GAP), DISCLAIMER, FAINT, font=_font(16))
    return sheet


def summary(results: DemoResults) -> str:
    """Return the number of images with each verdict, as words."""
    counts = [f"{results.count(word)} {word}" for word in VERDICTS if results.count(word)]
    return f"{len(results.images)} images: {', '.join(counts)}"


def _header_lines(draw: ImageDraw.ImageDraw, results: DemoResults) -> list[Line]:
    prompts = len(results.images[0].result.probabilities)
    words = ", ".join(results.unknown_words)
    unknown = _wrap(draw, f"Words that this model never learned: {words}", 16, SHEET - 2 * MARGIN) if words else []
    return [
        Line(f"The model {results.model} looks at {summary(results)}", 30),
        Line(
            f"Each card: is the best of {prompts} descriptions right? What the image is; then the best description, "
            "with its cosine and probability.",
            18,
            FAINT,
        ),
        *(Line(line, 16, FAINT) for line in unknown),
    ]


def _card_lines(draw: ImageDraw.ImageDraw, image: Judged) -> list[Line]:
    chip, *reason = _verdict_lines(draw, image.verdict, INNER)
    lines = [chip, *(Line(line, 19) for line in _wrap(draw, image.example.title, 19, INNER)), *reason]
    if image.example.modality:
        lines += [
            Line(line, 15, VERDICTS["half right"][0])
            for mark in mark_lines(image.result.unlike_validation)
            for line in _wrap(draw, mark, 15, INNER)
        ]
    prompt, probability, cosine = image.ranked()[0]
    lines += [Line("", 2), *(Line(line) for line in _wrap(draw, f"best: {prompt}", 16, INNER))]
    lines += [Line(f"cosine {cosine:.2f}, {probability:.0%}", 15, FAINT), Line("", fraction=probability)]
    if image.expected and image.verdict.word != "right":
        lines.append(Line(f"the right one: cosine {image.cosines[image.expected]:.2f}", 15, FAINT))
    return lines


def _verdict_lines(draw: ImageDraw.ImageDraw, verdict: Verdict, width: int) -> list[Line]:
    reason = _wrap(draw, verdict.reason, 15, width) if verdict.reason else []
    return [Line(verdict.word.upper(), 15, chip=verdict.word), *(Line(line, 15, FAINT) for line in reason)]


def _draw_searches(
    sheet: Image.Image, results: DemoResults, title: str, searches: Sequence[Search], left: int, top: int, height: int
) -> None:
    """Draw a panel with a row for each query: the query, its verdict, and its hits with their cosines."""
    draw = ImageDraw.Draw(sheet)
    draw.rounded_rectangle((left, top, left + PANEL - 1, top + height - 1), 10, fill=CARD)
    draw.text((left + INSET, top + INSET), title, TEXT, font=_font(20))
    top += 44
    first = left + PANEL - 3 * (THUMBNAIL + GAP)  # of the hits
    for search in searches:
        width, text = first - left - INSET - 2 * GAP, left + INSET
        if search.query is None:
            lines = [Line(line, 18) for line in _wrap(draw, f"“{search.text}”", 18, width)]
        else:
            query = results.images[search.query]
            sheet.paste(_square(query, THUMBNAIL), (text, top))
            text, width = text + THUMBNAIL + GAP, width - THUMBNAIL - GAP
            lines = [Line(line, 16) for line in _wrap(draw, query.example.title, 16, width)]
        _draw_lines(draw, [*lines, *_verdict_lines(draw, search.verdict, width)], text, top, width)
        for column, (index, cosine) in enumerate(search.hits):
            x = first + column * (THUMBNAIL + GAP)
            sheet.paste(_square(results.images[index], THUMBNAIL), (x, top))
            draw.text((x, top + THUMBNAIL + 6), f"cosine {cosine:.2f}", FAINT, font=_font(15))
        top += THUMBNAIL + 40


def _draw_lines(draw: ImageDraw.ImageDraw, lines: Sequence[Line], left: int, top: int, width: int) -> None:
    for line in lines:
        font = _font(line.size)
        if line.chip:
            fill, dark = VERDICTS[line.chip]
            length = draw.textlength(line.text, font=font)
            draw.rounded_rectangle((left, top, left + length + 16, top + 22), 8, fill=fill)
            draw.text((left + 8, top + 11), line.text, dark, font=font, anchor="lm")
        elif line.fraction is not None:
            draw.rounded_rectangle((left, top, left + width - 1, top + BAR), BAR // 2, fill=TRACK)
            if filled := round((width - 1) * line.fraction):
                draw.rounded_rectangle((left, top, left + filled, top + BAR), BAR // 2, fill=ACCENT)
        else:
            draw.text((left, top), line.text, line.fill, font=font)
        top += line.height


def _wrap(draw: ImageDraw.ImageDraw, text: str, size: int, width: int) -> list[str]:
    """Break a text into lines that fit the width; a longer word has a line of its own."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if not lines[-1] or draw.textlength(longer, font=_font(size)) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _square(image: Judged, size: int) -> Image.Image:
    """Return the image padded to a square, its aspect ratio preserved."""
    return ImageOps.pad(Image.fromarray(image.pixels), (size, size), color="black")


@cache
def _font(size: int) -> Font:
    """Load the font, which takes a while, once for each size."""
    return ImageFont.load_default(size)
