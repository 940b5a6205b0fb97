"""Images and texts come in by drop, choice, paste and keyboard; what cannot be read says why and harms nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("playwright.sync_api", reason="the page's tests need playwright")
from playwright.sync_api import expect

from tests.serve.server_process import make_image

if TYPE_CHECKING:
    from tests.page.page_driver import Person

CT = "CT_small.dcm"
HEART = "examples_ybr_color.dcm"  # 30 frames


def test_a_dropped_dicom_file_is_shown_as_the_model_sees_it_and_ranked(person: Person) -> None:
    person.bring("drop", {CT: (person.pictures / CT).read_bytes()})
    person.expect_words(f"{CT}: computed tomography")
    expect(person.get("#viewer-caption")).to_contain_text("As the model sees it: ")
    assert person.get("#viewer-picture").evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 0
    assert person.page.get_by_alt_text(f"{CT} as the model sees it").is_visible()
    expect(person.get("#ranking li").first).to_contain_text("computed tomography")


def test_a_bad_file_among_several_says_why_and_the_others_still_work(person: Person) -> None:
    files = {name: (person.pictures / name).read_bytes() for name in (CT, HEART)}
    person.bring("drop", {CT: files[CT], "letter.dcm": b"Dear colleague, thank you.", HEART: files[HEART]})
    refused = person.get(
        "#items li",
    ).filter(has_text="letter.dcm")
    expect(refused).to_contain_text("Expected a DICOM")
    expect(person.get("#items li")).to_have_count(3)
    refused.locator(".item").click()
    person.expect_words("letter.dcm: Expected a DICOM")
    person.get("#items li").filter(has_text=HEART).locator(".item").click()
    person.expect_words(f"{HEART}: ")
    person.page.get_by_role("button", name="Remove letter.dcm").click()
    expect(person.get("#items li")).to_have_count(2)
    assert HEART in person.focused()


def test_a_picture_is_pasted(person: Person) -> None:
    person.bring("paste", {"image.png": make_image(size=(40, 30))})
    person.expect_words("image.png: ")
    expect(person.get("#items li")).to_contain_text("40 × 30")


def test_two_files_of_one_name_are_told_apart(person: Person) -> None:
    for seed in (1, 2):
        person.bring("drop", {"image.png": make_image(seed)})
    expect(person.get(".item-name")).to_have_text(["image.png", "image.png (2)"])


def test_a_frame_of_many_is_chosen(person: Person) -> None:
    person.choose(HEART)
    expect(person.get("#frame-shown")).to_have_text("1 of 30")
    first = person.get("#viewer-picture").get_attribute("src")
    person.page.get_by_label("Frame").press("End")
    expect(person.get("#items li")).to_contain_text("frame 30 of 30")
    expect(person.get("#viewer-picture")).not_to_have_attribute("src", first or "")
    expect(person.get("#code")).to_contain_text('"frame": 29')


def test_names_and_texts_are_never_read_as_html(person: Person) -> None:
    evil = "<img src=x onerror=alert(1)>"
    person.bring("drop", {f"{evil}.png": make_image()})
    person.expect_words(f"{evil}.png: ")
    person.type_text(f"<b>{evil}")
    expect(person.get(".item-name").last).to_have_text(f"<b>{evil}")
    person.open_tab("Compare")
    person.expect_words(re.compile("and .*: "))
    assert person.get("#pair b, #pair img[src=x], #items b").count() == 0


def test_the_prompts_are_edited_and_what_is_wrong_with_them_is_said(person: Person) -> None:
    person.choose(CT)
    person.expect_words(f"{CT}: computed tomography")
    person.page.get_by_role("button", name="anatomy").click()
    expect(person.get("#ranking")).to_contain_text("chest")
    prompts = person.page.get_by_label("Prompts, one a line")
    prompts.fill("chest\nhead\n\nhand")
    prompts.press("Control+Enter")
    expect(person.get("#ranking li")).to_have_count(3)
    person.page.get_by_label("Template").fill("no place")
    person.page.get_by_role("button", name="Rank").click()
    person.expect_words("Expected {} in the template")
    person.page.get_by_label("Template").fill("computed tomography {}")
    person.page.get_by_role("button", name="Rank").click()
    expect(person.get("#ranking li")).to_have_count(3)
    prompts.fill("")
    person.page.get_by_role("button", name="Rank").click()
    person.expect_words("Write at least one prompt")


def test_tags_stand_beside_their_threshold(person: Person) -> None:
    person.choose(CT)
    person.open_tab("Tags")
    person.expect_words(f"{CT}: computed tomography")
    expect(person.get("#tag-bars .verdict").filter(has_text="present")).to_have_count(1)
    person.page.get_by_label("Threshold").fill("0.99")
    person.page.get_by_role("button", name="Tag", exact=True).click()
    person.expect_words("no tag is present")
    person.page.get_by_label("Vocabulary or tagger").select_option(label="anatomy")
    expect(person.get("#tag-bars")).to_contain_text("chest")
    person.page.get_by_label("Vocabulary or tagger").select_option(label="kinds (tagger)")
    expect(person.get("#tag-bars li")).to_have_count(3)
    expect(person.page.get_by_label("Threshold")).to_be_hidden()
    expect(person.get("#tag-bars li").first).to_contain_text("computed tomography")
    expect(person.get("#tag-bars li").first).to_contain_text(re.compile(r"threshold −?\d\.\d{3}"))
