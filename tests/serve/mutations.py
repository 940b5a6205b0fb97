"""Bodies that differ from a good one in a single member, for comparing a JSON Schema with its server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

# Of every type, empty and not, small and large. No 1.0: JSON Schema's integers include it, the server's do not.
VALUES: list[Any] = [
    *(None, True, False, -1, 0, 7, 0.5, 10**9, "", "x"),
    *([], ["x"], [7], [""], [None], {}, {"x": "y"}, {"x": 7}),
]


def mutations(document: dict[str, Any], schema: dict[str, Any], body: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield mutated bodies with the place of each mutation: members without, with other values, and unknown ones."""
    if isinstance(body, dict):
        members = _members(document, schema)
        for name in {**members, **body}:
            if name in body:
                yield f"{path}.{name} missing", {key: value for key, value in body.items() if key != name}
            for value in VALUES:
                yield f"{path}.{name} {value!r}", {**body, name: value}
            for place, mutated in mutations(document, members.get(name, {}), body.get(name), f"{path}.{name}"):
                yield place, {**body, name: mutated}
        yield f"{path}.unknown", {**body, "unknown": 1}
    elif isinstance(body, list) and body:
        for value in VALUES:
            yield f"{path}[0] {value!r}", [value, *body[1:]]
        items = {"anyOf": [choice["items"] for choice in _choices(document, schema) if "items" in choice]}
        for place, mutated in mutations(document, items, body[0], f"{path}[0]"):
            yield place, [mutated, *body[1:]]


def _members(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    return {
        name: member for choice in _choices(document, schema) for name, member in choice.get("properties", {}).items()
    }


def _choices(document: dict[str, Any], schema: Any) -> Iterator[dict[str, Any]]:
    """Yield the schema and all that it refers to or chooses from, for the same value."""
    if not isinstance(schema, dict):
        return
    yield schema
    if "$ref" in schema:
        yield from _choices(document, document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]])
    for keyword in ("oneOf", "anyOf"):
        for choice in schema.get(keyword, ()):
            yield from _choices(document, choice)
