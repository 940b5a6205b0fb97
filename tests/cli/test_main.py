"""The whole command: its help, its version, and its imports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from medimageinsight import __version__

VERBS = (
    "bench",
    "classify",
    "compare",
    "convert",
    "demo",
    "doctor",
    "embed",
    "evaluate",
    "finetune",
    "info",
    "models",
    "score",
    "search",
    "train",
    "verify",
)
SCRIPT = Path(sys.executable).with_name("mi2")


def test_help_lists_every_verb_and_the_disclaimer(mi2) -> None:
    result = mi2("--help")
    assert result.code == 0
    assert all(f" {verb} " in result.out for verb in VERBS)
    assert "not for diagnosis or treatment" in result.out


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_json(mi2, verb: str) -> None:
    result = mi2(verb, "--help")
    assert result.code == 0
    assert "--json" in result.out


@pytest.mark.parametrize(
    "words", [["nosuch"], ["embed", "--nosuch"], ["convert"], ["embed", "x.png", "--frame", "one"]]
)
def test_wrong_call_has_exit_code_2_and_empty_standard_output(mi2, words: list[str]) -> None:
    result = mi2(*words)
    assert result.code == 2
    assert not result.out
    assert "Traceback" not in result.err


@pytest.mark.skipif(not SCRIPT.exists(), reason="the package's script is not installed with this Python")
def test_installed_script_prints_the_version() -> None:
    result = subprocess.run([SCRIPT, "--version"], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout == f"mi2 {__version__}\n"


@pytest.mark.parametrize(
    ("words", "absent"),
    [
        (["--help"], {"torch", "numpy", "onnxruntime", "pydicom", "PIL"}),
        (["demo"], {"torch", "onnx", "safetensors", "pandas", "pyarrow", "matplotlib"}),
        (["embed", "--text", "x-ray", "--json"], {"torch", "onnx", "pyarrow", "pydicom"}),
    ],
    ids=["help", "demo", "embed"],
)
def test_does_not_import_unneeded_libraries(
    toy_bundle: Path, tmp_path: Path, words: list[str], absent: set[str]
) -> None:
    program = (
        "import sys\nfrom medimageinsight.cli.main import main\n"
        "try:\n    main()\nfinally:\n    print(*sys.modules, file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=tmp_path,
        env=os.environ | {"MI2_MODEL": str(toy_bundle)},
    )
    assert result.stdout
    assert not absent & set(result.stderr.split())


def test_closed_pipe_prints_no_error(toy_bundle: Path) -> None:
    program = "from medimageinsight.cli.main import main\nmain()"
    words = ["embed", "--json", *(word for number in range(4000) for word in ("--text", f"x-ray {number}"))]
    running = subprocess.Popen(
        [sys.executable, "-c", program, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"MI2_MODEL": str(toy_bundle)},
    )
    assert running.stdout is not None
    assert running.stderr is not None
    with running:
        running.stdout.read(10)
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 1
