"""The request that is shown is the one that was sent: run as it stands, beside the image, it gives what is shown."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("playwright.sync_api", reason="the page's tests need playwright")
from playwright.sync_api import expect

from tests.serve.server_process import make_image

if TYPE_CHECKING:
    from pathlib import Path

    from tests.page.page_driver import Person

CT = "CT_small.dcm"


def run_shell(command: str, folder: Path, **environment: str) -> Any:
    """The answers of a shell command, one or several JSON values."""
    if shutil.which("curl") is None:
        pytest.skip("running the shown command needs curl")
    text = run(["bash", "-euc", command], folder, environment)
    values, at = [], 0
    while at < len(text):
        value, at = json.JSONDecoder().raw_decode(text, at)
        values.append(value)
    return values[0] if len(values) == 1 else values


def run_python(program: str, folder: Path, **environment: str) -> Any:
    return eval(run([sys.executable, "-c", program], folder, environment))


def both(person: Person, folder: Path) -> list[Any]:
    """The answers of the shown request in each language."""
    return [run_shell(person.request("curl"), folder), run_python(person.request("Python"), folder)]


def run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    env = {**os.environ, **environment}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def test_a_ranking_by_both_languages(person: Person) -> None:
    person.choose(CT)
    person.expect_words(f"{CT}: ")
    for answer in both(person, person.pictures):
        probabilities = answer["results"][0]["probabilities"]
        best = max(probabilities, key=probabilities.get)
        person.expect_words(f"{CT}: {best}, {100 * probabilities[best]:.1f} %")


def test_a_search_with_a_filter(person: Person) -> None:
    person.choose(CT)
    person.open_tab("Similar cases")
    person.get("#filters summary").click()
    person.page.get_by_label("Filter expression").fill("modality = 'ultrasound'")
    person.page.get_by_label("Filter expression").press("Enter")
    expect(person.get("#hits li")).to_have_count(2)
    shown = person.get("#hits .hit-id").all_inner_texts()
    for answer in both(person, person.pictures):
        assert [hit["id"].split("/")[-1] for hit in answer["hits"]] == shown


def test_a_comparison_and_tags_and_both_requests_of_the_map(person: Person) -> None:
    person.choose(CT, "MR_small.dcm")
    person.open_tab("Compare")
    person.expect_words(f"{CT} and MR_small.dcm: ")
    [[value]] = run_shell(person.request("curl"), person.pictures)["similarity"]
    person.expect_words(f"{value:.3f}")
    person.open_tab("Tags")
    person.expect_words(f"{CT}: computed")
    assert "computed tomography" in run_python(person.request("Python"), person.pictures)["results"][0]["tags"]
    person.open_tab("Map")
    person.expect_words("marked")
    stored, added = run_shell(person.request("curl"), person.pictures)
    assert len(stored["points"]) == stored["count"] == 6
    assert len(added["points"]) == 2


def test_names_and_texts_with_the_shell_s_own_signs(person: Person, tmp_path: Path) -> None:
    name = 'it\'s $HOME `id` "1".png'
    (tmp_path / name).write_bytes(make_image())
    labels = ["$HOME", "`id`", "\\$(id)", 'it\'s "quoted"', "ü – 東京", "$(exit 1)"]
    person.bring("drop", {name: make_image()})
    person.page.get_by_label("Prompts, one a line").fill("\n".join(labels))
    person.page.get_by_role("button", name="Rank").click()
    expect(person.get("#ranking li")).to_have_count(len(labels))
    expect(person.get("#code")).to_contain_text("exit 1")
    for answer in both(person, tmp_path):
        assert sorted(answer["results"][0]["probabilities"]) == sorted(labels)


def test_the_request_is_copied(visit: Any, site: Any) -> None:
    person = visit(site, permissions=["clipboard-read", "clipboard-write"])
    person.expect_words("Add an image to begin")
    person.choose(CT)
    person.expect_words(f"{CT}: ")
    shown = person.request("Python")
    person.page.get_by_role("button", name="Copy").click()
    person.expect_words("Copied")
    assert person.page.evaluate("navigator.clipboard.readText()").strip() == shown.strip()
