"""The tools over the protocol: validated arguments, structured results, and errors with codes."""

from __future__ import annotations

import base64
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from mcp.server.lowlevel import Server
from mcp_types import CallToolResult, ImageContent, ListToolsResult, TextContent, Tool, ToolAnnotations

from medimageinsight import schemas
from medimageinsight.errors import MedImageInsightError, RequestError
from medimageinsight.mcp import descriptions
from medimageinsight.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcp.server.context import ServerRequestContext
    from mcp_types import CallToolRequestParams, PaginatedRequestParams

    from medimageinsight.mcp.results import ToolResult
    from medimageinsight.mcp.tools import Tools

MAX_CALLS = 2  # at the same time; one decodes images while the network runs the other's

_log = logging.getLogger(__name__)
_READS = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)


@dataclass(frozen=True, kw_only=True)
class _Tool:
    """One tool: its description for agents, its arguments and result, and the function behind it."""

    description: str
    arguments: type[schemas.RequestModel]
    result: type[schemas.ResponseModel]
    call: Callable[[Any], ToolResult]


def build_server(tools: Tools) -> Server[Any]:
    """Return the server with its tools; every failure is a tool's error with a code, and the process goes on."""
    offered = _offered(tools)
    limiter = anyio.CapacityLimiter(MAX_CALLS)

    async def list_tools(_: ServerRequestContext[Any], __: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=[_describe(name, tool) for name, tool in offered.items()])

    async def call_tool(_: ServerRequestContext[Any], params: CallToolRequestParams) -> CallToolResult:
        tool = offered.get(params.name)
        if tool is None:
            return _failed("tool_unknown", f"expected one of the tools {', '.join(offered)}, got another name")
        try:
            arguments = schemas.validate(tool.arguments, _decode(params.arguments or {}, tool.arguments))
        except RequestError as error:
            return _failed("arguments_invalid", error.message)
        try:
            return _succeeded(await anyio.to_thread.run_sync(tool.call, arguments, limiter=limiter))
        except MedImageInsightError as error:
            return _failed(error.code, error.message)
        except Exception as error:
            _log.error("a tool failed unexpectedly", exc_info=error)  # of an exception the log has its kind alone
            return _failed("unexpected", f"{type(error).__name__}, which should not happen: ask with other arguments")

    return Server(
        "medimageinsight",
        title="Medical images",
        version=__version__,
        instructions=descriptions.instructions(tools),
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def _offered(tools: Tools) -> dict[str, _Tool]:
    """Return the tools by name."""
    stores, taggers = descriptions.stores(tools), descriptions.taggers(tools)
    return {
        "classify": _Tool(
            description=f"{descriptions.CLASSIFY}\n{stores}",
            arguments=schemas.ClassifyArguments,
            result=schemas.ClassifiedImages,
            call=tools.classify,
        ),
        "search": _Tool(
            description=f"{descriptions.SEARCH}\n{stores}",
            arguments=schemas.SearchArguments,
            result=schemas.FoundImages,
            call=tools.search,
        ),
        "compare": _Tool(
            description=descriptions.COMPARE,
            arguments=schemas.CompareArguments,
            result=schemas.ComparedItems,
            call=tools.compare,
        ),
        "tag": _Tool(
            description=f"{descriptions.TAG}\n{taggers}",
            arguments=schemas.TagArguments,
            result=schemas.TaggedImages,
            call=tools.tag,
        ),
        "label_examples": _Tool(
            description=descriptions.LABEL_EXAMPLES,
            arguments=schemas.LabelExamplesArguments,
            result=schemas.LabelExamples,
            call=tools.label_examples,
        ),
    }


def _describe(name: str, tool: _Tool) -> Tool:
    return Tool(
        name=name,
        description=tool.description,
        input_schema=tool.arguments.model_json_schema(),
        output_schema=tool.result.model_json_schema(mode="serialization"),
        annotations=_READS,
    )


def _decode(arguments: Mapping[str, Any], model: type[schemas.RequestModel]) -> dict[str, Any]:
    """Return the arguments with lists and objects that came as JSON text decoded: some clients send them so."""
    return {
        name: _decode_text(value)
        if isinstance(value, str) and name in model.model_fields and model.model_fields[name].annotation is not str
        else value
        for name, value in arguments.items()
    }


def _decode_text(text: str) -> object:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, list | dict) else text


def _succeeded(result: ToolResult) -> CallToolResult:
    thumbnails = [
        ImageContent(type="image", data=base64.b64encode(png).decode("ascii"), mime_type="image/png")
        for png in result.thumbnails
    ]
    return CallToolResult(
        content=[TextContent(type="text", text=result.text), *thumbnails],
        structured_content=result.data.model_dump(mode="json", by_alias=True, exclude_none=True),
    )


def _failed(code: str, message: str) -> CallToolResult:
    text = json.dumps({"error": {"code": code, "message": message}}, ensure_ascii=False)
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)
