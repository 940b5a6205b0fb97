"""Batching across requests, with a real model whose engine can be paused and made to fail."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("prometheus_client", reason="the server needs the serve extra")

from medimageinsight.errors import ImageError, InputError, ModelError
from medimageinsight.serve.batcher import MAX_BATCH_SIZE, Batcher
from medimageinsight.serve.metrics import Metrics
from medimageinsight.serve.rejection import Rejection
from tests.serve.server_process import make_image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medimageinsight import MedImageInsight

TIMEOUT_S = 60


class Engine:
    """The model's engine with a gate that pauses it and pixels that make it fail; records the size of each batch."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.sizes: list[int] = []
        self.poison: float | None = None  # value of a first pixel that makes the batch fail

    def embed_pixels(self, pixels: np.ndarray) -> np.ndarray:
        self.entered.release()
        assert self.gate.wait(TIMEOUT_S)
        self.sizes.append(len(pixels))
        if self.poison is not None and (pixels[:, 0, 0, 0] == self.poison).any():
            raise ModelError("expected the network to run, it failed", code="inference_failed")
        return self.engine.embed_pixels(pixels)

    def embed_tokens(self, rows: Any) -> np.ndarray:
        return self.engine.embed_tokens(rows)


class Model:
    def __init__(self, model: MedImageInsight) -> None:
        self.engine = Engine(model.engine)
        self.name, self.tokenizer, self.open_image = model.name, model.tokenizer, model.open_image
        self.preprocessing = model.preprocessing


@contextmanager
def open_batcher(model: MedImageInsight, **options: Any) -> Iterator[tuple[Batcher, Engine]]:
    wrapped = Model(model)
    settings = {
        "batch_images": 4, "queue_rows": 100, "queue_deadline_s": float(TIMEOUT_S), "metrics": Metrics(), **options,
    }  # fmt: skip
    batcher = Batcher(wrapped, **settings)  # type: ignore[arg-type]
    try:
        yield batcher, wrapped.engine
    finally:
        wrapped.engine.gate.set()
        batcher.close()


def batch_started(engine: Engine) -> Any:
    """Wait until the engine has received a batch."""
    return asyncio.to_thread(engine.entered.acquire, timeout=TIMEOUT_S)


def test_waiting_images_are_batched(toy: MedImageInsight) -> None:
    images = [make_image(seed) for seed in range(9)]

    async def main() -> tuple[list[np.ndarray], list[int]]:
        with open_batcher(toy) as (batcher, engine), batcher.admit(9) as ticket:
            engine.gate.clear()
            first = batcher.submit_image(ticket, images[0], toy.preprocessing)
            await batch_started(engine)  # an idle engine does not wait for more images
            others = [batcher.submit_image(ticket, image, toy.preprocessing) for image in images[1:]]
            while len(batcher._prepared["image"]) < 8:
                await asyncio.sleep(0.001)
            engine.gate.set()
            return await asyncio.gather(first, *others), engine.sizes

    found, sizes = asyncio.run(main())
    assert sizes == [1, 4, 4]
    np.testing.assert_allclose(found, toy.embed_images(images), atol=1e-6)


def test_limits_the_pixels_of_a_batch(toy: MedImageInsight, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MAX_BATCH_SIZE, "image", 2 * 16 * 16)

    async def main() -> list[int]:
        with open_batcher(toy) as (batcher, engine), batcher.admit(6) as ticket:
            engine.gate.clear()
            first = batcher.submit_image(ticket, make_image(), toy.preprocessing)
            await batch_started(engine)
            others = [batcher.submit_image(ticket, make_image(seed), toy.preprocessing) for seed in range(5)]
            while len(batcher._prepared["image"]) < 5:
                await asyncio.sleep(0.001)
            engine.gate.set()
            await asyncio.gather(first, *others)
            return engine.sizes

    assert asyncio.run(main()) == [1, 2, 2, 1]


def test_urgent_jobs_go_first_and_kinds_alternate(toy: MedImageInsight) -> None:
    async def main() -> list[str]:
        done: list[str] = []
        with open_batcher(toy, batch_images=1) as (batcher, engine), batcher.admit(9) as ticket:
            engine.gate.clear()
            first = batcher.submit_image(ticket, make_image(), toy.preprocessing)
            await batch_started(engine)
            waiting = {
                f"image {seed}": batcher.submit_image(ticket, make_image(seed), toy.preprocessing) for seed in range(6)
            }
            while len(batcher._prepared["image"]) < 3:  # the limit of decoded images
                await asyncio.sleep(0.001)
            waiting["urgent"] = batcher.submit_image(ticket, make_image(9), toy.preprocessing, urgent=True)
            waiting["text"] = batcher.submit_text(ticket, "x-ray")
            while not batcher._prepared["text"] or len(batcher._prepared["image"]) < 4:  # and the urgent image
                await asyncio.sleep(0.001)
            for name, future in waiting.items():
                future.add_done_callback(lambda _, name=name: done.append(name))
            engine.gate.set()
            await asyncio.gather(first, *waiting.values())
            await asyncio.sleep(0)
        return done

    done = asyncio.run(main())
    assert set(done[:2]) == {"urgent", "text"}


def test_only_the_failing_row_of_a_batch_fails(toy: MedImageInsight) -> None:
    images = [make_image(seed) for seed in range(4)]

    async def main() -> list[Any]:
        with open_batcher(toy) as (batcher, engine), batcher.admit(5) as ticket:
            engine.poison = float(toy.prepare_image(images[2])[0, 0, 0])
            engine.gate.clear()
            blocker = batcher.submit_image(ticket, make_image(9), toy.preprocessing)
            await batch_started(engine)
            rows = [batcher.submit_image(ticket, image, toy.preprocessing) for image in images]
            while len(batcher._prepared["image"]) < 4:
                await asyncio.sleep(0.001)
            engine.gate.set()
            await blocker
            found = await asyncio.gather(*rows, return_exceptions=True)
            assert engine.sizes[1] == 4, "the failing row was in a batch with others"
            # the thread continues
            found.append(await batcher.submit_image(ticket, images[0], toy.preprocessing))
            return found

    found = asyncio.run(main())
    assert isinstance(found[2], InputError)
    assert found[2].code == "inference_failed"
    for index in (0, 1, 3):
        np.testing.assert_allclose(found[index], toy.embed_images(images[index]), atol=1e-6)
    np.testing.assert_array_equal(found[4], toy.embed_images(images[0]))


def test_an_undecodable_image_fails_alone(toy: MedImageInsight) -> None:
    async def main() -> list[Any]:
        with open_batcher(toy) as (batcher, _), batcher.admit(2) as ticket:
            rows = [batcher.submit_image(ticket, data, toy.preprocessing) for data in (b"no image", make_image())]
            return await asyncio.gather(*rows, return_exceptions=True)

    bad, good = asyncio.run(main())
    assert isinstance(bad, ImageError)
    np.testing.assert_array_equal(good, toy.embed_images(make_image()))


def test_a_full_queue_refuses_requests_and_recovers(toy: MedImageInsight) -> None:
    async def main() -> None:
        with open_batcher(toy, queue_rows=3) as (batcher, _):
            with batcher.admit(10):  # an idle server admits a request of any size
                with pytest.raises(Rejection) as caught, batcher.admit(1):
                    pass
                assert (caught.value.status, caught.value.code) == (429, "queue_full")
                assert caught.value.retry_after_s
            with batcher.admit(2), batcher.admit(1):
                pass

    asyncio.run(main())


def test_refuses_a_request_that_did_not_start_in_time(toy: MedImageInsight) -> None:
    async def main() -> None:
        with open_batcher(toy, queue_deadline_s=-1.0) as (batcher, engine), batcher.admit(1) as ticket:
            with pytest.raises(Rejection) as caught:
                await batcher.submit_image(ticket, make_image(), toy.preprocessing)
            assert (caught.value.status, caught.value.code) == (429, "queue_deadline")
            assert engine.sizes == []

    asyncio.run(main())


def test_cancelled_jobs_are_not_embedded(toy: MedImageInsight) -> None:
    async def main() -> list[int]:
        with open_batcher(toy, batch_images=2) as (batcher, engine):
            engine.gate.clear()
            with batcher.admit(1) as ticket:
                blocker = batcher.submit_image(ticket, make_image(), toy.preprocessing)
                await batch_started(engine)
                with batcher.admit(20) as abandoned:
                    cancelled = [
                        batcher.submit_image(abandoned, make_image(seed), toy.preprocessing) for seed in range(20)
                    ]
                    while len(batcher._prepared["image"]) < 6:  # the limit of decoded images
                        await asyncio.sleep(0.001)
                    for future in cancelled:
                        future.cancel()
                    await asyncio.sleep(0)
                engine.gate.set()
                await blocker
                await batcher.submit_image(ticket, make_image(5), toy.preprocessing)
            return engine.sizes

    assert asyncio.run(main()) == [1, 1]


def test_batches_texts_of_different_lengths(toy: MedImageInsight) -> None:
    texts = ["x-ray", "a much longer text about a chest", "mri", "x"]

    async def main() -> Any:
        with open_batcher(toy) as (batcher, _), batcher.admit(4) as ticket:
            return await asyncio.gather(*(batcher.submit_text(ticket, text) for text in texts))

    np.testing.assert_allclose(asyncio.run(main()), toy.embed_texts(texts), atol=1e-6)
