"""Mappings to dataclasses, and the unknown keys of nested ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from medimageinsight.files.json import load_json
from medimageinsight.files.strict import MappingError, build, known_part


@dataclass(frozen=True)
class Stage:
    steps: int
    rate: float = 0.1


@dataclass(frozen=True)
class Config:
    name: str
    stages: tuple[Stage, ...] = ()
    size: tuple[int, int] | None = None
    mode: Literal["a", "b"] = "a"
    first: Stage | None = None


def test_nested_mappings_become_dataclasses() -> None:
    data = {"name": "x", "stages": [{"steps": 1, "rate": 2}], "size": [3, 4], "first": {"steps": 5}}
    assert build(Config, data, "config") == Config("x", (Stage(1, 2.0),), (3, 4), "a", Stage(5))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "config: expected a mapping, got list"),
        ({}, "config: missing name"),
        ({"name": "x", "nmae": 1}, "config: unknown nmae"),
        ({"name": None}, "config.name: expected str, got nothing"),
        ({"name": "x", "mode": "c"}, "config.mode: expected one of a, b, got 'c'"),
        ({"name": "x", "size": [1]}, "config.size: expected 2 entries, got 1"),
        ({"name": "x", "stages": [{"steps": True}]}, "config.stages[0].steps: expected int, got bool"),
    ],
)
def test_invalid_mappings_are_refused(data: object, message: str) -> None:
    with pytest.raises(MappingError) as caught:
        build(Config, data, "config")
    assert str(caught.value) == message


def test_unknown_keys_of_nested_mappings_are_found_at_once() -> None:
    data = {"name": "x", "sed": 1, "first": {"setps": 1}, "stages": [{"steps": 1}, {"step": 1}], "size": None}
    known, unknown = known_part(Config, data)
    assert unknown == ["config.sed", "config.first.setps", "config.stages[1].step"]
    assert known == {"name": "x", "first": {}, "stages": [{"steps": 1}, {}], "size": None}
    assert known_part(Config, "no mapping") == ("no mapping", [])


@pytest.mark.parametrize("content", ["NaN", "-Infinity", '{"a": 1, "a": 2}', "", b"\xff", "{'a': 1}"])
def test_json_that_is_not_strict_is_refused(content: str | bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the message is not shown to users
        load_json(content)
