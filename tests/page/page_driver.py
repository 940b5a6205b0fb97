"""User actions on the page, and the requests and errors that they cause."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from playwright.sync_api import expect

if TYPE_CHECKING:
    import re
    from pathlib import Path

    from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page, Route

    from tests.serve.server_process import ServerProcess

# Dispatches a drop or a paste of files, as a browser does.
TRANSFER = """([target, type, files]) => {
  const data = new DataTransfer();
  for (const [name, content] of files) {
    data.items.add(new File([Uint8Array.from(atob(content), (character) => character.charCodeAt(0))], name));
  }
  const options = { bubbles: true, cancelable: true };
  const event = type === "paste"
    ? new ClipboardEvent(type, { ...options, clipboardData: data })
    : new DragEvent(type, { ...options, dataTransfer: data });
  document.querySelector(target).dispatchEvent(event);
}"""


@dataclass(kw_only=True, eq=False)
class PageDriver:
    """A page of a browser with the actions of a user."""

    page: Page
    image_folder: Path
    foreign_urls: list[str] = field(default_factory=list)  # requested URLs of other servers
    script_errors: list[str] = field(default_factory=list)  # also violations of the content security policy

    @classmethod
    def open(cls, context: BrowserContext, server: ServerProcess, path: str, image_folder: Path) -> PageDriver:
        context.set_default_timeout(30_000)
        driver = cls(page=context.new_page(), image_folder=image_folder)

        def allow_own(route: Route) -> None:
            if route.request.url.startswith(f"{server.url}/"):
                route.continue_()
            else:
                driver.foreign_urls.append(route.request.url)
                route.abort()

        def record_error(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
                driver.script_errors.append(message.text)

        context.route("**/*", allow_own)
        driver.page.on("console", record_error)
        driver.page.on("filechooser", lambda _: None)  # registered before the first one opens
        driver.page.on("pageerror", lambda error: driver.script_errors.append(str(error)))
        driver.page.goto(server.url + path)
        return driver

    def locate(self, selector: str) -> Locator:
        return self.page.locator(selector)

    def choose_files(self, *names: str) -> None:
        """Choose files of the image folder."""
        with self.page.expect_file_chooser() as chooser:
            self.page.get_by_role("button", name="Choose images").click()
        chooser.value.set_files([self.image_folder / name for name in names])

    def transfer(self, event: str, files: dict[str, bytes]) -> None:
        """`drop` or `paste` files of these names."""
        encoded = [[name, base64.b64encode(content).decode()] for name, content in files.items()]
        self.page.evaluate(TRANSFER, ["#results", event, encoded])

    def add_text(self, text: str) -> None:
        self.page.get_by_label("A text", exact=True).fill(text)
        self.page.get_by_role("button", name="Add", exact=True).click()

    def open_tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name, exact=True).click()

    def expect_status(self, text: str | re.Pattern[str]) -> None:
        """Wait until the status line contains the text."""
        expect(self.locate("#status")).to_contain_text(text)

    def shown_request(self, language: str) -> str:
        """Return the code of the shown request."""
        self.page.get_by_role("tab", name=language, exact=True).click()
        return self.locate("#code").inner_text()

    def focused_element(self) -> Any:
        return self.page.evaluate("document.activeElement.id || document.activeElement.textContent")
