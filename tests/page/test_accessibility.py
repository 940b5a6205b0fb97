"""The page serves whoever comes: by keyboard, with a screen reader, on a narrow screen, in the dark, without motion."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("playwright.sync_api", reason="the page's tests need playwright")
from playwright.sync_api import expect

if TYPE_CHECKING:
    from tests.page.page_driver import Person
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


def views(person: Person) -> Any:
    """Each view in turn, with everything in it."""
    person.choose(CT, HEART)
    expect(person.get("#items img")).to_have_count(2)
    person.get(".item").last.click()  # the one with frames
    for name, shown in VIEWS.items():
        person.open_tab(name)
        expect(person.get(shown).first).to_be_visible()
        if name == "Similar cases":
            person.get("#filters summary").click()
        if name == "Compare":
            person.page.get_by_role("checkbox").check()
            expect(person.get("#matrix")).to_be_visible()
        if name == "Map":
            person.get("#map-table summary").click()
        expect(person.get("[aria-busy]")).to_have_count(0)
        yield name


def violations(person: Person) -> list[str]:
    """What axe finds wrong."""
    found = person.page.evaluate("axe.run({ resultTypes: ['violations'] }).then((result) => result.violations)")
    return [f"{one['id']}: {node['html'][:200]} {node['failureSummary']}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_any_view(visit: Any, site: ServerProcess, scheme: str) -> None:
    pytest.importorskip("axe_core_python", reason="the check of accessibility needs axe-core-python")
    person = visit(site, bypass_csp=True, color_scheme=scheme, reduced_motion="reduce")
    person.page.add_script_tag(content=files("axe_core_python").joinpath("axe.min.js").read_text("utf-8"))
    person.expect_words("Add an image to begin")
    assert violations(person) == []
    for _ in views(person):
        assert violations(person) == []
    person.open_tab("Similar cases")
    person.get("#hits .hit").first.click()
    expect(person.get("#case img")).to_be_visible()
    assert violations(person) == []


def test_nothing_is_wider_than_a_narrow_screen(visit: Any, site: ServerProcess) -> None:
    person = visit(site, viewport={"width": 360, "height": 640})
    for name in views(person):
        assert person.page.evaluate("document.documentElement.scrollWidth") == 360, name
    person.open_tab("Similar cases")
    person.get("#hits .hit").first.click()
    assert person.get("#case").evaluate("(one) => one.scrollWidth <= one.clientWidth && one.clientWidth <= 360")


def test_the_page_is_dark_in_the_dark_and_still_without_motion(visit: Any, site: ServerProcess) -> None:
    brightness = "Math.max(...getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number))"
    assert visit(site, color_scheme="light").page.evaluate(brightness) > 200
    person = visit(site, color_scheme="dark", reduced_motion="reduce")
    assert person.page.evaluate(brightness) < 60
    person.choose(CT)
    person.expect_words(f"{CT}: ")
    assert person.get(".fill").first.evaluate("(bar) => getComputedStyle(bar).transitionProperty") == "none"


def test_everything_is_done_by_keyboard_alone(person: Person) -> None:
    keyboard = person.page.keyboard

    def focus() -> str:
        return str(person.page.evaluate("document.activeElement.id || document.activeElement.className"))

    def tab_to(wanted: str) -> None:
        passed = []
        for _ in range(60):
            keyboard.press("Tab")
            passed.append(focus())
            if passed[-1] == wanted:
                return
        raise AssertionError(f"Tab never reaches {wanted}, only {passed}")

    keyboard.press("Tab")
    assert focus() == "skip"
    tab_to("choose")
    with person.page.expect_file_chooser() as chooser:
        keyboard.press("Enter")
    chooser.value.set_files(person.pictures / CT)
    person.expect_words(f"{CT}: ")
    tab_to("text")
    keyboard.type("ultrasound heart")
    keyboard.press("Enter")
    expect(person.get("#items li")).to_have_count(2)
    tab_to("tab-prompts")
    keyboard.press("ArrowRight")
    keyboard.press("ArrowRight")
    expect(person.page.get_by_role("tab", name="Similar cases")).to_be_focused()
    expect(person.get("#hits li")).to_have_count(6)
    tab_to("hit")
    keyboard.press("Enter")
    expect(person.page.get_by_role("dialog")).to_be_visible()
    tab_to("other")
    keyboard.press("Tab")
    keyboard.press("Enter")
    expect(person.get("#like")).to_be_visible()
    assert focus() == "hits-title"
    tab_to("tab-curl")
    keyboard.press("ArrowRight")
    expect(person.get("#code")).to_contain_text("urllib.request")


def test_a_screen_reader_finds_its_way(person: Person) -> None:
    for role in ("banner", "main", "complementary", "navigation"):
        expect(person.page.get_by_role(role)).to_have_count(1)
    expect(person.page.get_by_role("status")).to_contain_text("Add an image")
    tabs = person.page.get_by_role("tablist", name="What to do").get_by_role("tab")
    expect(tabs).to_have_count(5)
    tabs.first.focus()
    for key, selected in (("End", "Map"), ("ArrowRight", "Prompts"), ("ArrowLeft", "Map"), ("Home", "Prompts")):
        person.page.keyboard.press(key)
        expect(person.page.get_by_role("tab", name=selected)).to_have_attribute("aria-selected", "true")
        expect(person.page.get_by_role("tabpanel", name=selected)).to_be_visible()
    assert person.page.content().count("not for diagnosis or treatment") == 1
