"""Fixtures that run the command in this process and return its exit code and output."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pytest
from PIL import Image

from medimageinsight.cli import output
from medimageinsight.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class CommandResult:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Command(Protocol):
    def __call__(self, *words: object, stdin: bytes = b"") -> CommandResult: ...


@pytest.fixture
def mi2(
    toy_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Command:
    """Return a function that runs ``mi2`` with the toy bundle as its model and an empty MI2_HOME."""
    monkeypatch.setenv("MI2_MODEL", str(toy_bundle))
    monkeypatch.setenv("MI2_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    output.results.cache_clear()
    output.messages.cache_clear()

    def run(*words: object, stdin: bytes = b"") -> CommandResult:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        return CommandResult(int(ended.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def image_files(tmp_path: Path) -> list[Path]:
    """Write three PNG files of noise."""
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{name}.png" for name in "abc"]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path)
    return paths
