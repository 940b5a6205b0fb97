"""Bombs as files for every tool that reads images: an error for each, and the process goes on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("mcp.server", reason="the tools for agents need the mcp extra")
pytest.importorskip("lancedb", reason="a store in a folder needs the search extra")

from tests.serve.bombs import make_bombs

if TYPE_CHECKING:
    from tests.mcp.conftest import Agent, Workspace

BOMBS = make_bombs(20_000_000)
CALLS: dict[str, Any] = {
    "classify": lambda file: {"images": [file], "labels": ["a", "b"]},
    "compare": lambda file: {"a": [{"image": file}], "b": [{"text": "x"}]},
    "search": lambda file: {"image": file},
    "tag": lambda file: {"images": [file], "vocabulary": "view"},
}


@pytest.fixture(scope="module")
def files(workspace: Workspace) -> dict[str, str]:
    """Files with bombs, and the codes of their errors."""
    codes = {}
    for name, bomb in BOMBS.items():
        if not bomb.frame and name != "dicom-deflated":  # within the limit of files on disk
            (workspace.scans / f"bomb-{name}").write_bytes(bomb.content)
            codes[f"bomb-{name}"] = bomb.code
    return codes


def test_every_tool_that_reads_images_is_called(agent: Agent) -> None:
    tools = {tool.name: json.dumps(tool.input_schema) for tool in agent.portal.call(agent.client.list_tools).tools}
    assert {name for name, schema in tools.items() if '"image' in schema} == set(CALLS)


@pytest.mark.parametrize("tool", CALLS)
def test_bombs_are_errors(agent: Agent, files: dict[str, str], tool: str) -> None:
    for file, code in files.items():
        result = agent.call(tool, **CALLS[tool](file))
        answer = json.dumps(result.structured_content) + result.content[0].text
        assert f'"{code}"' in answer, (file, answer)
    assert agent.ask("search", text="x", k=1)["hits"]
