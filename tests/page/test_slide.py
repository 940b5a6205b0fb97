"""A stored tile is looked at within its slide: pan, zoom, back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("playwright.sync_api", reason="the page's tests need playwright")
pytest.importorskip("lancedb", reason="stores need the search extra")
pytest.importorskip("tiffslide", reason="slides need the slides extra")
from playwright.sync_api import expect

from medimageinsight import MedImageInsight, search
from tests.page.page_driver import PageDriver
from tests.serve.server_process import run_server
from tests.studies.make_slides import stained, write_svs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser


@pytest.fixture
def slide_page(browser: Browser, tmp_path: Path) -> Iterator[PageDriver]:
    """The page of a server with one stored tile of a slide."""
    shown = tmp_path / "slides"
    shown.mkdir()
    write_svs(shown / "slide.svs", stained())
    with MedImageInsight.load("mini") as model:
        tile = search.Item(
            id="tile",
            path="slide.svs",
            embedding=model.embed_texts("histopathology"),
            metadata={"origin": "region=128,256,128,128"},
        )
        with search.create_store(tmp_path / "store", identity=search.Identity.of(model)) as store:
            store.add([tile])
    options = ("--store", f"slides={tmp_path / 'store'}", "--image-folders", str(shown))
    with run_server(tmp_path, *options) as server, browser.new_context() as context:
        yield PageDriver.open(context, server, "/", shown)


def test_a_tile_is_seen_in_its_slide(slide_page: PageDriver) -> None:
    page = slide_page.page
    page.get_by_role("tab", name="Similar cases").click()
    page.get_by_label("Search by text").fill("histopathology")
    page.get_by_role("button", name="Search").click()
    slide_page.locate("#hits .hit").first.click()
    where = slide_page.locate("#slide-where")
    expect(where).to_have_text("x 0, y 64, 256 µm wide")  # four times the tile's 64 µm, within the slide
    expect(slide_page.locate("#slide-frame")).to_be_visible()
    first = slide_page.locate("#slide-image").get_attribute("src")
    view = page.get_by_role("application")
    view.press("ArrowRight")
    expect(where).to_have_text("x 128, y 64, 256 µm wide")
    expect(slide_page.locate("#slide-image")).not_to_have_attribute("src", first or "")
    view.press("+")
    expect(where).to_have_text("x 256, y 192, 128 µm wide")
    page.get_by_role("button", name="Back to the tile").click()
    expect(where).to_have_text("x 0, y 64, 256 µm wide")
    assert slide_page.locate("#slide-image").evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 0
    page.get_by_role("button", name="Close").click()
    assert slide_page.script_errors == []
    assert slide_page.foreign_urls == []
