"""Accessibility: keyboard, screen reader, narrow screen, dark mode, reduced motion."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("playwright.sync_api", reason="the page's tests need playwright")
from playwright.sync_api import expect

if TYPE_CHECKING:
    from tests.page.page_driver import PageDriver
    from tests.serve.server_process import ServerProcess

CT = "CT_small.dcm"
HEART = "examples_ybr_color.dcm"
VIEWS = {
    "Prompts": "#ranking li",
    "Tags": "#tag-bars li",
    "Similar cases": "#hits img",
    "Compare": "#pair img",
    "Map": "#plot .flag",
}


def views(driver: PageDriver) -> Any:
    """Open each view with all its content."""
    driver.choose_files(CT, HEART)
    expect(driver.locate("#items img")).to_have_count(2)
    driver.locate(".item").last.click()  # the file with several frames
    for name, content in VIEWS.items():
        driver.open_tab(name)
        expect(driver.locate(content).first).to_be_visible()
        if name == "Similar cases":
            driver.locate("#filters summary").click()
        if name == "Compare":
            driver.page.get_by_role("checkbox").check()
            expect(driver.locate("#matrix")).to_be_visible()
        if name == "Map":
            driver.locate("#map-table summary").click()
        expect(driver.locate("[aria-busy]")).to_have_count(0)
        yield name


def violations(driver: PageDriver) -> list[str]:
    """Return the violations that axe finds."""
    found = driver.page.evaluate("axe.run({ resultTypes: ['violations'] }).then((result) => result.violations)")
    return [f"{rule['id']}: {node['html'][:200]} {node['failureSummary']}" for rule in found for node in rule["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_reports_no_violations(open_page: Any, site: ServerProcess, scheme: str) -> None:
    pytest.importorskip("axe_core_python", reason="the check of accessibility needs axe-core-python")
    driver = open_page(site, bypass_csp=True, color_scheme=scheme, reduced_motion="reduce")
    driver.page.add_script_tag(content=files("axe_core_python").joinpath("axe.min.js").read_text("utf-8"))
    driver.expect_status("Add an image to begin")
    assert violations(driver) == []
    for _ in views(driver):
        assert violations(driver) == []
    driver.open_tab("Similar cases")
    driver.locate("#hits .hit").first.click()
    expect(driver.locate("#case-image img")).to_be_visible()
    assert violations(driver) == []


def test_fits_a_narrow_screen(open_page: Any, site: ServerProcess) -> None:
    driver = open_page(site, viewport={"width": 360, "height": 640})
    for name in views(driver):
        assert driver.page.evaluate("document.documentElement.scrollWidth") == 360, name
    driver.open_tab("Similar cases")
    driver.locate("#hits .hit").first.click()
    assert driver.locate("#case").evaluate(
        "(dialog) => dialog.scrollWidth <= dialog.clientWidth && dialog.clientWidth <= 360"
    )


def test_follows_dark_mode_and_reduced_motion(open_page: Any, site: ServerProcess) -> None:
    brightness = "Math.max(...getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number))"
    assert open_page(site, color_scheme="light").page.evaluate(brightness) > 200
    driver = open_page(site, color_scheme="dark", reduced_motion="reduce")
    assert driver.page.evaluate(brightness) < 60
    driver.choose_files(CT)
    driver.expect_status(f"{CT}: ")
    assert driver.locate(".fill").first.evaluate("(bar) => getComputedStyle(bar).transitionProperty") == "none"


def test_works_with_the_keyboard_only(driver: PageDriver) -> None:
    keyboard = driver.page.keyboard

    def focus() -> str:
        return str(driver.page.evaluate("document.activeElement.id || document.activeElement.className"))

    def tab_to(target: str) -> None:
        passed = []
        for _ in range(60):
            keyboard.press("Tab")
            passed.append(focus())
            if passed[-1] == target:
                return
        raise AssertionError(f"expected Tab to reach {target}, got {passed}")

    keyboard.press("Tab")
    assert focus() == "skip"
    tab_to("choose")
    with driver.page.expect_file_chooser() as chooser:
        keyboard.press("Enter")
    chooser.value.set_files(driver.image_folder / CT)
    driver.expect_status(f"{CT}: ")
    tab_to("text")
    keyboard.type("ultrasound heart")
    keyboard.press("Enter")
    expect(driver.locate("#items li")).to_have_count(2)
    tab_to("tab-prompts")
    keyboard.press("ArrowRight")
    keyboard.press("ArrowRight")
    expect(driver.page.get_by_role("tab", name="Similar cases")).to_be_focused()
    expect(driver.locate("#hits li")).to_have_count(6)
    tab_to("hit")
    keyboard.press("Enter")
    expect(driver.page.get_by_role("dialog")).to_be_visible()
    tab_to("exclude-same")
    keyboard.press("Tab")
    keyboard.press("Enter")
    expect(driver.locate("#like")).to_be_visible()
    assert focus() == "hits-title"
    tab_to("tab-curl")
    keyboard.press("ArrowRight")
    expect(driver.locate("#code")).to_contain_text("urllib.request")


def test_has_landmarks_and_roles_for_screen_readers(driver: PageDriver) -> None:
    for role in ("banner", "main", "complementary", "navigation"):
        expect(driver.page.get_by_role(role)).to_have_count(1)
    expect(driver.page.get_by_role("status")).to_contain_text("Add an image")
    tabs = driver.page.get_by_role("tablist", name="What to do").get_by_role("tab")
    expect(tabs).to_have_count(5)
    tabs.first.focus()
    for key, selected in (("End", "Map"), ("ArrowRight", "Prompts"), ("ArrowLeft", "Map"), ("Home", "Prompts")):
        driver.page.keyboard.press(key)
        expect(driver.page.get_by_role("tab", name=selected)).to_have_attribute("aria-selected", "true")
        expect(driver.page.get_by_role("tabpanel", name=selected)).to_be_visible()
    assert driver.page.content().count("not for diagnosis or treatment") == 1
