"""The URLs of many requests are fetched in turn."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from medimageinsight.serve.fetcher import ImageFetcher
from medimageinsight.serve.job import Ticket
from medimageinsight.serve.settings import ServerSettings


class SlowHosts:
    """Hosts that answer one request for each permit."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.permits = threading.Semaphore(0)

    def fetch(self, url: str, policy: Any, traceparent: str | None) -> bytes:
        self.asked.append(url)
        assert self.permits.acquire(timeout=60)
        return url.encode()


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> SlowHosts:
    hosts = SlowHosts()
    monkeypatch.setattr("medimageinsight.serve.fetcher.fetch", hosts.fetch)
    return hosts


def ticket(owner: str) -> Ticket:
    return Ticket(deadline=float("inf"), owner=owner)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("owner", ["a", "b"])
def test_one_url_does_not_wait_for_all_of_another_request(hosts: SlowHosts, owner: str) -> None:
    async def use() -> None:
        fetcher = ImageFetcher(ServerSettings())
        many, single = ticket("a"), ticket(owner)
        first = [asyncio.create_task(fetcher.fetch(f"https://a/{number}", None, many)) for number in range(40)]
        await settle()
        other = asyncio.create_task(fetcher.fetch("https://b/0", None, single))
        await settle()
        hosts.permits.release(100)
        assert await other == b"https://b/0"
        await asyncio.gather(*first)
        fetcher.close()

    asyncio.run(use())
    assert len(hosts.asked) == 41
    assert hosts.asked.index("https://b/0") <= 10  # 8 of the first request had begun, and one more was next


def test_cancelled_fetches_give_their_places_back_when_their_threads_are_free(hosts: SlowHosts) -> None:
    async def use() -> None:
        fetcher = ImageFetcher(ServerSettings())
        gone = ticket("a")
        tasks = [asyncio.create_task(fetcher.fetch(f"https://a/{number}", None, gone)) for number in range(20)]
        await settle()
        for task in tasks:
            task.cancel()
        assert all(
            isinstance(result, asyncio.CancelledError)
            for result in await asyncio.gather(*tasks, return_exceptions=True)
        )
        other = [asyncio.create_task(fetcher.fetch(f"https://b/{number}", None, ticket("b"))) for number in range(10)]
        await settle()
        assert len(hosts.asked) == 8  # the threads are still at the cancelled ones
        hosts.permits.release(100)
        assert len(await asyncio.gather(*other)) == 10
        fetcher.close()

    asyncio.run(use())
    assert len(hosts.asked) == 18  # those that had not begun never do
