"""Keys of the file are accepted in both forms; an invalid new version of the file changes nothing."""

from __future__ import annotations

import base64
import logging
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medimageinsight.errors import ConfigError
from medimageinsight.serve.keys import KeyRing

if TYPE_CHECKING:
    from pathlib import Path

FIRST = "first-key-0123456789"
SECOND = "second:key-0123456789"
THIRD = "third-key-0123456789"


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return write(tmp_path / "keys", f"# the clinic\n{FIRST}\n\n  # research\n  {SECOND}\r\n")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ring(key_file: Path, clock: Clock) -> KeyRing:
    return KeyRing.from_file(key_file, interval=1.0, clock=clock)


def write(path: Path, text: str) -> Path:
    """Replace the file by a new one (another inode) that is private to its owner."""
    partial = path.with_suffix(".new")
    partial.write_bytes(text.encode())
    partial.chmod(0o600)
    return partial.replace(path)


def basic(credentials: str) -> str:
    return "Basic " + base64.b64encode(credentials.encode()).decode()


@pytest.mark.parametrize(
    "authorization",
    [
        f"Bearer {FIRST}",
        f"Bearer {SECOND}",
        f"bearer {FIRST}",
        f"BEARER   {FIRST} ",
        basic(f"anyone:{FIRST}"),
        basic(f":{SECOND}"),
        basic(f"Zoë:{FIRST}").replace("Basic", "basic"),
    ],
)
def test_accepts_keys_of_the_file(ring: KeyRing, authorization: str) -> None:
    assert ring.find(authorization)


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {THIRD}",
        f"Bearer {FIRST[:-1]}",
        f"Bearer {FIRST}x",
        f"Bearer {FIRST.upper()}",
        f"Bearer {FIRST} {FIRST}",
        "Bearer # the clinic",
        FIRST,
        f"Digest {FIRST}",
        f"Basic {FIRST}",
        "Basic ????",
        "Basic YQ",
        basic(FIRST),
        basic(f"{FIRST}:"),
        basic(f"{FIRST}:{THIRD}"),
        "Bearer \xff\x00\xa0",
        "\udcff €",
    ],
)
def test_rejects_other_headers(ring: KeyRing, authorization: str | None) -> None:
    assert not ring.find(authorization)


@given(value=st.text() | st.builds("{} {}".format, st.sampled_from(["Bearer", "Basic"]), st.text()))
def test_arbitrary_headers_raise_nothing(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    path = write(tmp_path_factory.getbasetemp() / "keys", FIRST)
    assert KeyRing.from_file(path).find(value) is None


def test_ignores_a_byte_order_mark(tmp_path: Path) -> None:
    assert KeyRing.from_file(write(tmp_path / "keys", f"\ufeff{FIRST}")).find(f"Bearer {FIRST}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "one key a line, got none"),
        (b"# nothing yet\n\n", "one key a line, got none"),
        (b"fifteen-letters\n", "16 or more"),
        (f"{FIRST}\nshort".encode(), "line 2"),
        (f"{FIRST} # mine".encode(), "without spaces"),
        ("schlüssel-0123456789".encode(), "ASCII"),
        (FIRST.encode("utf-16"), "UTF-8"),
    ],
)
def test_rejects_files_without_valid_keys(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "keys"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as refused:
        KeyRing.from_file(path)
    assert refused.value.code == "api_keys_unusable"
    for secret in (str(tmp_path), FIRST, "fifteen", "short", "schl"):
        assert secret not in refused.value.message


def test_rejects_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(ConfigError) as refused:
            KeyRing.from_file(path)
        assert refused.value.code == "api_keys_unusable"
        assert str(tmp_path) not in refused.value.message


def test_a_new_version_applies_after_the_interval(ring: KeyRing, key_file: Path, clock: Clock) -> None:
    write(key_file, THIRD)
    clock.now = 0.9
    assert ring.find(f"Bearer {FIRST}")
    assert not ring.find(f"Bearer {THIRD}")
    clock.now = 1.0
    assert ring.find(f"Bearer {THIRD}")
    assert not ring.find(f"Bearer {FIRST}")


def test_notices_a_change_in_place(ring: KeyRing, key_file: Path, clock: Clock) -> None:
    with key_file.open("a") as file:
        file.write(THIRD)
    clock.now = 1.0
    assert ring.find(f"Bearer {THIRD}")
    assert ring.find(f"Bearer {FIRST}")


@pytest.mark.parametrize("content", [None, "", "short"], ids=["gone", "empty", "a short key"])
def test_an_invalid_version_keeps_the_last_keys_and_warns_once(
    ring: KeyRing, key_file: Path, clock: Clock, caplog: pytest.LogCaptureFixture, content: str | None
) -> None:
    if content is None:
        key_file.unlink()
    else:
        write(key_file, content)
    for second in range(1, 5):
        clock.now = second
        assert ring.find(f"Bearer {FIRST}")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert caplog.records[0].name == "medimageinsight.serve"
    assert "last good keys" in caplog.text
    for secret in (str(key_file), FIRST, "short"):
        assert secret not in caplog.records[0].getMessage()

    write(key_file, THIRD)
    clock.now = 5
    assert ring.find(f"Bearer {THIRD}")
    assert not ring.find(f"Bearer {FIRST}")


def test_warns_again_about_a_second_invalid_version(
    ring: KeyRing, key_file: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    moved = key_file.with_suffix(".moved")
    for second in (1, 3):
        key_file.rename(moved)
        clock.now = second
        assert ring.find(f"Bearer {FIRST}")
        moved.rename(key_file)
        clock.now = second + 1
        assert ring.find(f"Bearer {FIRST}")
    assert len(caplog.records) == 2


@pytest.mark.skipif(os.name != "posix", reason="rights of group and others are POSIX's")
@pytest.mark.parametrize(("mode", "warns"), [(0o600, False), (0o640, False), (0o604, True), (0o611, False)])
def test_warns_about_a_file_that_others_can_read(
    key_file: Path, caplog: pytest.LogCaptureFixture, mode: int, warns: bool
) -> None:
    key_file.chmod(mode)
    assert KeyRing.from_file(key_file).find(f"Bearer {FIRST}")
    assert ("other users" in caplog.text) == warns
    assert str(key_file) not in caplog.text
