"""Tables on terminals of any width, and in pipes."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.progress_bar import ProgressBar

from medimageinsight.cli.output import bar
from medimageinsight.cli.table_layout import fit_table, plain_table

COLUMNS = ("source", "label", "", "probability", "remark")
PATH = "archive/1.2.840.113619.2.55.3.604688119.868.1/image-000001.dcm"
ROWS = [
    (PATH, "computed tomography of the chest", bar(0.5), "84.3%", "follow-up after two weeks"),
    ("b.png", "MRI", bar(0.1), "4.3%", "x"),
]


def draw(columns: tuple[str, ...], rows: list, width: int) -> tuple[list[str], list[str]]:
    table, left_out = fit_table(columns, rows, width=width)
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(table)
    return console.file.getvalue().splitlines(), left_out  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [200, 120, 100, 80, 60, 50, 40, 30])
def test_no_word_is_broken_and_no_line_is_wider_than_the_terminal(width: int) -> None:
    lines, left_out = draw(COLUMNS, ROWS, width)
    assert max(cell_len(line) for line in lines) <= width
    words = {word for row in (COLUMNS, *ROWS) for cell in row if isinstance(cell, str) for word in cell.split()}
    printed = {word for line in lines for word in line.split() if set(word) - set("─━╸╺")}
    assert all(word in words or PATH.endswith(word.removeprefix("…")) for word in printed)
    assert {"84.3%", "probability"} <= printed or "probability" in left_out
    assert "remark" in printed or "remark" in left_out


def test_a_wide_terminal_shows_everything_unshortened() -> None:
    lines, left_out = draw(COLUMNS, ROWS, 200)
    assert not left_out
    assert any(PATH in line and "computed tomography of the chest" in line for line in lines)


def test_bars_are_left_out_before_columns_with_text() -> None:
    lines, left_out = draw(COLUMNS[:4], [row[:4] for row in ROWS], 54)
    assert not left_out
    assert not any("━" in line for line in lines)
    assert any("84.3%" in line for line in lines)


@given(
    st.lists(st.tuples(st.text("ab ", min_size=1, max_size=60), st.text("cd ", max_size=60)), min_size=1, max_size=4)
)
def test_any_table_fits_any_terminal(rows: list[tuple[str, str]]) -> None:
    for width in (20, 40, 80):
        lines, _ = draw(("name", "text"), rows, width)
        assert all(cell_len(line) <= width for line in lines)


def test_a_pipe_gets_one_unwrapped_line_for_each_row() -> None:
    heading, first, second = plain_table(COLUMNS, ROWS).splitlines()
    assert heading.split() == ["source", "label", "probability", "remark"]
    assert PATH in first
    assert first.endswith("84.3%        follow-up after two weeks")
    assert second.index("MRI") == heading.index("label")
    assert "\x1b" not in heading + first + second


def test_a_bar_without_a_width_has_a_place() -> None:
    lines, _ = draw(("source", "bar"), [("a", ProgressBar(total=1, completed=1))], 40)
    assert lines
