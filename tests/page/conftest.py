"""A browser, a server with a store of real pictures, and a page that may reach nothing else."""

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

    from tests.page.page_driver import Person
    from tests.serve.server_process import ServerProcess

ANATOMY = {"CT_small.dcm": "chest", "J2K_pixelrep_mismatch.dcm": "head", "examples_overlay.dcm": "abdomen"}


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pydicom's example files."""
    folder = tmp_path_factory.mktemp("page") / "pictures"
    folder.mkdir()
    for example in EXAMPLES:
        if (path := example_path(example.file)) is None:
            pytest.skip("pydicom was installed without its example files")
        shutil.copy(path, folder / example.file)
    return folder


@pytest.fixture(scope="session")
def site(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """`mi2 serve` with the built-in model and the store `cases`."""
    for part in ("uvicorn", "lancedb"):
        pytest.importorskip(part, reason="the page's tests need the serve and search extras")
    from tests.serve.server_process import run_server

    folder = tmp_path_factory.mktemp("site")
    table = pictures.parent / "table.csv"
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "modality", "anatomy", "number"])
        for number, example in enumerate(EXAMPLES):
            rows.writerow([f"{pictures.name}/{example.file}", example.modality, ANATOMY.get(example.file, ""), number])
    store, tagger = str(folder / "cases"), str(folder / "kinds.json")
    mi2("index", "add", store, str(pictures), "--metadata", str(table))
    mi2("tag", "fit", str(table), "--label-column", "modality", "--template", "{}", "--out", tagger)
    options = ("--store", store, "--pictures", str(pictures), "--tagger", tagger, "--root-path", "/tools/mi2")
    with run_server(folder, *options) as server:
        yield server


def mi2(*words: str) -> None:
    command = [sys.executable, "-m", "medimageinsight", *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; for one module at a time, since Playwright keeps an event loop running in this thread."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="the page's tests need playwright")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("the page's tests need the browser chromium")
    sync_api.expect.set_options(timeout=30_000)  # a machine may be busy
    with sync_api.sync_playwright() as playwright:
        running_browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running_browser
        running_browser.close()


@pytest.fixture
def visit(browser: Browser, pictures: Path) -> Iterator[Any]:
    """Opens the page of a server: `visit(server, **options of the browser's context)` gives a `Person` at it.

    At the end: nothing but the server was asked for anything, no script failed, and the page's policy held.
    """
    from tests.page.page_driver import Person

    people: list[Person] = []

    def open_page(server: ServerProcess, path: str = "/tools/mi2/", **options: Any) -> Person:
        person = Person.at(browser.new_context(**options), server, path, pictures)
        people.append(person)
        return person

    yield open_page
    for person in people:
        person.page.context.close()
    for person in people:
        assert person.elsewhere == []
        assert person.faults == []


@pytest.fixture
def person(visit: Any, site: ServerProcess) -> Person:
    """Someone with the page of the server with a store before them."""
    opened: Person = visit(site)
    opened.expect_words("Add an image to begin")
    return opened
