"""A plot drawn once, kept as PNG and as SVG that fits into a page, light or dark."""

from __future__ import annotations

import io
import re
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from medimageinsight.errors import missing_extra

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

INK = "#333333"  # becomes the page's own colour of text
# Told apart by people who see colours otherwise, on white and on near black (Okabe and Ito 2008, darker and lighter).
COLORS = ("#2f80c9", "#d9772b", "#2f9e6e", "#b36ab5", "#a0851c", "#5aa9c9", "#c9485b", "#7a7f86")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", "--", "-.", ":")
_STYLE: dict[Any, Any] = {
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "svg.fonttype": "none",  # texts stay texts: smaller, and read aloud
    "text.parse_math": False,  # a dollar in a name is a dollar
}
_NOTHING = dict.fromkeys(("Creator", "Date", "Format", "Type"))


@contextmanager
def new_canvas(width: float, height: float, *, name: str) -> Iterator[Canvas]:
    """A canvas of so many inches. Made without pyplot, which keeps global state and may look for a display.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure as Canvas
    except ImportError as error:
        raise missing_extra("evaluate", "drawing a report's plots") from error
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        yield Canvas(figsize=(width, height), layout="constrained")


def save(canvas: Canvas, folder: Path, name: str) -> str:
    """Writes ``NAME.png`` and returns the same as SVG; inside `new_canvas`."""
    stream = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)  # boxes in the PNG; the page has them
        canvas.savefig(folder / f"{name}.png", dpi=144)
        canvas.savefig(stream, format="svg", transparent=True, metadata=_NOTHING)
    return inline_svg(stream.getvalue(), name)


def inline_svg(text: str, name: str) -> str:
    """The ``<svg>`` of a matplotlib file for a page: in its colour of text, with ids that no other plot has."""
    svg = text[text.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace('href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
    return svg.replace(INK, "currentColor")


def whisker(axes: Axes, place: float, low: float, high: float, color: str) -> None:
    """The interval of a figure, level."""
    axes.plot((low, high), (place, place), linewidth=1.6, solid_capstyle="butt", color=color)
