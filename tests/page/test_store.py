"""Similar cases, filters, two side by side, and the map."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("playwright.sync_api", reason="the page's tests need playwright")
from playwright.sync_api import expect

if TYPE_CHECKING:
    from tests.page.page_driver import Person

CT = "CT_small.dcm"
HEART = "examples_ybr_color.dcm"
ALL = 6


def search(person: Person, *names: str) -> None:
    person.choose(*names or [CT])
    person.open_tab("Similar cases")
    expect(person.get("#hits li")).to_have_count(ALL)


def test_the_most_similar_case_of_a_picture_is_itself_with_its_picture(person: Person) -> None:
    search(person)
    expect(person.get("#hits li").first).to_contain_text("1.000")
    expect(person.get("#hits li").first).to_contain_text(CT)
    expect(person.get("#hits img")).to_have_count(ALL)
    assert person.get("#hits img").first.get_attribute("src").startswith("blob:")
    person.page.get_by_label("Cases", exact=True).and_(person.get("input")).fill("2")
    person.page.get_by_role("button", name="Search").click()
    expect(person.get("#hits li")).to_have_count(2)
    person.page.get_by_label("Least score").fill("0.99")
    person.page.get_by_role("button", name="Search").click()
    expect(person.get("#hits li")).to_have_count(1)
    person.page.get_by_label("Caption").select_option("anatomy")
    expect(person.get("#hits li")).to_contain_text("chest")


def test_a_case_without_a_picture_says_so(person: Person) -> None:
    missing = '{"error": {"code": "picture_not_available", "message": "expected another"}}'
    person.page.route("**/api/picture*", lambda route: route.fulfill(status=404, body=missing))
    search(person)
    expect(person.get("#hits .picture")).to_have_text(["no picture"] * ALL)


def test_cases_are_searched_for_by_text(person: Person) -> None:
    person.open_tab("Similar cases")
    person.expect_words("Add an image, or search by text")
    person.page.get_by_label("Search by text").fill("ultrasound heart")
    person.page.get_by_label("Search by text").press("Enter")
    expect(person.get("#hits li")).to_have_count(ALL)
    expect(person.get(".item-name")).to_have_text("ultrasound heart")


def test_a_case_leads_to_more_like_it_that_differ_in_a_column(person: Person) -> None:
    search(person)
    person.get("#hits .hit").first.click()
    case = person.page.get_by_role("dialog")
    expect(case).to_contain_text("computed tomography")
    expect(case.locator("img")).to_be_visible()
    case.get_by_label("Leave out").select_option("modality")
    case.get_by_role("button", name="More like this").click()
    expect(case).to_be_hidden()
    expect(person.get("#like")).to_contain_text("not of the same modality")
    expect(person.get("#hits li")).to_have_count(4)
    assert person.focused() == "hits-title"
    person.page.get_by_role("button", name="Back to what you added").click()
    expect(person.get("#hits li")).to_have_count(ALL)


def test_escape_closes_a_case_and_the_focus_returns(person: Person) -> None:
    search(person)
    person.get("#hits .hit").nth(1).focus()
    person.page.keyboard.press("Enter")
    expect(person.page.get_by_role("dialog")).to_be_visible()
    person.page.keyboard.press("Escape")
    expect(person.page.get_by_role("dialog")).to_be_hidden()
    expect(person.get("#hits .hit").nth(1)).to_be_focused()


def test_a_filter_is_put_together_from_columns(person: Person) -> None:
    search(person)
    person.get("#filters summary").click()
    person.page.get_by_label("Column").select_option("modality")
    person.page.get_by_label("Operator").select_option("=")
    person.page.get_by_label("Value").fill("ultrasound")
    person.page.get_by_role("button", name="Add condition").click()
    expect(person.get("#hits li")).to_have_count(2)
    person.page.get_by_label("Column").select_option("number")
    person.page.get_by_label("Operator").select_option(">=")
    person.page.get_by_label("Value").fill("many")
    person.page.get_by_label("Value").press("Enter")
    expect(person.get("#filter-value-error")).to_contain_text("Give a number")
    person.page.get_by_label("Value").fill("5")
    person.page.get_by_label("Value").press("Enter")
    expect(person.get("#hits li")).to_have_count(1)
    expect(person.page.get_by_label("Filter expression")).to_have_value("modality = 'ultrasound' and number >= 5")
    person.page.get_by_label("Filter expression").fill("modality = 'ultrasound' or number = 0")
    person.page.get_by_label("Operator").select_option("is not null")
    person.page.get_by_role("button", name="Add condition").click()
    expect(person.page.get_by_label("Filter expression")).to_have_value(
        "(modality = 'ultrasound' or number = 0) and number is not null"
    )
    expect(person.get("#hits li")).to_have_count(3)
    person.page.get_by_role("button", name="Clear").click()
    expect(person.get("#hits li")).to_have_count(ALL)


def test_an_error_of_a_filter_is_said_at_its_field_where_it_is(person: Person) -> None:
    search(person)
    person.get("#filters summary").click()
    where = person.page.get_by_label("Filter expression")
    where.fill("modality == 'x-ray'")
    where.press("Enter")
    expect(person.get("#where-error")).to_contain_text("character 11")
    expect(where).to_have_attribute("aria-invalid", "true")
    expect(where).to_be_focused()
    assert where.evaluate("(field) => field.selectionStart") == 10
    where.fill("modality = 'x-ray'")
    expect(person.get("#where-error")).to_be_empty()
    where.press("Enter")
    person.expect_words("No case fits")


def test_two_images_and_a_text_are_compared(person: Person) -> None:
    person.open_tab("Compare")
    person.expect_words("Add two images")
    person.choose(CT, HEART)
    person.expect_words(re.compile(rf"{CT} and {HEART}: −?0\.\d{{3}}"))
    expect(person.get("#pair img")).to_have_count(2)
    person.type_text("computed tomography chest")
    person.expect_words("computed tomography chest and ")
    person.page.get_by_label("Second").select_option(label=CT)
    person.expect_words(f"computed tomography chest and {CT}: ")
    expect(person.get("#pair blockquote")).to_have_text("computed tomography chest")
    person.page.get_by_role("checkbox").check()
    expect(person.get("#matrix td button")).to_have_count(9)
    expect(person.get("#matrix tbody tr").first.locator("button").first).to_have_text("1.00")
    person.page.get_by_role("button", name=re.compile(f"{CT} and {HEART}")).click()
    person.expect_words(f"{CT} and {HEART}: ")


def test_the_map_tells_groups_apart_by_shape_and_marks_what_was_added(person: Person) -> None:
    person.open_tab("Map")
    person.expect_words(f"{ALL} cases")
    expect(person.get("#plot .dot")).to_have_count(ALL)
    expect(person.get("#legend li")).to_have_count(3)
    outlines = person.get("#legend path").evaluate_all("(paths) => paths.map((path) => path.getAttribute('d'))")
    assert len(set(outlines)) == 3
    person.choose(CT, HEART)
    person.expect_words(f"marked: {CT}, {HEART}")
    expect(person.get("#plot .flag")).to_have_count(2)
    own = person.get("#plot .dot[aria-label*=CT_small]").bounding_box()
    mark = person.get("#plot .flag circle").first.bounding_box()
    assert own is not None
    assert mark is not None
    assert own["x"] + own["width"] / 2 == pytest.approx(mark["x"] + mark["width"] / 2, abs=2)
    person.page.get_by_label("Colour and shape by").select_option("anatomy")
    expect(person.get("#legend")).to_contain_text("no value 3")


def test_a_point_of_the_map_is_reached_and_opened_by_keyboard(person: Person) -> None:
    person.open_tab("Map")
    expect(person.get("#plot .dot")).to_have_count(ALL)
    person.page.get_by_label("Colour and shape by").focus()
    person.page.keyboard.press("Tab")
    reached = {person.page.evaluate("document.activeElement.getAttribute('aria-label')")}
    for key in ["ArrowRight", "ArrowUp", "ArrowLeft", "ArrowDown"] * 3:
        person.page.keyboard.press(key)
        reached.add(person.page.evaluate("document.activeElement.getAttribute('aria-label')"))
    assert None not in reached
    assert len(reached) > 2
    person.page.keyboard.press("Enter")
    expect(person.page.get_by_role("dialog")).to_contain_text("modality")
    person.page.get_by_role("button", name="More like this").click()
    expect(person.page.get_by_role("tab", name="Similar cases")).to_have_attribute("aria-selected", "true")
    expect(person.get("#hits li")).to_have_count(ALL)


def test_the_map_is_also_a_table(person: Person) -> None:
    person.open_tab("Map")
    person.get("#map-table summary").click()
    expect(person.get("#map-rows tbody tr")).to_have_count(ALL)
    person.get("#map-rows").get_by_role("button", name=CT).click()
    expect(person.page.get_by_role("dialog")).to_contain_text("chest")
