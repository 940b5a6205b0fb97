"""Refused calls: their errors, and that the process goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("mcp.server", reason="the tools for agents need the mcp extra")
pytest.importorskip("lancedb", reason="a store in a folder needs the search extra")


from mcp_types import LATEST_PROTOCOL_VERSION

WITH_THUMBNAILS = {"pictures": True}
CODE = "picture_not_available"


@pytest.fixture(scope="module")
def traps(workspace):
    """Create links out of the folder, and paths that are no files."""
    (workspace.scans / "link.dcm").symlink_to(workspace.outside)
    (workspace.scans / "dangling.dcm").symlink_to(workspace.root / "nowhere.dcm")
    (workspace.scans / "out").symlink_to(workspace.root)
    (workspace.scans / "loop").symlink_to(workspace.scans / "loop")
    (workspace.scans / "zero.dcm").symlink_to("/dev/zero")
    (workspace.scans / "trapped" / "deeper").mkdir(parents=True)
    (workspace.scans / "trapped" / "deeper" / "link.dcm").symlink_to(workspace.outside)
    os.mkfifo(workspace.scans / "fifo.dcm")
    return workspace


@pytest.mark.parametrize(
    "name",
    [
        "../outside.dcm",
        "../nowhere.dcm",
        "more/../CT_small.dcm",
        "/etc/passwd",
        "/etc/nowhere",
        "/dev/zero",
        "link.dcm",
        "dangling.dcm",
        "out/outside.dcm",
        "loop",
        "zero.dcm",
        "fifo.dcm",
        "nowhere.dcm",
        "trapped",
        "trapped/deeper",
        "~/x.dcm",
        "file:///etc/passwd",
        "https://example.org/x.png",
        "data:image/png;base64,AAAA",
        "CT_small.dcm\0",
        "x" * 4000,
    ],
)
def test_no_file_outside_the_folders_is_read_or_revealed(agent, traps, name: str) -> None:
    (result,) = agent.ask("classify", images=[name], labels=["a", "b"])["results"]
    error = agent.refused("search", image=name)
    assert result["error"] == error == {"code": CODE, "message": error["message"]}
    assert error["message"].startswith("expected an image file below one of the server's folders")
    assert name not in error["message"]
    assert agent.refused("compare", a=[{"image": name}])["code"] == CODE
    assert agent.ask("tag", images=[name], vocabulary="view")["results"][0]["error"] == error


def test_thumbnails_are_read_from_the_folders_alone(agent, traps) -> None:
    """The file of a stored path has become a link out of the folder."""
    stored = traps.scans / "J2K_pixelrep_mismatch.dcm"
    aside = stored.rename(traps.root / "aside.dcm")
    stored.symlink_to(aside)
    try:
        result = agent.call("search", id=stored.name, k=2, **WITH_THUMBNAILS)
        first, second = result.structured_content["hits"]
        assert "picture" not in first
        assert second["picture"] == 1
        assert len(result.content) == 2
    finally:
        stored.unlink()
        aside.rename(stored)


@pytest.mark.parametrize(
    ("tool", "arguments", "code"),
    [
        ("classify", {"images": ["CT_small.dcm"]}, "classify_what"),
        ("classify", {"images": ["CT_small.dcm"], "labels": ["a"], "label_column": "kind"}, "classify_what"),
        ("classify", {"images": ["CT_small.dcm"], "labels": ["a"], "store": "cases"}, "classify_what"),
        ("classify", {"images": ["CT_small.dcm"], "labels": ["a", "a"]}, "labels_duplicate"),
        ("classify", {"images": ["CT_small.dcm"], "labels": ["a"], "template": "no place"}, "template_invalid"),
        ("classify", {"images": ["CT_small.dcm"], "label_column": "age"}, "column_unknown"),
        ("classify", {"images": ["CT_small.dcm"], "label_column": "kind", "store": "no"}, "store_unknown"),
        ("classify", {"images": ["CT_small.dcm"] * 33, "labels": ["a"]}, "arguments_invalid"),
        ("classify", {"images": [], "labels": ["a"]}, "arguments_invalid"),
        ("classify", {"images": ["CT_small.dcm"], "labels": [str(n) for n in range(201)]}, "arguments_invalid"),
        ("classify", {"images": ["CT_small.dcm"], "labels": ["x" * 501]}, "arguments_invalid"),
        ("classify", {"images": "CT_small.dcm", "labels": ["a"]}, "arguments_invalid"),
        ("classify", {"labels": ["a"]}, "arguments_invalid"),
        ("search", {"text": "x", "store": "no"}, "store_unknown"),
        ("search", {"text": "x", "k": 101}, "arguments_invalid"),
        ("search", {"text": "x", "k": 0}, "arguments_invalid"),
        ("search", {"text": "x", "where": "kind ="}, "filter_invalid"),
        ("search", {"text": "x", "filter": "kind = 'CT'"}, "arguments_invalid"),
        ("search", {"text": "x", "id": "y"}, "query_invalid"),
        ("search", {}, "query_invalid"),
        ("search", {"id": "nowhere"}, "ids_unknown"),
        ("search", {"text": "x" * 2001}, "arguments_invalid"),
        ("compare", {"a": [{"text": "x"}] * 65}, "arguments_invalid"),
        ("compare", {"a": [{"text": "x", "image": "y"}]}, "arguments_invalid"),
        ("compare", {"a": [{}]}, "arguments_invalid"),
        ("tag", {"images": ["CT_small.dcm"]}, "tagger_missing"),
        ("tag", {"images": ["CT_small.dcm"], "tagger": "no"}, "tagger_unknown"),
        ("tag", {"images": ["CT_small.dcm"], "tagger": "kinds", "threshold": 0.3}, "threshold_invalid"),
        ("tag", {"images": ["CT_small.dcm"], "vocabulary": "colour"}, "arguments_invalid"),
        ("label_examples", {"limit": 51}, "arguments_invalid"),
        ("label_examples", {"limit": "5"}, "arguments_invalid"),
        ("search", {"text": "x", "pictures": 1}, "arguments_invalid"),
        ("search", {"text": "x", "exclude_same": "kind"}, "arguments_invalid"),
        ("compare", {"a": [{"text": "x", "frame": 1}]}, "arguments_invalid"),
        ("diagnose", {}, "tool_unknown"),
    ],
)
def test_a_wrong_call_has_an_error_with_a_code(agent, tool: str, arguments: dict, code: str) -> None:
    error = agent.refused(tool, **arguments)
    assert error["code"] == code
    assert error["message"]
    assert "\n" not in error["message"]
    assert "Traceback" not in error["message"]
    assert agent.ask("label_examples", query="pneumonia")["matched"]


def test_a_huge_request_is_refused_and_the_next_request_answered(agent) -> None:
    assert agent.refused("search", text="x" * 5_000_000)["code"] == "arguments_invalid"
    assert agent.refused("classify", images=["a.dcm"] * 100_000, labels=["a"])["code"] == "arguments_invalid"
    assert agent.ask("label_examples")["total"] > 10


def test_the_log_contains_nothing_of_the_calls(agent, traps) -> None:
    agent.refused("search", text="Mrs Example", store="Mrs Example")
    agent.ask("classify", images=["Mrs Example.dcm", "broken.dcm"], labels=["Mrs Example", "Mr Example"])
    log = agent.log.read_text("utf-8")
    assert "Mrs Example" not in log
    assert "Traceback" not in log


def exchange(workspace, lines: list[bytes], count: int) -> tuple[list[dict], bytes]:
    """Send lines of the raw protocol; return so many answers with an id, and standard error."""
    found: list[dict] = []
    with subprocess.Popen(
        [sys.executable, "-m", "medimageinsight", *workspace.command()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"MI2_MODEL": "mini"},
    ) as running:
        running.stdin.write(b"".join(line + b"\n" for line in lines))
        running.stdin.flush()
        while len(found) < count and (line := running.stdout.readline()):
            message = json.loads(line)
            assert message["jsonrpc"] == "2.0"
            found += [message] if message.get("id") is not None else []
        rest, errors = running.communicate(timeout=60)
    assert not rest
    assert running.returncode == 0
    return found, errors


def test_garbage_on_standard_input_changes_nothing_and_standard_output_is_protocol_alone(workspace) -> None:
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": LATEST_PROTOCOL_VERSION,
            "capabilities": {},
            "clientInfo": {"name": "t", "version": "0"},
        },
    }
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    call = {
        "jsonrpc": "2.0",
        "id": 2,
        "method": "tools/call",
        "params": {"name": "tag", "arguments": {"images": ["CT_small.dcm"], "vocabulary": "modality"}},
    }
    unknown = {"jsonrpc": "2.0", "id": 3, "method": "no/such", "params": {}}
    garbage = [b"not json", b"\xff\xfe\x00", b"[" * 20_000, b'{"jsonrpc": "2.0"}', b'{"a": 1}', b"", b"null", b"1"]
    lines = [json.dumps(message).encode() for message in (hello, ready, call, unknown)]
    sent = [lines[0], *garbage, lines[1], *garbage, lines[2], *garbage, lines[3]]
    found, errors = exchange(workspace, sent, count=3)
    answers = {message["id"]: message for message in found}
    assert "not for diagnosis or treatment" in answers[1]["result"]["instructions"]
    assert answers[2]["result"]["structuredContent"]["results"][0]["present"] == ["computed tomography"]
    assert "error" in answers[3]
    assert b"not json" not in errors
    assert b"Traceback" not in errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "expected at least one folder"),
        (["--folder", "nowhere"], "expected folders, got a path that is no folder"),
        (["--folder", ".", "--store", "nowhere"], "error"),
        (["--folder", ".", "--tagger", "nowhere.json"], "error"),
        (["--folder", ".", "--model", "nowhere"], "error"),
    ],
)
def test_errors_of_opening_are_one_line(tmp_path, options: list[str], message: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "medimageinsight", "mcp", *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode in (1, 2)
    assert not done.stdout
    assert message in done.stderr
    assert "Traceback" not in done.stderr
