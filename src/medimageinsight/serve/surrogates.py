"""JSON with halves of surrogate pairs, which orjson neither reads nor prints: they are an error of one row only."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")


def parse_with_surrogates(body: bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Parse JSON whose strings may have halves of surrogate pairs; the names of members may not.

    Raises:
        ValueError: It is not JSON, or has no such escape, so that another parser's error stands.
    """
    if not _ESCAPE.search(body):
        raise ValueError
    try:
        return json.loads(body.decode(), parse_constant=_refuse, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError from None


def print_with_surrogates(value: object, members: Callable[[Any], dict[str, Any]]) -> bytes:
    """Print JSON, other characters than ASCII as escapes.

    Args:
        value: The value, with arrays.
        members: Returns an object's members.
    """

    def convert(item: Any) -> Any:  # noqa: ANN401 - an array or an object
        return item.tolist() if hasattr(item, "tolist") else members(item)

    return json.dumps(value, default=convert, allow_nan=False, separators=(",", ":")).encode()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    for name, _ in pairs:
        name.encode()  # UnicodeEncodeError is a ValueError
    return dict(pairs)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
