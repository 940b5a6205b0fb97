"""The order in which requests take turns."""

from __future__ import annotations

from medimageinsight.serve.fair_queue import FairQueue


def filled(*items: str) -> FairQueue[str]:
    """Return a queue of items as "key request item"."""
    queue: FairQueue[str] = FairQueue()
    for item in items:
        owner, request, name = item.split()
        queue.push(name, owner, request)
    return queue


def drain(queue: FairQueue[str]) -> list[str | None]:
    return [queue.pop() for _ in range(len(queue))]


def test_requests_take_turns() -> None:
    assert drain(filled("k a a1", "k a a2", "k a a3", "k b b1", "k c c1", "k c c2")) == [
        "a1", "b1", "c1", "a2", "c2", "a3"
    ]  # fmt: skip


def test_keys_take_turns_before_their_requests() -> None:
    queue = filled("one a a1", "one a a2", "one b b1", "one c c1", "two d d1", "two d d2")
    assert drain(queue) == ["a1", "d1", "b1", "d2", "c1", "a2"]


def test_a_refused_item_leaves_the_turn_to_the_next_request() -> None:
    queue = filled("k a a1", "k a a2", "k b b1")
    assert queue.pop(lambda item: item.startswith("b")) == "b1"
    assert queue.pop(lambda item: item.startswith("b")) is None
    assert drain(queue) == ["a1", "a2"]


def test_urgent_items_go_first() -> None:
    queue = filled("k a a1")
    queue.push("probe", "", "p", urgent=True)
    assert drain(queue) == ["probe", "a1"]


def test_the_items_of_a_request_are_removed_together() -> None:
    queue = filled("k a a1", "k b b1", "k a a2", "l c c1")
    queue.push("a0", "k", "a", urgent=True)
    assert queue.discard("k", "a") == ["a0", "a1", "a2"]
    assert queue.discard("k", "a") == []
    assert len(queue) == 2
    assert queue.discard("l", "c") == ["c1"]
    assert drain(queue) == ["b1"]
