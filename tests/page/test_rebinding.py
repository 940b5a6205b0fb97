"""A page of another site in a real browser: by a name that leads to this server, and by requests to it."""

from __future__ import annotations

import http.server
import shutil
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

    from tests.serve.server_process import ServerProcess

READ = """async ([url, options]) => {
  try {
    const response = await fetch(url, options);
    return [response.status, await response.text()];
  } catch (error) {
    return [0, String(error)];
  }
}"""
SHOW = """(url) => new Promise((resolve) => {
  const image = new Image();
  image.onload = () => resolve(image.naturalWidth);
  image.onerror = () => resolve(0);
  image.src = url;
})"""
POST = {"method": "POST", "headers": {"Content-Type": "application/json"}}


class EmptyPage(http.server.BaseHTTPRequestHandler):
    """A host of an empty page."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Print nothing."""


@pytest.fixture(scope="module")
def evil_port() -> Iterator[int]:
    """The port of another site on this machine."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), EmptyPage) as evil:
        thread = threading.Thread(target=evil.serve_forever, args=(0.05,))
        thread.start()
        yield int(evil.server_address[1])
        evil.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A page of a browser in which the name evil.example leads to this machine."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="the page's tests need playwright")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("the page's tests need the browser chromium")
    arguments = ["--no-sandbox", "--host-resolver-rules=MAP evil.example 127.0.0.1"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        opened = browser.new_page()
        opened.set_default_timeout(30_000)
        yield opened
        browser.close()


def fetch(page: Page, url: str, **options: Any) -> tuple[int, str]:
    status, text = page.evaluate(READ, [url, options])
    return status, text


def test_a_page_whose_name_leads_to_the_server_reads_nothing(page: Page, site: ServerProcess) -> None:
    response = page.goto(f"http://evil.example:{site.port}/ping")  # any host may probe
    assert response is not None
    assert response.status == 200
    assert page.evaluate("location.origin") == f"http://evil.example:{site.port}", "the browser takes it for its own"
    for path in ("/api/about", "/api/map?store=cases", "/metrics", "/docs", "/version", "/"):
        status, text = fetch(page, path, headers={"Accept": "text/html"})
        assert (status, "host_not_allowed" in text) == (421, True), path
    body = '{"store": "cases", "text": "x-ray", "k": 1}'
    status, text = fetch(page, "/api/search", body=body, **POST)
    assert (status, "host_not_allowed" in text) == (421, True)
    assert page.evaluate(SHOW, "/api/picture?store=cases&id=CT_small.dcm") == 0


def test_a_page_of_another_site_sees_nothing(page: Page, site: ServerProcess, evil_port: int) -> None:
    page.goto(f"http://evil.example:{evil_port}/")
    address = f"{site.url}/api/picture?store=cases&id={stored_id(site)}"
    assert site.get(address.removeprefix(site.url)).status == 200
    assert page.evaluate(SHOW, address) == 0
    assert fetch(page, f"{site.url}/api/about")[0] == 0
    assert fetch(page, f"{site.url}/api/about", mode="no-cors")[1] in ("", "TypeError: Failed to fetch")
    before = site.metric("mi2_rows_total")
    for content_type in ("text/plain", "application/json"):
        headers = {"Content-Type": content_type}
        body = '{"input_data": {"columns": ["text"], "data": [["x-ray"]]}}'
        assert fetch(page, f"{site.url}/score", method="POST", mode="no-cors", headers=headers, body=body)[0] == 0
    assert site.metric("mi2_rows_total") == before


def test_a_link_from_another_site_opens_the_page(page: Page, site: ServerProcess, evil_port: int) -> None:
    page.goto(f"http://evil.example:{evil_port}/")
    page.evaluate("(url) => { setTimeout(() => { location.href = url; }); }", f"{site.url}/tools/mi2/")
    page.wait_for_url(f"{site.url}/tools/mi2/")
    page.locator("#status", has_text="Add an image to begin").wait_for()
    assert fetch(page, "api/about")[0] == 200, "the page's own requests"


def stored_id(site: ServerProcess) -> str:
    hits: list[dict[str, Any]] = site.post("/api/search", {"store": "cases", "text": "x-ray", "k": 1}).json["hits"]
    return quote(str(hits[0]["id"]), safe="")
