"""Input of images and texts by drop, file dialog, paste and keyboard; an unreadable file shows its error."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("playwright.sync_api", reason="the page's tests need playwright")
from playwright.sync_api import expect

from tests.serve.server_process import make_image

if TYPE_CHECKING:
    from tests.page.page_driver import PageDriver

CT = "CT_small.dcm"
HEART = "examples_ybr_color.dcm"  # 30 frames


def test_a_dropped_dicom_file_is_previewed_and_ranked(driver: PageDriver) -> None:
    driver.transfer("drop", {CT: (driver.image_folder / CT).read_bytes()})
    driver.expect_status(f"{CT}: computed tomography")
    expect(driver.locate("#viewer-caption")).to_contain_text("As the model sees it: ")
    assert driver.locate("#viewer-image").evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 0
    assert driver.page.get_by_alt_text(f"{CT} as the model sees it").is_visible()
    expect(driver.locate("#ranking li").first).to_contain_text("computed tomography")


def test_an_unreadable_file_shows_its_error_and_the_others_work(driver: PageDriver) -> None:
    files = {name: (driver.image_folder / name).read_bytes() for name in (CT, HEART)}
    driver.transfer("drop", {CT: files[CT], "letter.dcm": b"Dear colleague, thank you.", HEART: files[HEART]})
    refused = driver.locate("#items li").filter(has_text="letter.dcm")
    expect(refused).to_contain_text("Expected a DICOM")
    expect(driver.locate("#items li")).to_have_count(3)
    refused.locator(".item").click()
    driver.expect_status("letter.dcm: Expected a DICOM")
    driver.locate("#items li").filter(has_text=HEART).locator(".item").click()
    driver.expect_status(f"{HEART}: ")
    driver.page.get_by_role("button", name="Remove letter.dcm").click()
    expect(driver.locate("#items li")).to_have_count(2)
    assert HEART in driver.focused_element()


def test_an_image_is_pasted(driver: PageDriver) -> None:
    driver.transfer("paste", {"image.png": make_image(size=(40, 30))})
    driver.expect_status("image.png: ")
    expect(driver.locate("#items li")).to_contain_text("40 × 30")


def test_files_of_the_same_name_are_numbered(driver: PageDriver) -> None:
    for seed in (1, 2):
        driver.transfer("drop", {"image.png": make_image(seed)})
    expect(driver.locate(".item-name")).to_have_text(["image.png", "image.png (2)"])


def test_a_frame_is_chosen(driver: PageDriver) -> None:
    driver.choose_files(HEART)
    expect(driver.locate("#frame-shown")).to_have_text("1 of 30")
    first = driver.locate("#viewer-image").get_attribute("src")
    driver.page.get_by_label("Frame").press("End")
    expect(driver.locate("#items li")).to_contain_text("frame 30 of 30")
    expect(driver.locate("#viewer-image")).not_to_have_attribute("src", first or "")
    expect(driver.locate("#code")).to_contain_text('"frame": 29')


def test_names_and_texts_are_never_read_as_html(driver: PageDriver) -> None:
    evil = "<img src=x onerror=alert(1)>"
    driver.transfer("drop", {f"{evil}.png": make_image()})
    driver.expect_status(f"{evil}.png: ")
    driver.add_text(f"<b>{evil}")
    expect(driver.locate(".item-name").last).to_have_text(f"<b>{evil}")
    driver.open_tab("Compare")
    driver.expect_status(re.compile("and .*: "))
    assert driver.locate("#pair b, #pair img[src=x], #items b").count() == 0


def test_prompts_are_edited_and_their_errors_shown(driver: PageDriver) -> None:
    driver.choose_files(CT)
    driver.expect_status(f"{CT}: computed tomography")
    driver.page.get_by_role("button", name="anatomy").click()
    expect(driver.locate("#ranking")).to_contain_text("chest")
    prompts = driver.page.get_by_label("Prompts, one per line")
    prompts.fill("chest\nhead\n\nhand")
    prompts.press("Control+Enter")
    expect(driver.locate("#ranking li")).to_have_count(3)
    driver.page.get_by_label("Template").fill("no placeholder")
    driver.page.get_by_role("button", name="Rank").click()
    driver.expect_status("Expected {} for the label in the template")
    driver.page.get_by_label("Template").fill("computed tomography {}")
    driver.page.get_by_role("button", name="Rank").click()
    expect(driver.locate("#ranking li")).to_have_count(3)
    prompts.fill("")
    driver.page.get_by_role("button", name="Rank").click()
    driver.expect_status("Write at least one prompt")


def test_tags_are_shown_with_their_thresholds(driver: PageDriver) -> None:
    driver.choose_files(CT)
    driver.open_tab("Tags")
    driver.expect_status(f"{CT}: computed tomography")
    expect(driver.locate("#tag-bars .verdict").filter(has_text="present")).to_have_count(1)
    driver.page.get_by_label("Threshold").fill("0.99")
    driver.page.get_by_role("button", name="Tag", exact=True).click()
    driver.expect_status("no tag is present")
    driver.page.get_by_label("Vocabulary or tagger").select_option(label="anatomy")
    expect(driver.locate("#tag-bars")).to_contain_text("chest")
    driver.page.get_by_label("Vocabulary or tagger").select_option(label="kinds (tagger)")
    expect(driver.locate("#tag-bars li")).to_have_count(3)
    expect(driver.page.get_by_label("Threshold")).to_be_hidden()
    expect(driver.locate("#tag-bars li").first).to_contain_text("computed tomography")
    expect(driver.locate("#tag-bars li").first).to_contain_text(re.compile(r"threshold −?\d\.\d{3}"))
