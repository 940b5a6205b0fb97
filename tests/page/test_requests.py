"""The shown request, run in the folder of the image, returns the shown results."""

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

    from tests.page.page_driver import PageDriver

CT = "CT_small.dcm"


def run_shell(command: str, folder: Path, **environment: str) -> Any:
    """Return the response of a shell command, or a list of several responses."""
    if shutil.which("curl") is None:
        pytest.skip("running the shown command needs curl")
    text = run(["bash", "-euc", command], folder, environment)
    values, position = [], 0
    while position < len(text):
        value, position = json.JSONDecoder().raw_decode(text, position)
        values.append(value)
    return values[0] if len(values) == 1 else values


def run_python(program: str, folder: Path, **environment: str) -> Any:
    return eval(run([sys.executable, "-c", program], folder, environment))


def run_both(driver: PageDriver, folder: Path) -> list[Any]:
    """Return the responses of the shown request in each language."""
    return [run_shell(driver.shown_request("curl"), folder), run_python(driver.shown_request("Python"), folder)]


def run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    env = {**os.environ, **environment}
    completed = subprocess.run(command, cwd=folder, env=env, capture_output=True, timeout=60, check=False)
    assert completed.returncode == 0, completed.stderr.decode()
    return completed.stdout.decode().strip()


def test_ranking_in_both_languages(driver: PageDriver) -> None:
    driver.choose_files(CT)
    driver.expect_status(f"{CT}: ")
    for answer in run_both(driver, driver.image_folder):
        probabilities = answer["results"][0]["probabilities"]
        best = max(probabilities, key=probabilities.get)
        driver.expect_status(f"{CT}: {best}, {100 * probabilities[best]:.1f} %")


def test_search_with_a_filter(driver: PageDriver) -> None:
    driver.choose_files(CT)
    driver.open_tab("Similar cases")
    driver.locate("#filters summary").click()
    driver.page.get_by_label("Filter expression").fill("modality = 'ultrasound'")
    driver.page.get_by_label("Filter expression").press("Enter")
    expect(driver.locate("#hits li")).to_have_count(2)
    shown = driver.locate("#hits .hit-id").all_inner_texts()
    for answer in run_both(driver, driver.image_folder):
        assert [hit["id"].split("/")[-1] for hit in answer["hits"]] == shown


def test_comparison_tags_and_both_requests_of_the_map(driver: PageDriver) -> None:
    driver.choose_files(CT, "MR_small.dcm")
    driver.open_tab("Compare")
    driver.expect_status(f"{CT} and MR_small.dcm: ")
    [[value]] = run_shell(driver.shown_request("curl"), driver.image_folder)["similarity"]
    driver.expect_status(f"{value:.3f}")
    driver.open_tab("Tags")
    driver.expect_status(f"{CT}: computed")
    assert (
        "computed tomography" in run_python(driver.shown_request("Python"), driver.image_folder)["results"][0]["tags"]
    )
    driver.open_tab("Map")
    driver.expect_status("marked")
    stored, added = run_shell(driver.shown_request("curl"), driver.image_folder)
    assert len(stored["points"]) == stored["count"] == 6
    assert len(added["points"]) == 2


def test_special_characters_of_the_shell_in_names_and_texts(driver: PageDriver, tmp_path: Path) -> None:
    name = 'it\'s $HOME `id` "1".png'
    (tmp_path / name).write_bytes(make_image())
    labels = ["$HOME", "`id`", "\\$(id)", 'it\'s "quoted"', "ü – 東京", "$(exit 1)"]
    driver.transfer("drop", {name: make_image()})
    driver.page.get_by_label("Prompts, one per line").fill("\n".join(labels))
    driver.page.get_by_role("button", name="Rank").click()
    expect(driver.locate("#ranking li")).to_have_count(len(labels))
    expect(driver.locate("#code")).to_contain_text("exit 1")
    for answer in run_both(driver, tmp_path):
        assert sorted(answer["results"][0]["probabilities"]) == sorted(labels)


def test_the_request_is_copied(open_page: Any, site: Any) -> None:
    driver = open_page(site, permissions=["clipboard-read", "clipboard-write"])
    driver.expect_status("Add an image to begin")
    driver.choose_files(CT)
    driver.expect_status(f"{CT}: ")
    shown = driver.shown_request("Python")
    driver.page.get_by_role("button", name="Copy").click()
    driver.expect_status("Copied")
    assert driver.page.evaluate("navigator.clipboard.readText()").strip() == shown.strip()
