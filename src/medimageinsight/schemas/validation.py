"""JSON values to models; a value that does not fit is one error of this project, without any of the request's text."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from medimageinsight.errors import ImageError, InputError, RequestError, TextError
from medimageinsight.files.json import json_kind
from medimageinsight.schemas.base import RequestModel, member_names

_Model = TypeVar("_Model", bound=BaseModel)

# Where pydantic's own message names a type of Python.
_EXPECTED = {
    "bool_type": "to be true or false",
    "dict_type": "to be an object",
    "float_type": "to be a number",
    "int_type": "to be a whole number",
    "list_type": "to be a list",
    "model_type": "to be an object",
    "string_type": "to be a string",
}
_NUMBERS = {float: "a decimal number", int: "a whole number"}
# Members, and items of members, whose wrong type has an error code of its own.
WRONG_TYPES = {
    "image": (ImageError, "image_not_a_string"),
    "labels[]": (InputError, "label_invalid"),
    "text": (TextError, "text_not_a_string"),
}
_SHOULD = re.compile(r"\w+ should (.+?)(?: after validation, not \d+)?")


def validate(model: type[_Model], content: object, *, refuse_unknown: bool = False) -> _Model:
    """Return the model of a JSON value.

    Args:
        model: The class.
        content: The value.
        refuse_unknown: Refuse unknown members of the value itself where the class ignores them.

    Raises:
        RequestError: ``request_invalid``, the value does not fit.
        InputError: Another code, from the model's own checks.
    """
    try:
        result = model.model_validate(content)
    except ValidationError as error:
        raise first_error(error.errors(include_url=False), member_names(model)) from None
    if refuse_unknown and isinstance(content, Mapping) and (unknown := content.keys() - set(member_names(model))):
        raise _unknown_members(member_names(model), len(unknown))
    return result


def is_unicode(text: str) -> bool:
    """Return whether a text has no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def not_unicode() -> TextError:
    """Return the error of a text with half a surrogate pair."""
    return TextError(
        "expected valid Unicode, got half a surrogate pair: send the character whole", code="text_not_unicode"
    )


def first_error(errors: Sequence[Any], known: Sequence[str] = ()) -> InputError:
    """Return the first of pydantic's errors: what was expected, and the kind of value that came.

    Args:
        errors: Of one value.
        known: The names of the value's members.
    """
    for item in errors:
        cause = item.get("ctx", {}).get("error")
        if isinstance(cause, InputError):
            path = _path(item["loc"])
            return type(cause)(f"{path}: {cause.message}" if path else cause.message, code=cause.code)
    if any(item["type"] == "string_unicode" for item in errors):
        return not_unicode()
    first, path = errors[0], _path(errors[0]["loc"])
    if first["type"] == "missing":
        return RequestError(f"expected the member '{path}', got none")
    if first["type"] == "extra_forbidden":
        count = sum(item["type"] == "extra_forbidden" for item in errors)
        path = _path(first["loc"][:-1])
        return _unknown_members(() if path else known, count, path)
    # A member of several possible types has an error for each of them: the deepest are those of the nearest type.
    same = [item for item in errors if item["loc"][:1] == first["loc"][:1]]
    depth = max(len(item["loc"]) for item in same)
    deepest = [item for item in same if len(item["loc"]) == depth]
    expected = " or ".join(dict.fromkeys(map(_expected, deepest)))
    path = _path(deepest[0]["loc"])
    message = f"expected {repr(path) if path else 'the body'} {expected}, got {kind_of(deepest[0]['input'])}"
    member = "" if path.startswith("labels.") else path.rpartition(".")[2]  # a label may have any name
    if deepest[0]["type"] in _EXPECTED and (known_error := WRONG_TYPES.get(re.sub(r"\[\d+\]", "[]", member))):
        return known_error[0](message, code=known_error[1])
    return RequestError(message)


def _unknown_members(known: Sequence[str], count: int, path: str = "") -> RequestError:
    members = (
        f"no members but {', '.join(known)}" if known else f"known members alone {path and f'in {path!r}'}".rstrip()
    )
    return RequestError(f"expected {members}, got {count} unknown: check the spelling")


def kind_of(value: object) -> str:
    """Return what a JSON value is and its size, never the value itself."""
    if isinstance(value, str):
        return f"a string of {len(value):,} characters"
    if isinstance(value, list):
        return f"a list of {len(value):,} items"
    return _NUMBERS.get(type(value)) or json_kind(value)


def _expected(item: Any) -> str:  # noqa: ANN401 - an error of pydantic
    if known := _EXPECTED.get(item["type"]):
        return known
    match = _SHOULD.fullmatch(item["msg"])
    return f"to {match[1]}" if match else f"to be valid ({item['type']})"


def _path(location: Sequence[str | int]) -> str:
    """Return a location as ``a[1].image``, without the keys of mappings and pydantic's names of possible types."""
    names = _known_names()
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" * (part in names) for part in location]
    return "".join(parts).removeprefix(".")


@cache
def _known_names() -> frozenset[str]:
    return frozenset(name for model in _subclasses(RequestModel) for name in member_names(model))


def _subclasses(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for subclass in model.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)
