"""All unknown keys of a config at once, where reading it strictly stops at the first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, get_args, get_type_hints


def known_part(cls: type, data: object, where: str = "config") -> tuple[object, list[str]]:
    """A mapping without the keys that a dataclass, and those within it, do not have, and the full names of those keys.

        mapping, unknown = known_part(TrainConfig, yaml.safe_load(text))
        config = strict.build(TrainConfig, mapping, "config")

    Args:
        cls: A dataclass, as `strict.build` takes it.
        data: What the YAML or JSON reader gave; what is of another form than expected is left to `strict.build`.
        where: How to name the mapping.
    """
    if not isinstance(data, Mapping):
        return data, []
    hints = get_type_hints(cls)
    unknown = [f"{where}.{key}" for key in data if key not in hints]
    known = {key: value for key, value in data.items() if key in hints}
    for key, value in known.items():
        for inner in _dataclasses(hints[key]):
            if isinstance(value, list):
                parts = [known_part(inner, item, f"{where}.{key}[{i}]") for i, item in enumerate(value)]
                known[key] = [part for part, _ in parts]
                unknown += [name for _, names in parts for name in names]
            else:
                known[key], names = known_part(inner, value, f"{where}.{key}")
                unknown += names
    return known, unknown


def _dataclasses(hint: Any) -> list[type]:  # noqa: ANN401 - any type's hint
    """The dataclasses that a hint is made of: itself, or within a tuple or an alternative to None."""
    if isinstance(hint, type) and is_dataclass(hint):
        return [hint]
    return [one for argument in get_args(hint) for one in _dataclasses(argument)]
