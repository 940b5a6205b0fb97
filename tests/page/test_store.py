"""Similar cases, filters, comparison, and the map."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("playwright.sync_api", reason="the page's tests need playwright")
from playwright.sync_api import expect

if TYPE_CHECKING:
    from tests.page.page_driver import PageDriver

CT = "CT_small.dcm"
HEART = "examples_ybr_color.dcm"
ALL = 6


def search(driver: PageDriver, *names: str) -> None:
    driver.choose_files(*names or [CT])
    driver.open_tab("Similar cases")
    expect(driver.locate("#hits li")).to_have_count(ALL)


def test_the_most_similar_case_of_an_image_is_itself(driver: PageDriver) -> None:
    search(driver)
    expect(driver.locate("#hits li").first).to_contain_text("1.000")
    expect(driver.locate("#hits li").first).to_contain_text(CT)
    expect(driver.locate("#hits img")).to_have_count(ALL)
    assert driver.locate("#hits img").first.get_attribute("src").startswith("blob:")
    driver.page.get_by_label("Cases", exact=True).and_(driver.locate("input")).fill("2")
    driver.page.get_by_role("button", name="Search").click()
    expect(driver.locate("#hits li")).to_have_count(2)
    driver.page.get_by_label("Minimum score").fill("0.99")
    driver.page.get_by_role("button", name="Search").click()
    expect(driver.locate("#hits li")).to_have_count(1)
    driver.page.get_by_label("Caption").select_option("anatomy")
    expect(driver.locate("#hits li")).to_contain_text("chest")


def test_a_case_without_an_image(driver: PageDriver) -> None:
    missing = '{"error": {"code": "picture_not_available", "message": "expected another"}}'
    driver.page.route("**/api/picture*", lambda route: route.fulfill(status=404, body=missing))
    search(driver)
    expect(driver.locate("#hits .image")).to_have_text(["no image"] * ALL)


def test_search_by_text(driver: PageDriver) -> None:
    driver.open_tab("Similar cases")
    driver.expect_status("Add an image, or search by text")
    driver.page.get_by_label("Search by text").fill("ultrasound heart")
    driver.page.get_by_label("Search by text").press("Enter")
    expect(driver.locate("#hits li")).to_have_count(ALL)
    expect(driver.locate(".item-name")).to_have_text("ultrasound heart")


def test_searches_for_similar_cases_that_differ_in_a_column(driver: PageDriver) -> None:
    search(driver)
    driver.locate("#hits .hit").first.click()
    case = driver.page.get_by_role("dialog")
    expect(case).to_contain_text("computed tomography")
    expect(driver.locate("#case-image img")).to_be_visible()
    case.get_by_label("Leave out").select_option("modality")
    case.get_by_role("button", name="More like this").click()
    expect(case).to_be_hidden()
    expect(driver.locate("#like")).to_contain_text("not of the same modality")
    expect(driver.locate("#hits li")).to_have_count(4)
    assert driver.focused_element() == "hits-title"
    driver.page.get_by_role("button", name="Back to what you added").click()
    expect(driver.locate("#hits li")).to_have_count(ALL)


def test_escape_closes_a_case_and_restores_the_focus(driver: PageDriver) -> None:
    search(driver)
    driver.locate("#hits .hit").nth(1).focus()
    driver.page.keyboard.press("Enter")
    expect(driver.page.get_by_role("dialog")).to_be_visible()
    driver.page.keyboard.press("Escape")
    expect(driver.page.get_by_role("dialog")).to_be_hidden()
    expect(driver.locate("#hits .hit").nth(1)).to_be_focused()


def test_a_filter_is_built_from_conditions(driver: PageDriver) -> None:
    search(driver)
    driver.locate("#filters summary").click()
    driver.page.get_by_label("Column").select_option("modality")
    driver.page.get_by_label("Operator").select_option("=")
    driver.page.get_by_label("Value").fill("ultrasound")
    driver.page.get_by_role("button", name="Add condition").click()
    expect(driver.locate("#hits li")).to_have_count(2)
    driver.page.get_by_label("Column").select_option("number")
    driver.page.get_by_label("Operator").select_option(">=")
    driver.page.get_by_label("Value").fill("many")
    driver.page.get_by_label("Value").press("Enter")
    expect(driver.locate("#filter-value-error")).to_contain_text("Give a number")
    driver.page.get_by_label("Value").fill("5")
    driver.page.get_by_label("Value").press("Enter")
    expect(driver.locate("#hits li")).to_have_count(1)
    expect(driver.page.get_by_label("Filter expression")).to_have_value("modality = 'ultrasound' and number >= 5")
    driver.page.get_by_label("Filter expression").fill("modality = 'ultrasound' or number = 0")
    driver.page.get_by_label("Operator").select_option("is not null")
    driver.page.get_by_role("button", name="Add condition").click()
    expect(driver.page.get_by_label("Filter expression")).to_have_value(
        "(modality = 'ultrasound' or number = 0) and number is not null"
    )
    expect(driver.locate("#hits li")).to_have_count(3)
    driver.page.get_by_role("button", name="Clear").click()
    expect(driver.locate("#hits li")).to_have_count(ALL)


def test_a_filter_error_is_shown_at_its_position(driver: PageDriver) -> None:
    search(driver)
    driver.locate("#filters summary").click()
    where = driver.page.get_by_label("Filter expression")
    where.fill("modality == 'x-ray'")
    where.press("Enter")
    expect(driver.locate("#where-error")).to_contain_text("character 11")
    expect(where).to_have_attribute("aria-invalid", "true")
    expect(where).to_be_focused()
    assert where.evaluate("(field) => field.selectionStart") == 10
    where.fill("modality = 'x-ray'")
    expect(driver.locate("#where-error")).to_be_empty()
    where.press("Enter")
    driver.expect_status("No case matches")


def test_two_images_and_a_text_are_compared(driver: PageDriver) -> None:
    driver.open_tab("Compare")
    driver.expect_status("Add two images")
    driver.choose_files(CT, HEART)
    driver.expect_status(re.compile(rf"{CT} and {HEART}: −?0\.\d{{3}}"))
    expect(driver.locate("#pair img")).to_have_count(2)
    driver.add_text("computed tomography chest")
    driver.expect_status("computed tomography chest and ")
    driver.page.get_by_label("Second").select_option(label=CT)
    driver.expect_status(f"computed tomography chest and {CT}: ")
    expect(driver.locate("#pair blockquote")).to_have_text("computed tomography chest")
    driver.page.get_by_role("checkbox").check()
    expect(driver.locate("#matrix td button")).to_have_count(9)
    expect(driver.locate("#matrix tbody tr").first.locator("button").first).to_have_text("1.00")
    driver.page.get_by_role("button", name=re.compile(f"{CT} and {HEART}")).click()
    driver.expect_status(f"{CT} and {HEART}: ")


def test_the_map_has_a_shape_per_group_and_marks_added_images(driver: PageDriver) -> None:
    driver.open_tab("Map")
    driver.expect_status(f"{ALL} cases")
    expect(driver.locate("#plot .dot")).to_have_count(ALL)
    expect(driver.locate("#legend li")).to_have_count(3)
    outlines = driver.locate("#legend path").evaluate_all("(paths) => paths.map((path) => path.getAttribute('d'))")
    assert len(set(outlines)) == 3
    driver.choose_files(CT, HEART)
    driver.expect_status(f"marked: {CT}, {HEART}")
    expect(driver.locate("#plot .flag")).to_have_count(2)
    own = driver.locate("#plot .dot[aria-label*=CT_small]").bounding_box()
    mark = driver.locate("#plot .flag circle").first.bounding_box()
    assert own is not None
    assert mark is not None
    assert own["x"] + own["width"] / 2 == pytest.approx(mark["x"] + mark["width"] / 2, abs=2)
    driver.page.get_by_label("Colour and shape by").select_option("anatomy")
    expect(driver.locate("#legend")).to_contain_text("no value 3")


def test_a_point_of_the_map_is_opened_with_the_keyboard(driver: PageDriver) -> None:
    driver.open_tab("Map")
    expect(driver.locate("#plot .dot")).to_have_count(ALL)
    driver.page.get_by_label("Colour and shape by").focus()
    driver.page.keyboard.press("Tab")
    reached = {driver.page.evaluate("document.activeElement.getAttribute('aria-label')")}
    for key in ["ArrowRight", "ArrowUp", "ArrowLeft", "ArrowDown"] * 3:
        driver.page.keyboard.press(key)
        reached.add(driver.page.evaluate("document.activeElement.getAttribute('aria-label')"))
    assert None not in reached
    assert len(reached) > 2
    driver.page.keyboard.press("Enter")
    expect(driver.page.get_by_role("dialog")).to_contain_text("modality")
    driver.page.get_by_role("button", name="More like this").click()
    expect(driver.page.get_by_role("tab", name="Similar cases")).to_have_attribute("aria-selected", "true")
    expect(driver.locate("#hits li")).to_have_count(ALL)


def test_the_map_as_a_table(driver: PageDriver) -> None:
    driver.open_tab("Map")
    driver.locate("#map-table summary").click()
    expect(driver.locate("#map-rows tbody tr")).to_have_count(ALL)
    driver.locate("#map-rows").get_by_role("button", name=CT).click()
    expect(driver.page.get_by_role("dialog")).to_contain_text("chest")
