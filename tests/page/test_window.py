"""The window of an image: presets, the file's own windows, numbers, by keyboard; a window that does not apply."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("playwright.sync_api", reason="the page's tests need playwright")
from playwright.sync_api import Route, expect

from medimageinsight import MedImageInsight, images
from medimageinsight.preprocess import to_model_image
from tests.serve.server_process import make_image
from tests.windowed_ct import BONE, LUNG, OWN, ct_bytes, windowed

if TYPE_CHECKING:
    from tests.page.page_driver import PageDriver

CT = "ct.dcm"


@pytest.fixture(scope="module")
def mini() -> MedImageInsight:
    return MedImageInsight.load("mini")


def shown(driver: PageDriver) -> np.ndarray:
    source = driver.locate("#viewer-image").get_attribute("src") or ""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))


def by_hand(model: MedImageInsight, window: tuple[float, float]) -> np.ndarray:
    return np.asarray(to_model_image(images.open(windowed(window)), model.preprocessing))


def test_windows_are_chosen(driver: PageDriver, mini: MedImageInsight) -> None:
    driver.transfer("drop", {CT: ct_bytes()})
    driver.expect_status(f"{CT}: ")
    np.testing.assert_array_equal(shown(driver), by_hand(mini, OWN))
    select = driver.page.get_by_label("Window", exact=True)
    expect(select.locator("optgroup").first.locator("option")).to_have_text(["40/400", "400/1800"])

    for label, window, sent in (("lung", LUNG, "lung"), ("400/1800", BONE, "1")):
        before = driver.locate("#viewer-image").get_attribute("src") or ""
        select.select_option(label=label)
        expect(driver.locate("#code")).to_contain_text(f'"window": "{sent}"')
        expect(driver.locate("#viewer-image")).not_to_have_attribute("src", before)
        np.testing.assert_array_equal(shown(driver), by_hand(mini, window))
    for tab in ("Tags", "Compare"):
        driver.open_tab(tab)
        if tab == "Compare":
            driver.add_text("chest")
        expect(driver.locate("#code")).to_contain_text('"window": "1"')


def test_numbers_are_typed_by_keyboard(driver: PageDriver, mini: MedImageInsight) -> None:
    driver.transfer("drop", {CT: ct_bytes()})
    driver.expect_status(f"{CT}: ")
    driver.page.get_by_label("Window", exact=True).focus()
    driver.page.keyboard.type("center and width")
    expect(driver.page.get_by_label("Center", exact=True)).to_be_visible()
    driver.page.keyboard.press("Tab")
    driver.page.keyboard.type("-600")
    driver.page.keyboard.press("Tab")
    driver.page.keyboard.type("1500")
    driver.page.keyboard.press("Enter")
    expect(driver.locate("#code")).to_contain_text('"window": "-600/1500"')
    expect(driver.locate("[aria-busy]")).to_have_count(0)
    driver.page.wait_for_function("document.querySelector('#viewer-image').complete")
    np.testing.assert_array_equal(shown(driver), by_hand(mini, LUNG))

    driver.page.get_by_label("Window", exact=True).select_option(label="percentiles")
    expect(driver.page.get_by_label("From %")).to_have_value("1")
    expect(driver.locate("#code")).to_contain_text('"window": "1%-99%"')


def test_a_window_that_does_not_apply_is_reported_and_the_image_stays(driver: PageDriver) -> None:
    driver.transfer("drop", {"photograph.png": make_image()})
    driver.expect_status("photograph.png: ")
    expect(driver.locate("#window-note")).to_be_hidden()
    driver.page.get_by_label("Window", exact=True).select_option(label="lung")
    expect(driver.locate("#window-note")).to_contain_text("window")
    expect(driver.locate("#viewer")).to_be_visible()
    driver.page.get_by_label("Window", exact=True).select_option(label="the file's default")
    expect(driver.locate("#window-note")).to_be_hidden()


def test_a_preset_for_other_units_is_reported_and_the_image_stays(driver: PageDriver) -> None:
    driver.choose_files("MR_small.dcm")
    driver.expect_status("MR_small.dcm: ")
    driver.page.get_by_label("Window", exact=True).select_option(label="lung")
    expect(driver.locate("#window-note")).to_contain_text("Hounsfield")
    expect(driver.page.get_by_label("Window", exact=True)).to_have_value("")
    driver.expect_status("MR_small.dcm: ")
    expect(driver.locate("#viewer")).to_be_visible()


def test_a_search_has_the_window_of_the_store(driver: PageDriver) -> None:
    driver.transfer("drop", {CT: ct_bytes()})
    driver.expect_status(f"{CT}: ")
    driver.page.get_by_label("Window", exact=True).select_option(label="lung")
    driver.open_tab("Similar cases")
    expect(driver.locate("#hits .hit").first).to_be_visible()
    assert "window" not in driver.shown_request("curl")


def test_an_answer_that_arrives_does_not_overwrite_what_is_typed(driver: PageDriver) -> None:
    driver.transfer("drop", {CT: ct_bytes()})
    driver.expect_status(f"{CT}: ")
    waiting: list[Route] = []
    driver.page.route("**/api/view", lambda route: waiting.append(route))  # noqa: PLW0108 - not a builtin
    driver.page.get_by_label("Window", exact=True).select_option(label="center and width")
    center = driver.page.get_by_label("Center", exact=True)
    center.fill("-600")
    with driver.page.expect_response("**/api/view"):
        waiting.pop().continue_()
    expect(driver.locate("[aria-busy]")).to_have_count(0)
    expect(center).to_have_value("-600")
    driver.page.unroute("**/api/view")
