"""Large images of embedding requests are decoded from base64 in a thread, so that the event loop answers others."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("fastapi", reason="the server needs the serve extra")

from medimageinsight import schemas
from medimageinsight.serve.rejection import Rejection
from medimageinsight.serve.routes import azure, openai
from medimageinsight.serve.routes.state import ServerState
from medimageinsight.serve.thread_pool import ThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable

LARGE, SMALL = "data:image/png;base64," + "A" * 100_000, "data:image/png;base64,AAAA"
ROUTES: dict[str, tuple[Any, Callable[[str], Any], Any]] = {
    "string": (openai, lambda image: schemas.EmbeddingsRequest(input=[image]), openai.embed_request),
    "object": (openai, lambda image: schemas.EmbeddingsRequest(input=[{"image": image}]), openai.embed_request),
    "azure": (
        azure,
        lambda image: schemas.ImageEmbeddingsRequest(input=[{"image": image}]),
        azure.create_image_embeddings,
    ),
}


@pytest.mark.parametrize(("image", "in_thread"), [(LARGE, True), (SMALL, False)], ids=["large", "small"])
@pytest.mark.parametrize("route", ROUTES)
def test_large_images_are_decoded_in_a_thread(
    monkeypatch: pytest.MonkeyPatch, route: str, image: str, *, in_thread: bool
) -> None:
    module, body, answer = ROUTES[route]
    threads: list[threading.Thread] = []
    make_row = module.make_row
    monkeypatch.setattr(
        module,
        "make_row",
        lambda *cells, **options: threads.append(threading.current_thread()) or make_row(*cells, **options),
    )
    asyncio.run(_answer(answer, body(image)))
    assert [thread is not threading.main_thread() for thread in threads] == [in_thread]


async def _answer(answer: Any, body: Any) -> None:
    """Answer a request up to the choice of its model, which does not exist."""

    def get(_: object) -> None:
        raise Rejection(404, "no model", code="model_not_found")

    workers = ThreadPool(1, "test")
    server = SimpleNamespace(
        settings=SimpleNamespace(max_rows=10), allow_urls=False, models=SimpleNamespace(get=get), workers=workers
    )
    server.run = lambda size, function: ServerState.run(server, size, function)  # type: ignore[arg-type]
    with pytest.raises(Rejection):
        await answer(server, body)
    workers.shutdown()
