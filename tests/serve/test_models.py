"""Readiness, and rows of images, texts and URLs embedded by a served model."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("pydantic_settings", reason="the server needs the serve extra")

from medimageinsight import MedImageInsight
from medimageinsight.errors import InputError
from medimageinsight.serve import Row
from medimageinsight.serve.fetcher import ImageFetcher
from medimageinsight.serve.metrics import Metrics
from medimageinsight.serve.models import ServedModel
from medimageinsight.serve.settings import ServerSettings
from tests.serve.server_process import make_image

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path


def with_model(folder: Path, use: Callable[[ServedModel], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        with MedImageInsight.load(folder, threads=1) as model:
            settings = ServerSettings()
            served = ServedModel(model, settings, Metrics(), ImageFetcher(settings))
            try:
                return await use(served)
            finally:
                served.batcher.close()

    return asyncio.run(main())


def test_readiness_embeds_both_kinds_and_fails_with_the_model(toy_bundle: Path) -> None:
    async def use(served: ServedModel) -> None:
        await served.check_ready()
        succeeded = dict(served.batcher.last_success)
        assert min(succeeded.values()) > 0
        await served.check_ready()
        assert served.batcher.last_success == succeeded, "no new probe within a few seconds"
        for kind in ("image", "text"):
            served.batcher.last_success = {**succeeded, kind: float("-inf")}
            await served.check_ready()
            assert min(served.batcher.last_success.values()) > 0
        served.model.close()
        served.batcher.last_success = {"image": succeeded["image"], "text": float("-inf")}
        with pytest.raises(InputError, match="open model"):
            await served.check_ready()

    with_model(toy_bundle, use)


def test_a_failing_model_fails_rows_only(toy_bundle: Path) -> None:
    async def use(served: ServedModel) -> list[Any]:
        served.model.close()
        return await served.embed_rows([Row(image=make_image()), Row(text="x-ray")], served.model.preprocessing)

    assert [result.code for result in with_model(toy_bundle, use)] == ["model_closed", "model_closed"]


def test_results_are_in_the_order_of_rows(toy_bundle: Path, toy: MedImageInsight) -> None:
    bad = InputError("expected a row, got none", code="row_empty")
    rows = [Row(text="a"), Row(error=bad), Row(image=make_image(1), text="b"), Row(image=make_image(2)), Row(text="a")]

    async def use(served: ServedModel) -> list[Any]:
        return await served.embed_rows(rows, served.model.preprocessing)

    found = with_model(toy_bundle, use)
    assert found[1] is bad
    np.testing.assert_array_equal(found[0].text, found[4].text)
    np.testing.assert_allclose(found[2].image, toy.embed_images(make_image(1)), atol=1e-6)
    np.testing.assert_allclose(found[3].image, toy.embed_images(make_image(2)), atol=1e-6)
    assert (found[0].image, found[3].text) == (None, None)


def test_an_image_url_is_fetched_and_embedded(
    toy_bundle: Path, toy: MedImageInsight, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(url: str, policy: Any, traceparent: str | None) -> bytes:
        assert policy.hosts == frozenset()
        if url.endswith("/none"):
            raise InputError("expected an image, got none", code="image_url_failed")
        return make_image(3)

    monkeypatch.setattr("medimageinsight.serve.fetcher.fetch", fetch)
    rows = [Row(image_url="https://a/3"), Row(image_url="https://a/none"), Row(image=make_image(3))]

    async def use(served: ServedModel) -> list[Any]:
        return await served.embed_rows(rows, served.model.preprocessing)

    fetched, failed, sent = with_model(toy_bundle, use)
    np.testing.assert_array_equal(fetched.image, toy.embed_images(make_image(3)))
    np.testing.assert_array_equal(fetched.image, sent.image)
    assert failed.code == "image_url_failed"
