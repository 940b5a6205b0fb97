"""Base classes of all requests and responses, and constraints that only their JSON Schema states."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from medimageinsight.errors import RequestError

_NULL = {"type": "null"}
_NOT_NULL = {"type": ["array", "boolean", "number", "object", "string"]}


def documented(**constraints: Any) -> Any:  # noqa: ANN401 - keywords of JSON Schema
    """Return constraints for the JSON Schema alone: whoever does the work checks them, with other error codes."""
    return Field(json_schema_extra=constraints)


ROWS = documented(**{"x-max-rows": True})
"""At most as many items as the server's option ``max_rows``, which the OpenAPI document states."""


class RequestModel(BaseModel):
    """A JSON object that a client sends: nothing is converted, unknown members are refused, null means absent."""

    model_config = ConfigDict(strict=True, extra="forbid")
    exactly_one: ClassVar[tuple[str, ...]] = ()
    """Alternative members: a request needs exactly one."""

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, content: Any) -> Any:  # noqa: ANN401 - any JSON value
        if not isinstance(content, Mapping):
            return content
        known = member_names(cls)
        return {name: value for name, value in content.items() if value is not None or name not in known}

    @model_validator(mode="after")
    def _check_exactly_one(self) -> Self:
        given = [name for name in self.exactly_one if getattr(self, name) is not None]
        if self.exactly_one and len(given) != 1:
            names = ", ".join(f"'{name}'" for name in self.exactly_one)
            raise RequestError(f"expected exactly one of {names}, got {' and '.join(given) or 'none'}")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return the JSON Schema: optional members may be null, and of `exactly_one` one is not."""
        content = handler.resolve_ref_schema(handler(schema))
        required = content.get("required", ())
        for name, member in content.get("properties", {}).items():
            if name not in required and member.get("type") != "null" and _NULL not in member.get("anyOf", ()):
                outer = {key: member.pop(key) for key in ("default", "description", "title") if key in member}
                content["properties"][name] = {"anyOf": [member, _NULL], **outer}
        if cls.exactly_one:
            content["oneOf"] = [{"required": [name], "properties": {name: _NOT_NULL}} for name in cls.exactly_one]
        return content


class ResponseModel(BaseModel):
    """A JSON object that the server or a tool returns; an optional member without a value is left out."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, validate_by_name=True)
    _aliases: ClassVar[dict[str, str]]
    _optional: ClassVar[frozenset[str]]

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return the JSON Schema: an optional member that is present is not null."""
        content = handler.resolve_ref_schema(handler(schema))
        required = content.get("required", ())
        for name, member in content.get("properties", {}).items():
            if name not in required and _NULL in member.get("anyOf", ()):
                member.pop("default", None)
                (content_of,) = [choice for choice in member.pop("anyOf") if choice != _NULL]
                member.update(content_of)
        return content

    @classmethod
    def __pydantic_on_complete__(cls) -> None:
        """Note which members `members` cannot take as they are; it is called thousands of times in an answer."""
        fields = cls.model_fields.items()
        cls._aliases = {name: field.alias for name, field in fields if field.alias}
        cls._optional = frozenset(name for name, field in fields if not field.is_required() and field.default is None)

    def members(self) -> dict[str, Any]:
        """Return the members by their names in JSON, nested models as they are."""
        if not self._aliases and not self._optional:
            return self.__dict__
        return {
            self._aliases.get(name, name): value
            for name, value in self.__dict__.items()
            if value is not None or name not in self._optional
        }


def member_names(model: type[BaseModel]) -> list[str]:
    """Return the names in JSON of a model's members."""
    return [field.alias or name for name, field in model.model_fields.items()]
