"""The page shows the best cosine next to percentages, warns about unknown words, and refuses a single prompt."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("playwright.sync_api", reason="the page's tests need playwright")

if TYPE_CHECKING:
    from tests.page.page_driver import PageDriver

CT = "CT_small.dcm"


def test_percentages_stand_next_to_the_best_cosine(driver: PageDriver) -> None:
    driver.choose_files(CT)
    driver.expect_status(re.compile(r"%, best cosine 0\.\d{3}$"))
    prompts = driver.page.get_by_label("Prompts, one per line")
    prompts.fill("computed tomography head\na banana")
    prompts.press("Control+Enter")
    driver.expect_status(re.compile(r"best cosine 0\.\d{3}\. Warning: the model never learned .*: banana$"))
    prompts.fill("a banana")
    prompts.press("Control+Enter")
    driver.expect_status("Write at least two prompts")
