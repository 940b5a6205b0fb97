"""Items with several images: scroll, play, scores along the series, and folders as one study."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.page.page_driver import PageDriver

expect = pytest.importorskip("playwright.sync_api", reason="the page's tests need playwright").expect

HEART = "examples_ybr_color.dcm"  # 30 frames
SLICES = 5


@pytest.fixture
def series_folder(image_folder: Path, tmp_path: Path) -> Path:
    """A folder with a CT series of slices, whose names have another order than their positions, and a text file."""
    from pydicom import dcmread

    folder = tmp_path / "patient"
    (folder / "nested").mkdir(parents=True)
    for index in range(SLICES):
        dataset = dcmread(image_folder / "CT_small.dcm")
        dataset.SOPInstanceUID = f"1.2.3.{index}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.ImagePositionPatient = [0, 0, 5.0 * index]
        dataset.InstanceNumber = index
        dataset.save_as(folder / "nested" / f"{(3 * index) % SLICES}.dcm")
    (folder / "notes.txt").write_text("not an image")
    (folder / ".hidden").write_text("not to be sent")
    return folder


def test_the_frames_of_a_file_are_scrolled_without_a_request_for_each(driver: PageDriver) -> None:
    with driver.page.expect_response(re.compile("api/study")):
        driver.choose_files(HEART)
    expect(driver.locate("#play")).to_be_visible()
    first = driver.locate("#viewer-image").get_attribute("src")
    driver.page.locator("#frame").evaluate(
        "(slider) => { slider.value = 20; slider.dispatchEvent(new Event('input')); }"
    )
    expect(driver.locate("#frame-shown")).to_have_text("20 of 30")
    assert driver.locate("#viewer-image").get_attribute("src") != first
    expect(driver.locate("#items li")).to_contain_text("frame 1 of 30")  # scrolling does not choose


def test_a_loop_plays_until_it_is_stopped(driver: PageDriver) -> None:
    driver.choose_files(HEART)
    play = driver.locate("#play")
    play.click()
    expect(play).to_have_text("Stop")
    expect(driver.locate("#frame-shown")).not_to_have_text("1 of 30")
    play.click()
    expect(play).to_have_text("Play")
    expect(play).to_have_attribute("aria-pressed", "false")


def test_scores_along_a_series_lead_to_its_images(driver: PageDriver) -> None:
    driver.choose_files(HEART)
    driver.locate("#used").select_option("even:16")
    chart = driver.locate("#prompts-along svg")
    expect(chart).to_be_visible()
    expect(driver.locate("#prompts-along .legend li")).to_have_count(4)
    expect(driver.locate("#code")).to_contain_text('"select": "even:16"')
    slider = driver.page.get_by_label("Image of the series")
    slider.press("End")
    expect(driver.locate("#frame-shown")).to_have_text("30 of 30")
    expect(driver.locate("#prompts-along output")).to_contain_text("Image 30")
    driver.locate("#used").select_option("")
    expect(chart).to_have_count(0)


def test_a_folder_is_one_study_in_the_order_of_its_slices(driver: PageDriver, series_folder: Path) -> None:
    driver.locate("#folder").set_input_files(series_folder)
    expect(driver.locate("#items li")).to_have_count(1)
    expect(driver.locate("#items li")).to_contain_text("patient.zip")
    expect(driver.locate("#items li")).to_contain_text(f"frame 1 of {SLICES}")
    driver.locate("#used").select_option("all")
    expect(driver.locate("#prompts-along output")).to_contain_text("at 0.0 mm")
    driver.page.get_by_label("Image of the series").press("End")
    expect(driver.locate("#prompts-along output")).to_contain_text("at 20.0 mm")


def test_no_script_error(driver: PageDriver, series_folder: Path) -> None:
    driver.locate("#folder").set_input_files(series_folder)
    driver.locate("#used").select_option("all")
    expect(driver.locate("#prompts-along svg")).to_be_visible()
    assert driver.script_errors == []
    assert driver.foreign_urls == []
