"""Take the screenshots of docs/page.md from a running server: `python tests/page/screenshots.py URL IMAGES OUT`.

IMAGES is a folder with pydicom's example files. The server needs a store with columns such as `modality`.
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from playwright.sync_api import expect, sync_playwright

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FILES = ("CT_small.dcm", "examples_overlay.dcm", "examples_ybr_color.dcm")
DESK = {"viewport": {"width": 1200, "height": 880}}
NARROW = {"viewport": {"width": 360, "height": 780}, "device_scale_factor": 2}
COLORS = 256  # reduces the file size to a quarter


def main(url: str, image_folder: Path, out: Path) -> None:
    """Write page-classify, -search, -compare, -map, -dark and -narrow."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = open_page(browser, url, image_folder, **DESK)
        show(page, "Prompts", "#ranking li")
        save(page, out / "page-classify.png")
        show(page, "Compare", "#pair img")
        page.get_by_label("Second").select_option(label=FILES[1])
        page.get_by_role("checkbox").check()
        expect(page.locator("#matrix td button").first).to_be_visible()
        save(page, out / "page-compare.png")
        show(page, "Map", "#plot .flag")
        save(page, out / "page-map.png")
        page.locator(".item").nth(2).click()
        show(page, "Similar cases", "#hits img")
        page.locator("#filters summary").click()
        page.get_by_label("Value").fill("dermoscopy")
        page.get_by_label("Operator").select_option("!=")
        page.get_by_role("button", name="Add condition").click()
        expect(page.locator("[aria-busy]")).to_have_count(0)
        save(page, out / "page-search.png")
        dark = open_page(browser, url, image_folder, color_scheme="dark", **DESK)
        show(dark, "Tags", "#tag-bars li")
        save(dark, out / "page-dark.png")
        narrow = open_page(browser, url, image_folder, **NARROW)
        show(narrow, "Similar cases", "#hits img")
        narrow.locator("[role=tablist]").first.evaluate("(tabs) => tabs.scrollIntoView()")
        save(narrow, out / "page-narrow.png")
        browser.close()


def open_page(browser: Browser, url: str, image_folder: Path, **options: Any) -> Page:
    """Open the page, add three files and select the first."""
    page = browser.new_context(**options, reduced_motion="reduce").new_page()
    page.goto(url)
    page.locator("#files").set_input_files([image_folder / name for name in FILES])
    expect(page.locator("#items img")).to_have_count(len(FILES))
    return page


def show(page: Page, tab: str, selector: str) -> None:
    page.get_by_role("tab", name=tab).click()
    page.locator(selector).first.wait_for()
    expect(page.locator("[aria-busy]")).to_have_count(0)
    page.wait_for_load_state("networkidle")


def save(page: Page, path: Path) -> None:
    """Save the visible part of the page as a small PNG."""
    page.wait_for_load_state("networkidle")
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    image.quantize(COLORS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
