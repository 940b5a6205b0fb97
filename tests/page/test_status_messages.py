"""Messages for a server without a store, with keys, busy, or unreachable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("playwright.sync_api", reason="the page's tests need playwright")
from playwright.sync_api import expect

from tests.page.test_requests import run_python, run_shell
from tests.serve.server_process import make_image, run_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.serve.server_process import ServerProcess

FIRST, SECOND = "first-key-0123456789", "second-key-0123456789"


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keys"
    write_key(path, FIRST)
    return path


@pytest.fixture(scope="module")
def keyed(toy_bundle: Path, key_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server without a store that requires a key."""
    pytest.importorskip("uvicorn", reason="the server needs the serve extra")
    options = ("--model", str(toy_bundle), "--api-key-file", str(key_file))
    with run_server(tmp_path_factory.mktemp("keyed"), *options) as server:
        yield server


def write_key(path: Path, key: str) -> None:
    partial = path.with_suffix(".new")
    partial.write_text(f"{key}\n")
    partial.chmod(0o600)
    partial.replace(path)


def test_without_a_store_shows_how_to_make_one(open_page: Any, keyed: ServerProcess, key_file: Path) -> None:
    write_key(key_file, FIRST)
    driver = open_page(keyed, "/", http_credentials={"username": "any", "password": FIRST})
    driver.expect_status("Add an image to begin")
    for tab in ("Similar cases", "Map"):
        driver.open_tab(tab)
        expect(driver.locate("#no-store")).to_contain_text("mi2 index add")
        expect(driver.locate("#no-store")).to_contain_text("mi2 serve --store")
        expect(driver.locate("#similar-form")).to_be_hidden()
    driver.open_tab("Prompts")
    expect(driver.locate("#no-store")).to_be_hidden()
    expect(driver.locate("#key-form")).to_be_hidden()


def test_a_key_is_requested_used_and_stored_in_memory_only(
    open_page: Any, keyed: ServerProcess, key_file: Path, tmp_path: Path
) -> None:
    write_key(key_file, FIRST)
    driver = open_page(keyed, "/", http_credentials={"username": "any", "password": FIRST})
    driver.expect_status("Add an image to begin")
    write_key(key_file, SECOND)
    driver.page.wait_for_timeout(1100)  # the file is checked once a second
    driver.transfer("drop", {"image.png": make_image()})
    driver.expect_status("The server asks for a key")
    field = driver.page.get_by_label("API key")
    expect(field).to_be_focused()
    field.fill("another-key-0123456789")
    field.press("Enter")
    driver.expect_status("The server does not know this key")
    field.fill(SECOND)
    driver.page.get_by_role("button", name="Use this key").click()
    driver.expect_status("image.png: ")
    expect(field).to_be_hidden()
    stored = "JSON.stringify([Object.entries(localStorage), Object.entries(sessionStorage), document.cookie])"
    assert driver.page.evaluate(stored) == '[[],[],""]'
    (tmp_path / "image.png").write_bytes(make_image())
    for language, run in (("curl", run_shell), ("Python", run_python)):
        shown = driver.shown_request(language)
        assert SECOND not in shown
        assert "results" in run(shown, tmp_path, MI2_KEY=SECOND)


def test_an_unreachable_server_is_reported_and_retried(open_page: Any, toy_bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="the server needs the serve extra")
    with run_server(tmp_path, "--model", str(toy_bundle)) as server:
        driver = open_page(server, "/")
        driver.expect_status("Add an image to begin")
        server.stop()
        driver.transfer("drop", {"image.png": make_image()})
        driver.expect_status("The server cannot be reached")
    with run_server(tmp_path, "--model", str(toy_bundle), "--port", str(server.port), ready=False) as other:
        other.port = server.port
        other.wait_until_ready()
        driver.page.get_by_role("button", name="Try again").click()
        driver.expect_status("image.png: ")
        expect(driver.locate("#items")).to_contain_text("40 × 30")


@pytest.mark.parametrize(("status", "code"), [(429, "queue_full"), (503, "model_loading")])
def test_a_busy_server_s_message_includes_when_to_retry(
    open_page: Any, keyed: ServerProcess, key_file: Path, status: int, code: str
) -> None:
    write_key(key_file, FIRST)
    driver = open_page(keyed, "/", http_credentials={"username": "any", "password": FIRST})
    driver.expect_status("Add an image to begin")
    body = f'{{"error": {{"code": "{code}", "message": "expected room, got none"}}}}'
    answer = {"status": status, "headers": {"Retry-After": "7"}, "content_type": "application/json", "body": body}
    driver.page.route("**/api/classify", lambda route: route.fulfill(**answer))
    driver.transfer("drop", {"image.png": make_image()})
    driver.expect_status("Expected room, got none. Try again in 7 s.")
    driver.page.unroute("**/api/classify")
    driver.page.get_by_role("button", name="Try again").click()
    driver.expect_status("image.png: ")
