"""A browser, a server with a store of real images, and a page that may access no other server."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from medimageinsight.cli.examples import EXAMPLES, example_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

    from tests.page.page_driver import PageDriver
    from tests.serve.server_process import ServerProcess

ANATOMY = {"CT_small.dcm": "chest", "J2K_pixelrep_mismatch.dcm": "head", "examples_overlay.dcm": "abdomen"}


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pydicom's example files."""
    folder = tmp_path_factory.mktemp("page") / "images"
    folder.mkdir()
    for example in EXAMPLES:
        if (path := example_path(example.file)) is None:
            pytest.skip("pydicom was installed without its example files")
        shutil.copy(path, folder / example.file)
    return folder


@pytest.fixture(scope="session")
def site(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """`mi2 serve` with the built-in model and the store `cases`."""
    for package in ("uvicorn", "lancedb"):
        pytest.importorskip(package, reason="the page's tests need the serve and search extras")
    from tests.serve.server_process import run_server

    folder = tmp_path_factory.mktemp("site")
    table = image_folder.parent / "table.csv"
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "modality", "anatomy", "number"])
        for number, example in enumerate(EXAMPLES):
            path = f"{image_folder.name}/{example.file}"
            rows.writerow([path, example.modality, ANATOMY.get(example.file, ""), number])
    store, tagger = str(folder / "cases"), str(folder / "kinds.json")
    run_mi2("index", "add", store, str(image_folder), "--metadata", str(table))
    run_mi2("tag", "fit", str(table), "--label-column", "modality", "--template", "{}", "--out", tagger)
    options = ("--store", store, "--image-folders", str(image_folder), "--tagger", tagger, "--root-path", "/tools/mi2")
    with run_server(folder, *options) as server:
        yield server


def run_mi2(*words: str) -> None:
    command = [sys.executable, "-m", "medimageinsight", *words]
    completed = subprocess.run(command, check=False, capture_output=True, text=True)
    assert completed.returncode == 0, completed.stderr


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium. Per module, since Playwright keeps an event loop running in this thread."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="the page's tests need playwright")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("the page's tests need the browser chromium")
    sync_api.expect.set_options(timeout=30_000)  # for busy machines
    with sync_api.sync_playwright() as playwright:
        running_browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running_browser
        running_browser.close()


@pytest.fixture
def open_page(browser: Browser, image_folder: Path) -> Iterator[Any]:
    """Open the page of a server: `open_page(server, **options of the browser's context)` returns its `PageDriver`.

    Afterwards, check that the page requested nothing from other servers, and that no script failed or broke the policy.
    """
    from tests.page.page_driver import PageDriver

    drivers: list[PageDriver] = []

    def open_at(server: ServerProcess, path: str = "/tools/mi2/", **options: Any) -> PageDriver:
        driver = PageDriver.open(browser.new_context(**options), server, path, image_folder)
        drivers.append(driver)
        return driver

    yield open_at
    for driver in drivers:
        driver.page.context.close()
    for driver in drivers:
        assert driver.foreign_urls == []
        assert driver.script_errors == []


@pytest.fixture
def driver(open_page: Any, site: ServerProcess) -> PageDriver:
    """The open page of the server with a store."""
    opened: PageDriver = open_page(site)
    opened.expect_status("Add an image to begin")
    return opened
