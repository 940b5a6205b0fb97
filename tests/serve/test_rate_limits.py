"""Limits per minute: of requests and of images, for each name of the key file, and for processes together."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

httpx = pytest.importorskip("httpx", reason="the application is called in this process")
pytest.importorskip("uvicorn", reason="the server needs the serve extra")

from medimageinsight.errors import ConfigError
from medimageinsight.serve.app import create_app
from medimageinsight.serve.authentication import Authentication
from medimageinsight.serve.caller import count_images
from medimageinsight.serve.key_file import parse_keys
from medimageinsight.serve.metrics import MULTIPROCESS_FOLDER
from medimageinsight.serve.rate_limits import RateLimits
from medimageinsight.serve.rejection import Rejection
from medimageinsight.serve.settings import ServerSettings
from tests.serve.server_process import TIMEOUT_S, b64, make_image, score_request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from starlette.types import ASGIApp

LIMITED, FREE, HASHED = "key-with-limit-0123456789", "key-without-limit-0123456789", "key-with-digest-0123456789"
KEYED = "/v2"


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the limits of new servers."""
    clock = Clock()
    monkeypatch.delenv(MULTIPROCESS_FOLDER, raising=False)
    monkeypatch.setattr("medimageinsight.serve.authentication.RateLimits", functools.partial(RateLimits, clock=clock))
    return clock


@pytest.fixture
def write_keys(tmp_path: Path) -> Callable[..., ServerSettings]:
    def write(*lines: str, **options: Any) -> ServerSettings:
        path = tmp_path / "keys"
        path.write_text("\n".join(lines))
        path.chmod(0o600)
        return ServerSettings(api_key_file=path, **options)

    return write


@pytest.fixture
def app(clock: Clock, write_keys: Callable[..., ServerSettings]) -> ASGIApp:
    digest = hashlib.sha256(HASHED.encode()).hexdigest()
    return create_app(
        write_keys(f"{LIMITED} name=a requests_per_minute=5", FREE, f"sha256:{digest.upper()} name=hashed")
    )


def client(app: ASGIApp) -> Any:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://testserver")


def send(app: ASGIApp, path: str = KEYED, **headers: str) -> Any:
    """Return the response to a GET request."""

    async def get() -> Any:
        async with client(app) as connected:
            return await connected.get(path, headers=headers)

    return asyncio.run(get())


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def statuses(app: ASGIApp, key: str, count: int) -> list[int]:
    return [send(app, **bearer(key)).status_code for _ in range(count)]


def test_the_sixth_request_of_a_minute_is_refused(app: ASGIApp, clock: Clock) -> None:
    assert statuses(app, LIMITED, 5) == [200] * 5
    refused = send(app, **bearer(LIMITED))
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "rate_limited"
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert refused.headers["retry-after"] == "12"
    assert LIMITED not in refused.text
    assert statuses(app, FREE, 10) == [200] * 10
    clock.now += 11.9
    refused = send(app, **bearer(LIMITED))
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    clock.now += 0.1  # as Retry-After promised
    assert statuses(app, LIMITED, 2) == [200, 429]
    clock.now += 60
    assert statuses(app, LIMITED, 6) == [200] * 5 + [429]


def test_health_is_not_limited(app: ASGIApp) -> None:
    statuses(app, LIMITED, 6)
    assert send(app, "/health/live", **bearer(LIMITED)).status_code == 200


def test_invalid_keys_do_not_count(app: ASGIApp) -> None:
    assert statuses(app, LIMITED + "x", 10) == [401] * 10
    assert statuses(app, LIMITED, 5) == [200] * 5


def test_all_headers_of_a_key_count_for_its_name(app: ASGIApp) -> None:
    for headers in ({"api-key": LIMITED}, {"X-API-Key": LIMITED}, {"x-api-key": f" {LIMITED} "}, bearer(LIMITED)):
        assert send(app, **headers).status_code == 200
    assert send(app, **{"api-key": LIMITED}).status_code == 200
    for headers in ({"api-key": LIMITED}, {"X-API-Key": LIMITED}, bearer(LIMITED)):
        assert send(app, **headers).status_code == 429


@pytest.mark.parametrize("name", ["api-key", "X-API-Key"])
def test_headers_of_azure_and_gateways(app: ASGIApp, name: str) -> None:
    assert send(app, **{name: FREE}).status_code == 200
    assert send(app, **{name: FREE, "Authorization": "Bearer of-a-gateway-0123456789"}).status_code == 200
    for value in (FREE[:-1], "", f"Bearer {FREE}"):
        refused = send(app, **{name: value})
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "key_invalid")


def test_keys_of_a_digest(app: ASGIApp) -> None:
    digest = hashlib.sha256(HASHED.encode()).hexdigest()
    for headers in (bearer(HASHED), {"api-key": HASHED}, {"X-API-Key": HASHED}):
        assert send(app, **headers).status_code == 200
    for text in (digest, f"sha256:{digest}", f"sha256:{digest.upper()}"):  # who reads the file has no key
        assert send(app, **bearer(text)).status_code == 401
        assert send(app, **{"X-API-Key": text}).status_code == 401


def test_keys_of_a_name_share_its_limit(clock: Clock, write_keys: Callable[..., ServerSettings]) -> None:
    limit = "name=a requests_per_minute=3"
    app = create_app(write_keys(f"{LIMITED} {limit}", f"{FREE} {limit}"))
    assert statuses(app, LIMITED, 2) + statuses(app, FREE, 2) + statuses(app, LIMITED, 1) == [200] * 3 + [429] * 2


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (f"{LIMITED} requests_per_minute=0", "above 0"),
        (f"{LIMITED} images_per_minute=-1", "above 0"),
        (f"{LIMITED} images_per_minute=1.5", "above 0"),
        (f"{LIMITED} requests_per_minute=", "above 0"),
        (f"{LIMITED} rows_per_minute=5", "other words"),
        (f"{LIMITED} fast", "other words"),
        (f"{LIMITED} name=a/b", "names of 1 to 64"),
        (f"{LIMITED} name=a\n{FREE} name=a requests_per_minute=5", "the same limits"),
    ],
)
def test_invalid_lines_of_the_key_file(lines: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        parse_keys(lines)
    assert refused.value.code == "api_keys_unusable"
    assert LIMITED not in refused.value.message


def test_images_are_counted_for_their_caller(clock: Clock, write_keys: Callable[..., ServerSettings]) -> None:
    authentication = Authentication(write_keys(f"{LIMITED} name=a images_per_minute=6", FREE))

    def embed(key: str, count: int) -> tuple[int, str | None, int | None] | None:
        """Return the error of a request, None if its images are accepted."""
        caller = asyncio.run(authentication.find({"x-api-key": key}))
        assert caller is not None
        authentication.count_request(caller)
        try:
            with authentication.acting_for(caller):
                count_images(count)
        except Rejection as rejection:
            return rejection.status, rejection.code, rejection.retry_after_s
        return None

    limited = (429, "rate_limited", 10)
    assert [embed(LIMITED, count) for count in (2, 0, 4)] == [None] * 3
    assert [embed(LIMITED, count) for count in (1, 0)] == [limited, None]
    assert embed(FREE, 1000) is None
    clock.now += 10
    assert [embed(LIMITED, count) for count in (1, 1)] == [None, limited]
    count_images(1000)  # outside a request, there is no caller
    assert embed(LIMITED, 1) == limited


@pytest.mark.parametrize("unit", ["requests", "images"])
def test_work_larger_than_the_limit_is_accepted_once_and_delays_the_next(unit: Any) -> None:
    clock = Clock()
    limits = RateLimits(clock=clock)
    limits.count("a", unit, 50, 10)  # five minutes of work
    for seconds, retry_after_s in ((0, 246), (60, 186), (245.5, 1)):
        clock.now = 1000.0 + seconds
        with pytest.raises(Rejection) as refused:
            limits.count("a", unit, 1, 10)
        assert (refused.value.code, refused.value.retry_after_s) == ("rate_limited", retry_after_s)
    clock.now = 1000.0 + 246
    limits.count("a", unit, 1, 10)


def test_refused_work_does_not_count() -> None:
    clock = Clock()
    limits = RateLimits(clock=clock)
    limits.count("a", "images", 10, 10)
    for _ in range(100):
        with pytest.raises(Rejection):
            limits.count("a", "images", 5, 10)
    clock.now += 6
    limits.count("a", "images", 1, 10)


@pytest.mark.parametrize("limit", [1, 3, 7, 60, 999, 1000])
def test_exactly_the_limit_is_accepted(limit: int) -> None:
    clock = Clock()
    limits = RateLimits(clock=clock)
    for _ in range(limit):
        limits.count("a", "requests", 1, limit)
    with pytest.raises(Rejection):
        limits.count("a", "requests", 1, limit)


def test_names_units_and_missing_limits_are_independent() -> None:
    limits = RateLimits(clock=Clock())
    for name in ("a", "b"):
        limits.count(name, "requests", 1, 1)
        limits.count(name, "images", 1, 1)
        with pytest.raises(Rejection):
            limits.count(name, "requests", 1, 1)
    for _ in range(1000):
        limits.count("c", "requests", 1, None)


def test_processes_that_share_a_folder_count_together(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="processes share limits on POSIX")
    clock = Clock()
    first, second = (RateLimits(tmp_path, clock=clock) for _ in range(2))
    for limits in (first, second, first):
        limits.count("a/../b", "requests", 1, 3)
    for limits in (first, second):
        with pytest.raises(Rejection):
            limits.count("a/../b", "requests", 1, 3)
    first.count("b", "requests", 1, 3)
    assert all(path.parent == tmp_path and path.suffix == ".limit" for path in tmp_path.iterdir())


@pytest.mark.parametrize("shared", [False, True], ids=["of a process", "shared"])
def test_threads_count_together(tmp_path: Path, shared: bool) -> None:
    limits = [RateLimits(tmp_path if shared else None, clock=Clock())]
    if shared:
        pytest.importorskip("fcntl", reason="processes share limits on POSIX")
        limits.append(RateLimits(tmp_path, clock=Clock()))

    def count(index: int) -> bool:
        try:
            limits[index % len(limits)].count("a", "requests", 1, 50)
        except Rejection:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(count, range(200))) == 50


async def wait_until_ready(get: Callable[[str], Awaitable[Any]]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while (await get("/health/ready")).status_code != 200:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def score_in_process(app: ASGIApp, keys_and_images: list[tuple[str, int]]) -> list[Any]:
    """Return the responses to requests with a number of images each, of an application that is started and stopped."""
    events: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    started = asyncio.Event()

    async def notice(message: Any) -> None:
        assert message["type"] in ("lifespan.startup.complete", "lifespan.shutdown.complete")
        started.set()

    life = asyncio.ensure_future(app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, events.get, notice))
    events.put_nowait({"type": "lifespan.startup"})
    await started.wait()
    async with client(app) as connected:
        await wait_until_ready(connected.get)
        image = b64(make_image())
        responses = [
            await connected.post("/score", json=score_request(*[[image, None]] * count), headers=bearer(key))
            for key, count in keys_and_images
        ]
    events.put_nowait({"type": "lifespan.shutdown"})
    await life
    return responses


def test_images_of_requests_are_limited(
    clock: Clock, write_keys: Callable[..., ServerSettings], toy_bundle: Path
) -> None:
    app = create_app(write_keys(f"{LIMITED} name=a images_per_minute=3", FREE, model=str(toy_bundle), threads=1))
    requests = [(LIMITED, 2), (LIMITED, 4), (LIMITED, 1), (FREE, 4)]
    with ThreadPoolExecutor(1) as thread:  # a server in the main thread would change the handlers of signals
        responses = thread.submit(lambda: asyncio.run(score_in_process(app, requests))).result()
    assert [response.status_code for response in responses] == [200, 200, 429, 200]
    assert responses[2].json()["error"]["code"] == "rate_limited"
    assert responses[2].headers["retry-after"] == "80"  # 2 + 4 + 1 images are 140 s, 60 s may be used ahead
