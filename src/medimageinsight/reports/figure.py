"""Plots with matplotlib, saved as PNG and as SVG for a page in light or dark colours."""

from __future__ import annotations

import io
import re
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from medimageinsight.errors import missing_extra
from medimageinsight.reports.document import Plot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from matplotlib.figure import Figure

INK = "#333333"  # becomes the page's text colour in the SVG
# Distinguishable with colour blindness, on white and near black (Okabe and Ito 2008, darker and lighter).
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
    "svg.fonttype": "none",  # text remains text: smaller, and accessible to screen readers
    "text.parse_math": False,  # a dollar sign in a name is no formula
}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


@contextmanager
def new_figure(width: float, height: float, *, name: str) -> Iterator[Figure]:
    """Yield a new figure of a size in inches. It is made without pyplot, which has global state and needs a display.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("evaluate", "drawing a report's plots") from error
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        yield Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Figure, folder: Path, name: str, *, alt: str) -> Plot:
    """Write ``NAME.png`` and return the plot with its description; call it inside `new_figure`."""
    stream = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)  # only the PNG lacks these glyphs
        figure.savefig(folder / f"{name}.png", dpi=144)
        figure.savefig(stream, format="svg", transparent=True, metadata=_NO_METADATA)
    return Plot(name=f"{name}.png", svg=_inline_svg(stream.getvalue(), name), alt=alt)


def _inline_svg(text: str, name: str) -> str:
    """Return the ``<svg>`` of a matplotlib file for a page: in its text colour, with ids unique to the plot."""
    svg = text[text.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace('href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
    return svg.replace(INK, "currentColor")
