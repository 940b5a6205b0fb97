"""What a person does at the page, and what was asked for meanwhile."""

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

# A drop or a paste of files, as a browser makes it of what the user brings.
TRANSFER = """([target, type, files]) => {
  const data = new DataTransfer();
  for (const [name, content] of files) {
    data.items.add(new File([Uint8Array.from(atob(content), (one) => one.charCodeAt(0))], name));
  }
  const options = { bubbles: true, cancelable: true };
  const event = type === "paste"
    ? new ClipboardEvent(type, { ...options, clipboardData: data })
    : new DragEvent(type, { ...options, dataTransfer: data });
  document.querySelector(target).dispatchEvent(event);
}"""


@dataclass(kw_only=True, eq=False)
class Person:
    """A page of a browser and a person who uses it."""

    page: Page
    pictures: Path
    elsewhere: list[str] = field(default_factory=list)  # addresses that are not the server's
    faults: list[str] = field(default_factory=list)  # errors of scripts, breaches of the policy

    @classmethod
    def at(cls, context: BrowserContext, server: ServerProcess, path: str, pictures: Path) -> Person:
        context.set_default_timeout(30_000)
        person = cls(page=context.new_page(), pictures=pictures)

        def allow_own(route: Route) -> None:
            if route.request.url.startswith(f"{server.url}/"):
                route.continue_()
            else:
                person.elsewhere.append(route.request.url)
                route.abort()

        def note(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
                person.faults.append(message.text)

        context.route("**/*", allow_own)
        person.page.on("console", note)
        person.page.on("filechooser", lambda _: None)  # from now on, or the first may come before it is listened for
        person.page.on("pageerror", lambda error: person.faults.append(str(error)))
        person.page.goto(server.url + path)
        return person

    def get(self, selector: str) -> Locator:
        return self.page.locator(selector)

    def choose(self, *names: str) -> None:
        """Choose files of the folder of pictures."""
        with self.page.expect_file_chooser() as chooser:
            self.page.get_by_role("button", name="Choose images").click()
        chooser.value.set_files([self.pictures / name for name in names])

    def bring(self, how: str, files: dict[str, bytes]) -> None:
        """`drop` or `paste` files of these names."""
        encoded = [[name, base64.b64encode(content).decode()] for name, content in files.items()]
        self.page.evaluate(TRANSFER, ["#results", how, encoded])

    def type_text(self, text: str) -> None:
        self.page.get_by_label("A text", exact=True).fill(text)
        self.page.get_by_role("button", name="Add", exact=True).click()

    def open_tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name, exact=True).click()

    def expect_words(self, words: str | re.Pattern[str]) -> None:
        """The status says them, sooner or later."""
        expect(self.get("#status")).to_contain_text(words)

    def request(self, language: str) -> str:
        """The text of the request that is shown."""
        self.page.get_by_role("tab", name=language, exact=True).click()
        return self.get("#code").inner_text()

    def focused(self) -> Any:
        return self.page.evaluate("document.activeElement.id || document.activeElement.textContent")
