"""Equal texts are embedded once, also when one of the callers is cancelled."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from medimageinsight.serve.text_cache import TextCache

VECTOR = np.ones(4, dtype=np.float32)


class Work:
    """Returns futures that the test resolves, and records them."""

    def __init__(self) -> None:
        self.futures: list[asyncio.Future[Any]] = []

    def __call__(self) -> asyncio.Future[Any]:
        self.futures.append(asyncio.get_running_loop().create_future())
        return self.futures[-1]


def test_concurrent_equal_texts_are_embedded_once() -> None:
    async def main() -> None:
        cache, work = TextCache(10), Work()
        tasks = [asyncio.create_task(cache.share("a", work)) for _ in range(3)]
        await asyncio.sleep(0)
        work.futures[0].set_result(VECTOR)
        for found in await asyncio.gather(*tasks):
            np.testing.assert_array_equal(found, VECTOR)
        assert len(work.futures) == 1
        np.testing.assert_array_equal(cache.get("a"), VECTOR)

    asyncio.run(main())


def test_a_cancelled_caller_does_not_affect_the_others() -> None:
    async def main() -> None:
        cache, work = TextCache(10), Work()
        leaving, staying = (asyncio.create_task(cache.share("a", work)) for _ in range(2))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.sleep(0)
        assert not work.futures[0].cancelled()
        work.futures[0].set_result(VECTOR)
        np.testing.assert_array_equal(await staying, VECTOR)

    asyncio.run(main())


def test_work_is_cancelled_with_its_last_caller_and_restarted() -> None:
    async def main() -> None:
        cache, work = TextCache(10), Work()
        leaving = asyncio.create_task(cache.share("a", work))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert work.futures[0].cancelled()
        again = asyncio.create_task(cache.share("a", work))
        await asyncio.sleep(0)
        work.futures[1].set_result(VECTOR)
        np.testing.assert_array_equal(await again, VECTOR)

    asyncio.run(main())


def test_a_failure_reaches_all_callers_and_is_not_cached() -> None:
    async def main() -> None:
        cache, work = TextCache(10), Work()
        tasks = [asyncio.create_task(cache.share("a", work)) for _ in range(2)]
        await asyncio.sleep(0)
        work.futures[0].set_exception(ValueError("no"))
        for task in tasks:
            with pytest.raises(ValueError, match="no"):
                await task
        assert cache.get("a") is None

    asyncio.run(main())


def test_evicts_the_least_recently_used_and_skips_long_texts() -> None:
    async def main() -> None:
        cache = TextCache(2)

        async def embed(text: str) -> None:
            work = Work()
            task = asyncio.create_task(cache.share(text, work))
            await asyncio.sleep(0)
            work.futures[0].set_result(VECTOR)
            await task
            await asyncio.sleep(0)

        for text in ("a", "b"):
            await embed(text)
        assert cache.get("a") is not None
        await embed("c")
        assert (cache.get("a") is None, cache.get("b") is None, cache.get("c") is None) == (False, True, False)
        await embed("long" * 1000)
        assert cache.get("long" * 1000) is None

    asyncio.run(main())
