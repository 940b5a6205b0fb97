from __future__ import annotations

from medimageinsight.reports import markdown_table, markdown_text


def test_markup_in_text_is_escaped():
    assert markdown_text("<b> x\n# y ![z](http://a/b.png) <!-- c") == r"\<b> x # y \![z](http://a/b.png) \<!-- c"
    assert markdown_text("p < 0.05") == "p < 0.05"


def test_bars_and_line_breaks_in_cells_are_escaped():
    assert markdown_table(("a",), [("x|y\nz",)]) == "| a |\n| --- |\n| x\\|y z |"
