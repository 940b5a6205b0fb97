"""Strict reading of YAML files."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from medimageinsight.errors import ConfigError
from medimageinsight.files.yaml import read_yaml

pytest.importorskip("yaml", reason="needs PyYAML")

if TYPE_CHECKING:
    from pathlib import Path

BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in pairwise("abcdefghijklm")
)


def read(folder: Path, content: str | bytes) -> object:
    path = folder / "run.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_yaml(path)


def test_exponents_without_a_dot_are_numbers(tmp_path: Path) -> None:
    content = "\ufeffa: 1e-5\nb: -2E3\nc: 1.0e-3\nd: x1e5\ne: 12\nf: '1e5'\n"
    assert read(tmp_path, content) == {"a": 1e-5, "b": -2000.0, "c": 0.001, "d": "x1e5", "e": 12, "f": "1e5"}


def test_merge_keys_can_be_overridden(tmp_path: Path) -> None:
    assert read(tmp_path, "x: &x {a: 1, c: 2}\ny: {<<: *x, a: 3}\n") == {"x": {"a": 1, "c": 2}, "y": {"a": 3, "c": 2}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: {b: 1, c: 2, b: 3}", "line 1, column 4: the key 'b' comes twice"),
        ("a: !!python/object/apply:os.system ['true']", "not valid YAML"),
        ("a: [", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
        (b"a: \xff", "cannot be read: expected UTF-8"),
        ("a: 2020-13-45", "not valid YAML"),
        ("a: &a [*a]", "aliases within aliases"),
        (BOMB, "aliases within aliases"),
        ("a: 1\n" + "#" * (1 << 20), "larger than 1 MiB"),
    ],
)
def test_invalid_files_are_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read(tmp_path, content)
    assert caught.value.message.startswith("the file ")
    with pytest.raises(ConfigError, match=r"^run: the file "):
        read_yaml(tmp_path / "run.yaml", name="run")
    assert str(tmp_path) not in caught.value.message


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ConfigError) as caught:
            read_yaml(path)
        assert caught.value.code == "config_not_found"
