"""The protocol's faces of the tools: arguments checked, answers structured, errors as tools' errors."""

import base64
import inspect
import json
import logging
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import anyio.to_thread
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, ImageContent, InputRequiredResult, TextContent, ToolAnnotations
from pydantic import ValidationError

from medimageinsight.errors import MedImageInsightError
from medimageinsight.mcp import answers, words
from medimageinsight.mcp import arguments as given
from medimageinsight.mcp.tools import Tools
from medimageinsight.version import __version__

AT_ONCE = 2  # calls at work; one decodes images while the network runs the other's

_log = logging.getLogger(__name__)
_READS = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)


class ToolServer(MCPServer[Any]):
    """An MCP server whose every failure is a tool's error with a code; the process goes on."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401
        super().__init__(**settings)
        self._arguments: dict[str, frozenset[str]] = {}

    def offer(self, tool: Callable[..., Any], description: str) -> None:
        """Add a tool under its function's name."""
        self._arguments[tool.__name__] = frozenset(inspect.signature(tool).parameters)
        self.add_tool(tool, description=description, annotations=_READS)

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """The tool's answer, or its failure as one."""
        known = self._arguments.get(name)
        if known is None:
            return _failed("tool_unknown", f"expected one of the tools {', '.join(self._arguments)}")
        if not arguments.keys() <= known:  # else a filter that is misspelt would be left out in silence
            return _failed("arguments_invalid", f"expected no other arguments than {', '.join(sorted(known))}")
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            return _explained(error.__cause__ or error)


def build_server(tools: Tools) -> ToolServer:
    """The server with its tools; `run` it with ``run_stdio_async``."""
    server = ToolServer(
        name="medimageinsight",
        title="Medical images",
        version=__version__,
        instructions=words.instructions(tools),
        log_level="ERROR",
    )
    turn = anyio.CapacityLimiter(AT_ONCE)

    async def work(call: Callable[[], answers.ToolResult]) -> CallToolResult:
        return _result(await anyio.to_thread.run_sync(call, limiter=turn))

    async def classify(
        images: given.Images,
        labels: given.Labels = None,
        template: given.Template = None,
        store: given.Store = None,
        label_column: given.LabelColumn = None,
        k: given.K = 10,
        where: given.Where = None,
        frame: given.Frame = 0,
        pictures: given.Pictures = False,
    ) -> Annotated[CallToolResult, answers.ClassifyAnswer]:
        return await work(
            partial(
                tools.classify,
                images,
                labels=labels,
                template=template,
                store=store,
                label_column=label_column,
                k=k,
                where=where,
                frame=frame,
                pictures=pictures,
            )
        )

    async def search(
        image: given.Image = None,
        text: given.SearchText = None,
        id: given.ItemId = None,  # noqa: A002 - the hits' own name for it
        store: given.Store = None,
        k: given.K = 10,
        where: given.Where = None,
        min_score: given.MinScore = None,
        other_than_same: given.OtherThanSame = None,
        frame: given.Frame = 0,
        pictures: given.Pictures = False,
    ) -> Annotated[CallToolResult, answers.SearchAnswer]:
        return await work(
            partial(
                tools.search,
                store=store,
                image=image,
                text=text,
                item_id=id,
                k=k,
                where=where,
                min_score=min_score,
                exclude_same=other_than_same,
                frame=frame,
                pictures=pictures,
            )
        )

    async def compare(a: given.Items, b: given.MoreItems = None) -> Annotated[CallToolResult, answers.CompareAnswer]:
        columns = None if b is None else [item.given for item in b]
        return await work(partial(tools.compare, [item.given for item in a], columns))

    async def tag(
        images: given.Images,
        vocabulary: given.Vocabulary = None,
        tagger: given.TaggerName = None,
        threshold: given.Threshold = None,
        frame: given.Frame = 0,
    ) -> Annotated[CallToolResult, answers.TagAnswer]:
        return await work(
            partial(tools.tag, images, vocabulary=vocabulary, tagger=tagger, threshold=threshold, frame=frame)
        )

    async def label_examples(
        query: given.Query = "", modality: given.Modality = "", anatomy: given.Anatomy = "", limit: given.Limit = 20
    ) -> Annotated[CallToolResult, answers.LabelExamplesAnswer]:
        return await work(partial(tools.label_examples, query=query, modality=modality, anatomy=anatomy, limit=limit))

    server.offer(classify, f"{words.CLASSIFY}\n{words.stores(tools)}")
    server.offer(search, f"{words.SEARCH}\n{words.stores(tools)}")
    server.offer(compare, words.COMPARE)
    server.offer(tag, f"{words.TAG}\n{words.taggers(tools)}")
    server.offer(label_examples, words.LABEL_EXAMPLES)
    return server


def _result(answer: answers.ToolResult) -> CallToolResult:
    pictures = [
        ImageContent(type="image", data=base64.b64encode(one).decode("ascii"), mime_type="image/png")
        for one in answer.pictures
    ]
    return CallToolResult(
        content=[TextContent(type="text", text=answer.text), *pictures],
        structured_content=answer.data.model_dump(mode="json", exclude_none=True),
    )


def _explained(error: BaseException) -> CallToolResult:
    if isinstance(error, MedImageInsightError):
        return _failed(error.code, error.message)
    if isinstance(error, ValidationError):
        problems = [
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}"
            for one in error.errors(include_url=False, include_input=False, include_context=False)[:3]
        ]
        return _failed("arguments_invalid", "; ".join(problems))
    _log.error("a tool failed unexpectedly", exc_info=error)  # of an exception the log keeps its kind alone
    return _failed("unexpected", f"{type(error).__name__}, which should not happen: ask with other arguments")


def _failed(code: str, message: str) -> CallToolResult:
    text = json.dumps({"error": {"code": code, "message": message}}, ensure_ascii=False)
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)
