"""What remains in memory of files that were read."""

from __future__ import annotations

import gc
from pathlib import Path

import pydicom
import pytest

from medimageinsight import images, studies
from medimageinsight.studies import parsed_files

HEART = Path(pydicom.__file__).parent / "data" / "test_files" / "examples_ybr_color.dcm"


@pytest.mark.skipif(not HEART.exists(), reason="pydicom was installed without its test files")
def test_nothing_remains_of_an_uploaded_file_when_its_images_are_gone() -> None:
    before = set(parsed_files._entries)
    (study,) = studies.read(HEART.read_bytes())
    for image in study.series[0].images[:3]:
        images.open(image)
    (entry,) = set(parsed_files._entries) - before  # one parse for all frames
    del study, image
    gc.collect()
    assert entry not in parsed_files._entries
