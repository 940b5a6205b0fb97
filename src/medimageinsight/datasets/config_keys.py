"""All unknown keys of a config at once, where reading it strictly stops at the first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, get_args, get_type_hints


def unknown_keys(cls: type, data: object, where: str = "config") -> list[str]:
    """The full names of keys that a dataclass, and those within it, do not have.

        for key in unknown_keys(TrainConfig, yaml.safe_load(text)):
            problems.add("config_key_unknown", key)

    Args:
        cls: A dataclass, as `strict.build` takes it.
        data: What the YAML or JSON reader gave; what is of another form than expected is left to `strict.build`.
        where: How to name the mapping.
    """
    if not isinstance(data, Mapping):
        return []
    hints = get_type_hints(cls)
    found = [f"{where}.{key}" for key in data if key not in hints]
    for key, value in data.items():
        for inner in _dataclasses(hints.get(key)):
            if isinstance(value, list):
                found += [
                    one for i, item in enumerate(value) for one in unknown_keys(inner, item, f"{where}.{key}[{i}]")
                ]
            else:
                found += unknown_keys(inner, value, f"{where}.{key}")
    return found


def _dataclasses(hint: Any) -> list[type]:  # noqa: ANN401 - any type's hint
    """The dataclasses that a hint is made of: itself, or within a tuple or an alternative to None."""
    if isinstance(hint, type) and is_dataclass(hint):
        return [hint]
    return [one for argument in get_args(hint) for one in _dataclasses(argument)]
