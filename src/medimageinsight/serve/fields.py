"""The members of a JSON object, each checked when it is taken; unknown ones, as misspelt ones are, are refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from medimageinsight.errors import InputError, RequestError
from medimageinsight.serve.contract import Row, make_row

if TYPE_CHECKING:
    from collections.abc import Iterable

LARGEST_FRAME = 1_000_000


class Fields:
    """A request's members. null is as good as absent.

    Args:
        content: What the body was parsed to.
        known: The members there may be.

    Raises:
        RequestError: ``request_invalid``, as all methods do.
    """

    def __init__(self, content: object, known: Iterable[str]) -> None:
        names = tuple(known)
        if not isinstance(content, Mapping):
            raise invalid(f"a JSON object with some of {', '.join(names)}")
        if unknown := [name for name in content if name not in names]:
            raise invalid(f"no members but {', '.join(names)}", f"{len(unknown)} other")
        self._content: Mapping[str, Any] = {name: one for name, one in content.items() if one is not None}

    def __contains__(self, name: str) -> bool:
        return name in self._content

    def get(self, name: str) -> Any:  # noqa: ANN401 - whatever JSON holds
        """The member as it is; None where it is absent."""
        return self._content.get(name)

    def text(self, name: str) -> str | None:
        """A string that is not empty."""
        value = self._content.get(name)
        if value is not None and (not isinstance(value, str) or not value):
            raise invalid(f"'{name}' to be a string that is not empty")
        return value

    def needed_text(self, name: str) -> str:
        """The same of a member that has to be there."""
        value = self.text(name)
        if value is None:
            raise invalid(f"the member '{name}'")
        return value

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number within bounds."""
        value = self._content.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise invalid(f"'{name}' to be a whole number from {low} to {high}")
        return value

    def number(self, name: str) -> float | None:
        """A finite number."""
        value = self._content.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise invalid(f"'{name}' to be a number")
        return float(value)

    def flag(self, name: str) -> bool:
        """True or false, false where it is absent."""
        value = self._content.get(name, False)
        if not isinstance(value, bool):
            raise invalid(f"'{name}' to be true or false")
        return value

    def items(self, name: str) -> list[Any]:
        """A list that is not empty."""
        value = self._content.get(name)
        if not isinstance(value, list) or not value:
            raise invalid(f"'{name}' to be a list that is not empty")
        return value

    def image_rows(self, *, allow_urls: bool) -> list[Row]:
        """A row for each of ``images``, all of one ``frame``; a cell that is no image is its row's error."""
        frame = self.whole("frame", 0, 0, LARGEST_FRAME)
        return [image_row(cell, frame, allow_urls=allow_urls) for cell in self.items("images")]


def image_row(cell: object, frame: int, *, allow_urls: bool) -> Row:
    """A row of one image, or its error."""
    try:
        if cell is None or cell == "":
            raise InputError("expected an image, got an empty cell", code="image_empty")
        row = make_row(cell, None, allow_urls=allow_urls)
    except InputError as error:
        return Row(error=error)
    return Row(image=row.image, image_url=row.image_url, frame=frame)


def invalid(expected: str, got: str = "something else") -> RequestError:
    """The error of a request of another form."""
    return RequestError(f"expected {expected}, got {got}", code="request_invalid")
