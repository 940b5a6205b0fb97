"""The structure of the package: layers, cycles, public names."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "medimageinsight"
HEADS = {"", "__main__"}  # the package root and its entry point import what they need
MAY_IMPORT_THE_ROOT = {"cli", "mcp", "serve"}
MAX_LINES = 350  # of a file
MAX_FUNCTION_LINES = 50
MAX_LONG_FUNCTIONS = 0.01  # share of functions that may be longer


def read_layers() -> list[list[str]]:
    """The ordered list in CONTRIBUTING: a layer a line, lowest first, names separated by spaces."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    block = re.search(r"```layers\n(.*?)```", text, re.DOTALL)
    assert block
    return [line.split("#")[0].split() for line in block[1].splitlines()]


def module_files() -> dict[str, Path]:
    files = {}
    for file in PACKAGE.rglob("*.py"):
        parts = ["medimageinsight", *file.relative_to(PACKAGE).with_suffix("").parts]
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return files


MODULES = module_files()


def imported_modules(file: Path) -> set[str]:
    """Every module of this package that a file imports, inside functions and for type checking included."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            base = node.module or ""
            if base.split(".")[0] == "medimageinsight":
                names = [f"{base}.{alias.name}" for alias in node.names]
                found |= {name if name in MODULES else base for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "medimageinsight"}
    return found


def package_of(module: str) -> str:
    """The part below the root: a package or a module of the root; '' is the root itself."""
    return ([*module.split("."), ""])[1]


def test_imports_go_from_later_layers_to_earlier_ones() -> None:
    layers = read_layers()
    position = {name: (row, column) for row, names in enumerate(layers) for column, name in enumerate(names)}
    known = {package_of(module) for module in MODULES} - HEADS
    assert known - {"builtin"} <= position.keys(), "a package without a layer in CONTRIBUTING.md"
    violations = []
    for module, file in MODULES.items():
        importer = package_of(module)
        if importer in HEADS:
            continue
        for target in imported_modules(file):
            imported = package_of(target)
            if imported == importer or (not imported and importer in MAY_IMPORT_THE_ROOT):
                continue
            if not imported or position[imported] > position[importer]:
                violations.append(f"{module} imports {target}")
    assert not violations


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {module: imported_modules(file) - {module} for module, file in MODULES.items()}
    # A package's __init__ only collects names; a module may import its own package's other modules, not the package.
    states: dict[str, str] = {}
    circles = []

    def visit(module: str, path: tuple[str, ...]) -> None:
        states[module] = "open"
        for target in sorted(graph.get(module, ())):
            if states.get(target) == "open":
                circles.append(" -> ".join((*path[path.index(target) :], target)))
            elif target not in states:
                visit(target, (*path, target))
        states[module] = "done"

    for module in sorted(graph):
        if module not in states:
            visit(module, (module,))
    assert not circles


def test_files_and_functions_are_short() -> None:
    long_files = [name for name, file in MODULES.items() if len(file.read_text("utf-8").splitlines()) > MAX_LINES]
    assert not long_files
    functions = [
        (f"{name}.{node.name}", (node.end_lineno or 0) - node.lineno + 1)
        for name, file in MODULES.items()
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    long_functions = [name for name, lines in functions if lines > MAX_FUNCTION_LINES]
    assert len(long_functions) <= MAX_LONG_FUNCTIONS * len(functions), long_functions


@pytest.mark.parametrize(
    "package", sorted(name for name, file in MODULES.items() if file.name == "__init__.py" and name.count(".") < 2)
)
def test_public_names_are_sorted_and_exist(package: str) -> None:
    module = importlib.import_module(package)
    names = getattr(module, "__all__", [])
    assert list(names) == sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    assert set(names) <= set(dir(module))
    for name in names:
        assert getattr(module, name) is not None
