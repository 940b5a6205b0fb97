"""The page's files need nothing but their server and trust nothing that they are sent."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.serve.server_process import ServerProcess

FOLDER = files("medimageinsight.serve").joinpath("page")
PARTS = {part.name: part.read_text("utf-8") for part in FOLDER.iterdir()}
SCRIPTS = sorted(name for name in PARTS if name.endswith(".js"))


def test_the_parts_are_there() -> None:
    assert {"index.html", "page.css", "main.js"} <= set(PARTS)


@pytest.mark.parametrize("name", sorted(PARTS))
def test_a_part_reaches_nowhere_else(name: str) -> None:
    content = PARTS[name].replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|@import|\burl\(", content)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", content)
    assert not re.search(r"localStorage|sessionStorage|indexedDB|\.cookie|sendBeacon|serviceWorker", content)
    assert not re.search(r"(?:href|src)=\"/|fetch\([\"'`]|import .*[\"']/", content), (
        "an address that breaks under a root path"
    )


def test_the_document_has_nothing_inline() -> None:
    document = PARTS["index.html"]
    assert not re.search(
        r" on[a-z]+=| style=|<style|<script(?! type=\"module\" src=\"page/main.js\"></script>)", document
    )
    assert document.count("For research and development, not for diagnosis or treatment.") == 1


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_a_script_imports_and_looks_for_is_there(name: str) -> None:
    assert set(re.findall(r"from \"\./([^\"]+)\"|import \"\./([^\"]+)\"", PARTS[name])) <= {
        pair for part in PARTS for pair in ((part, ""), ("", part))
    }
    for wanted in re.findall(r"\$\(\"([^\"]+)\"\)", PARTS[name]):
        assert f'id="{wanted}"' in PARTS["index.html"], wanted


def test_the_server_s_policy_lets_nothing_inline_run(site: ServerProcess) -> None:
    page = site.get("/", Accept="text/html")
    policy = page.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "style-src 'self';" in policy
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    script = site.get("/page/main.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert script.headers["x-content-type-options"] == "nosniff"
    assert site.get("/page/page.css").headers["content-type"].startswith("text/css")


@pytest.mark.parametrize("name", ["index.html", "nothing.js", "..%2Fsettings.py", "%2e%2e/settings.py", "main.js/", ""])
def test_nothing_but_the_parts_is_served(site: ServerProcess, name: str) -> None:
    assert site.get(f"/page/{name}").status == 404
