"""The code in the documentation: every import exists, and none is from deeper than one package."""

from __future__ import annotations

import ast
import importlib
import json
import re
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("docs/**/*.ipynb"), *ROOT.glob("src/**/*.md")]
)
_CODE_BLOCK = re.compile(r"^```(?:python|py)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_IN_PROSE = re.compile(r"`(medimageinsight(?:\.\w+)+)`")


def code_blocks(document: Path) -> list[str]:
    text = document.read_text("utf-8")
    if document.suffix == ".ipynb":
        return ["".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    return _CODE_BLOCK.findall(text)


def imported_names(code: str) -> list[tuple[str, str]]:
    """Modules of this package that a code block imports from, each with a name ('' for the module itself)."""
    code = "\n".join(line for line in code.splitlines() if not line.lstrip().startswith(("%", "!")))
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom):
            found += [(node.module or "", alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
    return [(module, name) for module, name in found if module.split(".")[0] == "medimageinsight"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_import_is_public(document: Path) -> None:
    names = [found for code in code_blocks(document) for found in imported_names(code)]
    for module, name in names:
        assert module.count(".") <= 1, f"{module}: import from the package"
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)
            package = importlib.import_module(module)
            if name and not hasattr(package, name):
                importlib.import_module(f"{module}.{name}")
        if name and module != "medimageinsight":
            assert name in package.__all__, f"{module}.{name} is not public"


@pytest.mark.parametrize(
    "document", [path for path in DOCUMENTS if path.suffix == ".md"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_dotted_name_in_the_text_exists(document: Path) -> None:
    if document.name == "CHANGELOG.md":
        return  # names of earlier versions
    for dotted in _IN_PROSE.findall(document.read_text("utf-8")):
        module, _, name = dotted.rpartition(".")
        assert hasattr(importlib.import_module(module), name) or importlib.import_module(dotted), dotted


@pytest.mark.parametrize(
    "document", [path for path in DOCUMENTS if path.suffix == ".md"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_link_to_a_file_exists(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text("utf-8")):
        if not re.match(r"[a-z]+:", target):
            assert (document.parent / target).exists(), target
