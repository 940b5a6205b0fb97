"""Tables for terminals of any width, and for pipes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import RenderableType

    Rows = Sequence[Sequence[RenderableType]]

_GAP = 3  # characters between columns
_MIN_NAME_WIDTH = 24  # the first column, which names a source, is shortened no further


def plain_table(columns: Sequence[str], rows: Rows) -> str:
    """Return lines of aligned columns, unwrapped and without control characters, for a pipe or a file.

    A column of bars is left out: the number next to it is the same.
    """
    shown = [index for index in range(len(columns)) if not _has_bars(rows, index)]
    cells = [[columns[index] for index in shown], *([_text(row[index]) for index in shown] for row in rows)]
    widths = [max(cell_len(row[index]) for row in cells) for index in range(len(shown))]
    lines = [
        "".join(cell + " " * (width + 2 - cell_len(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    return "\n".join(lines)


def fit_table(columns: Sequence[str], rows: Rows, *, width: int) -> tuple[Table, list[str]]:
    """Return a table of at most `width` characters, and the names of the columns that it leaves out.

    Cells are wrapped between words, never inside one. If words are too long for that, the beginning of the first
    column's names is replaced by an ellipsis; after that, bars and then the last columns are left out.
    """
    natural = [_width(columns, rows, index, cell_len) for index in range(len(columns))]
    smallest = [_width(columns, rows, index, _longest_word) for index in range(len(columns))]
    smallest[0] = min(smallest[0], _MIN_NAME_WIDTH, width)
    shown = list(range(len(columns)))
    by_importance = sorted(shown, key=lambda index: (_has_bars(rows, index), index))
    while len(shown) > 1 and sum(smallest[index] + _GAP for index in shown) > width:
        shown.remove(by_importance.pop())
    widths = _distribute([natural[index] for index in shown], [smallest[index] for index in shown], width)
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False)
    for index, column_width in zip(shown, widths, strict=True):
        table.add_column(columns[index], width=column_width, overflow="fold")
    for row in rows:
        table.add_row(*(_shorten(row[index], widths[0]) if index == 0 else row[index] for index in shown))
    left_out = [name for index, name in enumerate(columns) if index not in shown and name]
    return table, left_out


def _distribute(natural: list[int], smallest: list[int], width: int) -> list[int]:
    """Return widths that sum to at most `width`, gaps included: the widest columns give way first."""
    widths = list(natural)
    for _ in range(sum(widths) + _GAP * len(widths) - width):
        reducible = [index for index in range(len(widths)) if widths[index] > smallest[index]]
        if not reducible:
            break
        widths[max(reducible, key=lambda index: widths[index])] -= 1
    return widths


def _width(columns: Sequence[str], rows: Rows, index: int, measure: Callable[[str], int]) -> int:
    cells = [row[index] for row in rows]
    bar_widths = [cell.width or 1 for cell in cells if isinstance(cell, ProgressBar)]
    lines = [line for text in (columns[index], *map(_text, cells)) for line in text.split("\n")]
    return max(1, *bar_widths, *map(measure, lines))


def _longest_word(text: str) -> int:
    return max((cell_len(word) for word in text.split()), default=0)


def _shorten(cell: RenderableType, width: int) -> RenderableType:
    """Replace the beginning of a name by an ellipsis where one of its words does not fit: its end differs more."""
    text = _text(cell)
    if _longest_word(text) <= width:
        return cell
    tail = text
    while cell_len(tail) > width - 1:
        tail = tail[1:]
    return Text(f"…{tail}", style=cell.style if isinstance(cell, Text) else "")


def _has_bars(rows: Rows, index: int) -> bool:
    return any(isinstance(row[index], ProgressBar) for row in rows)


def _text(cell: RenderableType) -> str:
    return cell.plain if isinstance(cell, Text) else cell if isinstance(cell, str) else ""
