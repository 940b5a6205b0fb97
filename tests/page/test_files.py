"""The page's files use only their own server, and no API that could run content as code."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.serve.server_process import ServerProcess

FOLDER = files("medimageinsight.serve").joinpath("page")
FILES = {file.name: file.read_text("utf-8") for file in FOLDER.iterdir()}
SCRIPTS = sorted(name for name in FILES if name.endswith(".js"))


def test_required_files_exist() -> None:
    assert {"index.html", "page.css", "main.js"} <= set(FILES)


@pytest.mark.parametrize("name", sorted(FILES))
def test_files_use_no_other_server_and_no_unsafe_api(name: str) -> None:
    content = FILES[name].replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|@import|\burl\(", content)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", content)
    assert not re.search(r"localStorage|sessionStorage|indexedDB|\.cookie|sendBeacon|serviceWorker", content)
    assert not re.search(r"(?:href|src)=\"/|fetch\([\"'`]|import .*[\"']/", content), (
        "a URL that does not work under a root path"
    )


def test_the_document_has_no_inline_code() -> None:
    document = FILES["index.html"]
    assert not re.search(
        r" on[a-z]+=| style=|<style|<script(?! type=\"module\" src=\"page/main.js\"></script>)", document
    )
    assert document.count("For research and development, not for diagnosis or treatment.") == 1


@pytest.mark.parametrize("name", SCRIPTS)
def test_imports_and_element_ids_exist(name: str) -> None:
    assert set(re.findall(r"from \"\./([^\"]+)\"|import \"\./([^\"]+)\"", FILES[name])) <= {
        pair for file in FILES for pair in ((file, ""), ("", file))
    }
    for element in re.findall(r"\$\(\"([^\"]+)\"\)", FILES[name]):
        assert f'id="{element}"' in FILES["index.html"], element


def test_the_content_security_policy_forbids_inline_code(site: ServerProcess) -> None:
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
def test_only_the_page_s_files_are_served(site: ServerProcess, name: str) -> None:
    assert site.get(f"/page/{name}").status == 404
