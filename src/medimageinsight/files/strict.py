"""Strict conversion of plain mappings (JSON, YAML) to dataclasses: errors name missing, unknown and mistyped keys."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


class MappingError(ValueError):
    """A mapping that does not fit its dataclass; readers convert it into an error of their own package."""


def build(cls: type[T], data: Any, where: str) -> T:
    """Return an instance of the dataclass `cls` from a mapping.

    Lists become tuples, nested mappings become dataclasses, and an int is accepted for a float; nothing else is
    converted. Field types are scalars, Literals, tuples, dicts, dataclasses, or one of these or None, or one of several
    dataclasses, see `choose_kind`. Errors begin with ``where``, for example ``"manifest"``.

    Raises:
        MappingError: A key is missing, unknown or of the wrong type.
    """
    if not isinstance(data, Mapping):
        raise MappingError(f"{where}: expected a mapping, got {_type_name(data)}")
    known = {field.name: field for field in fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(str(key) for key in data if key not in known)
    missing = sorted(
        name
        for name, field in known.items()
        if field.default is MISSING and field.default_factory is MISSING and name not in data
    )
    if unknown or missing:
        parts = [f"unknown {', '.join(unknown)}"] * bool(unknown) + [f"missing {', '.join(missing)}"] * bool(missing)
        raise MappingError(f"{where}: {'; '.join(parts)}")
    hints = get_type_hints(cls)
    return cls(**{key: _convert(hints[key], value, f"{where}.{key}") for key, value in data.items()})


def known_part(cls: type, data: object, where: str = "config") -> tuple[object, list[str]]:
    """Return a mapping without its unknown keys, and the full names of those keys.

    `build` reports the unknown keys of a single mapping; with this, those of all nested ones are reported at once::

        mapping, unknown = known_part(TrainConfig, yaml.safe_load(text))
        config = build(TrainConfig, mapping, "config")

    Values of an unexpected type are left to `build`.
    """
    if not isinstance(data, Mapping):
        return data, []
    hints = get_type_hints(cls)
    unknown = [f"{where}.{key}" for key in data if key not in hints]
    known = {key: value for key, value in data.items() if key in hints}
    for key, value in known.items():
        for inner in choose_kind(_dataclasses(hints[key]), value):
            if isinstance(value, list):
                parts = [known_part(inner, item, f"{where}.{key}[{i}]") for i, item in enumerate(value)]
                known[key] = [part for part, _ in parts]
                unknown += [name for _, names in parts for name in names]
            else:
                known[key], names = known_part(inner, value, f"{where}.{key}")
                unknown += names
    return known, unknown


def choose_kind(classes: list[type], value: object) -> list[type]:
    """Return the dataclass that the key ``kind`` of a mapping selects, of several alternatives.

    Each has a field ``kind``, a Literal; an alternative without the field is that of a mapping without the key. The
    list is empty if none matches. Fewer than two classes are returned unchanged.
    """
    if len(classes) < 2:
        return classes
    kind = value.get("kind") if isinstance(value, Mapping) else None
    return [cls for cls in classes if kind in _kinds(cls)]


def _kinds(cls: type) -> tuple[Any, ...]:
    hint = get_type_hints(cls).get("kind")
    return (None,) if hint is None else get_args(hint)


def _dataclasses(hint: Any) -> list[type]:
    """Return the dataclasses of a type hint: itself, or those within a tuple or an optional type."""
    if isinstance(hint, type) and is_dataclass(hint):
        return [hint]
    return [cls for argument in get_args(hint) for cls in _dataclasses(argument)]


def _convert(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        inner = [argument for argument in arguments if argument is not type(None)]
        if len(inner) > 1:
            return _build_kind(inner, value, where)
        return _convert(inner[0], value, where)
    if origin is Literal:
        if value not in arguments:
            raise MappingError(f"{where}: expected one of {', '.join(map(str, arguments))}, got {value!r}")
        return value
    if origin is tuple:
        return _convert_tuple(arguments, value, where)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise MappingError(f"{where}: expected a mapping, got {_type_name(value)}")
        return {
            _convert(arguments[0], key, where): _convert(arguments[1], item, f"{where}.{key}")
            for key, item in value.items()
        }
    if is_dataclass(kind):
        return build(kind, value, where)  # type: ignore[arg-type]
    if kind is Any:
        return value
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise MappingError(f"{where}: expected {kind.__name__}, got {_type_name(value)}")
    return value


def _build_kind(classes: list[type], value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise MappingError(f"{where}: expected a mapping, got {_type_name(value)}")
    if not (chosen := choose_kind(classes, value)):
        kinds = [kind for cls in classes for kind in _kinds(cls)]
        expected = [str(kind) for kind in kinds if kind is not None] + ["no such key"] * (None in kinds)
        raise MappingError(f"{where}.kind: expected {' or '.join(expected)}, got {str(value.get('kind'))[:40]!r}")
    return build(chosen[0], value, where)


def _convert_tuple(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise MappingError(f"{where}: expected a list, got {_type_name(value)}")
    if arguments[-1] is Ellipsis:
        return tuple(_convert(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if len(value) != len(arguments):
        raise MappingError(f"{where}: expected {len(arguments)} entries, got {len(value)}")
    return tuple(
        _convert(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(arguments, value, strict=True))
    )


def _type_name(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__
