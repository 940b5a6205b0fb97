"""Fixtures of the export tests."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from medimageinsight.bundle import IMAGE_ENCODER, TEXT_ENCODER
from medimageinsight.export import graphs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medimageinsight.bundle import Bundle


@pytest.fixture(scope="module")
def ready_graphs(golden_bundle: Bundle) -> Iterator[None]:
    """Replace the export, which takes seconds, by a copy of the golden bundle's graphs."""

    def export(name: str):
        def copy(model, path):
            shutil.copyfile(golden_bundle.path(name), path)
            return (path.name,)

        return copy

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs, "export_image_encoder", export(IMAGE_ENCODER))
        patch.setattr(graphs, "export_text_encoder", export(TEXT_ENCODER))
        yield
