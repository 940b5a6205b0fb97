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


def test_verbs_have_headings_and_examples(mi2) -> None:
    assert "Store and search" in mi2("--help").out
    for verb in (["embed"], ["tag", "fit"], ["index", "add"], ["serve"]):
        assert "Examples:" in mi2(*verb, "--help").out


def test_serve_has_the_help_of_the_other_verbs(mi2) -> None:
    pytest.importorskip("fastapi", reason="the server needs the extra serve")
    shown = mi2("serve", "--help").out
    assert "╭─ Options" in shown
    assert "--max-rows" in shown
    assert "[default: 1024]" in shown


def test_quiet_prints_results_and_errors_only(mi2, tmp_path: Path, image_files: list[Path]) -> None:
    out = tmp_path / "v.npy"
    missing = tmp_path / "missing.png"
    loud = mi2("embed", *image_files, missing, "--out", out)
    quiet = mi2("embed", *image_files, missing, "--out", out, "--quiet")
    assert "embedded" in loud.err
    assert "embedded" not in quiet.err
    assert "missing.png" in quiet.err
    assert "embedded" in mi2("embed", image_files[0], "--out", out).err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion_is_offered(shell: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "medimageinsight"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=os.environ | {"_MI2_COMPLETE": f"source_{shell}"},
    )
    assert "mi2" in result.stdout
    assert "complete" in result.stdout
