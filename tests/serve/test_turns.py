"""Requests of different clients take turns in batches and in decoding; counted in batches, not in seconds."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("prometheus_client", reason="the server needs the serve extra")

from medimageinsight.errors import ImageError
from medimageinsight.serve.fair_queue import OWNER
from medimageinsight.serve.parallel import ParallelEngine
from medimageinsight.serve.progress import check_progress
from medimageinsight.serve.rejection import Rejection
from tests.serve.server_process import make_image
from tests.serve.test_batcher import TIMEOUT_S, batch_started, open_batcher

if TYPE_CHECKING:
    from medimageinsight import MedImageInsight
    from medimageinsight.serve.batcher import Batcher
    from medimageinsight.serve.job import Job, Kind, Ticket

MANY = 1024


async def decoded(batcher: Batcher, ticket: Ticket, count: int) -> None:
    """Wait until so many images of a request are decoded, and nothing else is."""
    while ticket.images_ahead != count or any(batcher._preparing.values()) or batcher._submitted["text"]:
        await asyncio.sleep(0.001)


async def batches_until_single(toy: MedImageInsight, batcher: Batcher, engine: Any, *, texts: bool) -> int:
    """Return how many batches begin after a single image came, up to its own, while another client has 1,024."""
    formed: list[list[Ticket]] = []  # the requests in each batch, in the order of their beginning
    take_batch = batcher._take_batch

    def record(kind: Kind) -> list[Job]:
        batch = take_batch(kind)
        formed.append([job.ticket for job in batch])
        return batch

    batcher._take_batch = record  # type: ignore[method-assign]
    with batcher.admit(MANY) as large:
        engine.gate.clear()
        waiting = [batcher.submit_image(large, make_image(), toy.preprocessing) for _ in range(MANY)]
        while batcher._running < len(batcher._threads) - batcher._decoders:
            await asyncio.sleep(0.001)
        await decoded(batcher, large, batcher._max_ahead)
        if texts:
            waiting += [batcher.submit_text(large, f"text {number}") for number in range(300)]
        with batcher.admit(1) as ticket:
            before = len(formed)
            future = batcher.submit_image(ticket, make_image(7), toy.preprocessing)
            await decoded(batcher, ticket, 1)  # the network is paused: as if decoding took less time than a batch
            engine.gate.set()
            await future
        for other in waiting:
            other.cancel()
    return next(number for number, tickets in enumerate(formed[before:], 1) if ticket in tickets)


@pytest.mark.parametrize("texts", [False, True])
@pytest.mark.parametrize("parallel", [False, True])
def test_a_single_image_waits_for_three_batches_at_most(toy: MedImageInsight, *, parallel: bool, texts: bool) -> None:
    async def main() -> int:
        options: dict[str, Any] = {"queue_rows": 2 * MANY}
        if parallel:
            options["parallel"] = ParallelEngine(engine=toy.engine, batches=2)
        with open_batcher(toy, **options) as (batcher, engine):
            if parallel:
                batcher._parallel = ParallelEngine(engine=engine, batches=2)
            return await batches_until_single(toy, batcher, engine, texts=texts)

    assert asyncio.run(main()) <= 3


def test_a_client_that_left_frees_its_place_in_the_queue(toy: MedImageInsight) -> None:
    async def main() -> list[int]:
        with open_batcher(toy) as (batcher, engine):
            engine.gate.clear()
            with batcher.admit(50) as left:
                for _ in range(50):
                    batcher.submit_image(left, make_image(), toy.preprocessing)
                await batch_started(engine)
            waiting = [len(batcher._submitted["image"]), len(batcher._prepared["image"])]
            engine.gate.set()
            with batcher.admit(1) as ticket:
                await batcher.submit_image(ticket, make_image(1), toy.preprocessing)
            return [*waiting, len(engine.sizes)]

    assert asyncio.run(main()) == [0, 0, 2]


def test_slow_views_leave_a_decoder_to_scoring(toy: MedImageInsight) -> None:
    async def main() -> None:
        release = threading.Event()
        try:
            with open_batcher(toy) as (batcher, _), batcher.admit(20) as ticket:
                views = [batcher.submit_call(ticket, lambda: release.wait(TIMEOUT_S)) for _ in range(20)]
                image = await asyncio.wait_for(batcher.submit_image(ticket, make_image(), toy.preprocessing), TIMEOUT_S)
                np.testing.assert_array_equal(image, toy.embed_images(make_image()))
                assert not batcher.stalled_s()
                release.set()
                assert all(await asyncio.gather(*views))
        finally:
            release.set()

    asyncio.run(main())


def test_a_view_that_is_not_wanted_any_more_is_not_made(toy: MedImageInsight) -> None:
    async def main() -> list[str]:
        made: list[str] = []
        release = threading.Event()
        with open_batcher(toy) as (batcher, _):
            with batcher.admit(90) as busy:
                slow = [batcher.submit_call(busy, lambda: release.wait(TIMEOUT_S)) for _ in range(90)]
                with batcher.admit(1) as ticket:
                    batcher.submit_call(ticket, lambda: made.append("left"))
                release.set()
                await asyncio.gather(*slow)
            with batcher.admit(1) as ticket:
                await batcher.submit_call(ticket, lambda: made.append("waited"))
        return made

    assert asyncio.run(main()) == ["waited"]


def test_errors_of_a_call_are_those_of_its_image(toy: MedImageInsight) -> None:
    async def main() -> None:
        with open_batcher(toy) as (batcher, _), batcher.admit(1) as ticket:
            await batcher.submit_call(ticket, lambda: toy.open_image(b"no image"))

    with pytest.raises(ImageError):
        asyncio.run(main())


def test_decoders_that_are_all_busy_are_noticed(toy: MedImageInsight) -> None:
    async def main() -> None:
        release = threading.Event()
        with open_batcher(toy) as (batcher, _), batcher.admit(batcher._decoders) as ticket:
            toy_open = batcher.model.open_image
            batcher.model.open_image = lambda *_, **options: release.wait(TIMEOUT_S) and toy_open(*_, **options)  # type: ignore[method-assign]
            images = [batcher.submit_image(ticket, make_image(), toy.preprocessing) for _ in range(batcher._decoders)]
            try:
                while len(batcher._busy_since) < batcher._decoders:
                    await asyncio.sleep(0.001)
                for decoder in batcher._busy_since:
                    batcher._busy_since[decoder] -= 1000
                with pytest.raises(Rejection) as caught:
                    check_progress(batcher.stalled_s(), "decoding_stalled")
                assert (caught.value.status, caught.value.code) == (503, "decoding_stalled")
            finally:
                release.set()
            await asyncio.gather(*images)
            assert not batcher.stalled_s()

    asyncio.run(main())


def test_the_owner_of_a_request_is_part_of_its_ticket(toy: MedImageInsight) -> None:
    async def main() -> str:
        with open_batcher(toy) as (batcher, _):
            OWNER.set("radiology")
            with batcher.admit(1) as ticket:
                return ticket.owner

    assert asyncio.run(main()) == "radiology"
