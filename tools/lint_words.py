"""Refuse words that are not this project's language, and name what to write instead.

    python tools/lint_words.py [PATH ...]      # exit code 1 when a word was found

Interfaces keep their names: routes, JSON keys, options,
environment variables and error codes that contain such a word are listed in `INTERFACES`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHECKED = (
    "src", "tests", "benchmarks", "docs", "configs", "deploy", "tools", ".github", "README.md", "CONTRIBUTING.md",
    "SECURITY.md", "Dockerfile", "Makefile", "compose.yaml", "pyproject.toml",
)  # fmt: skip
SUFFIXES = {".css", ".html", ".ipynb", ".js", ".md", ".py", ".service", ".toml", ".yaml", ".yml", ""}
SKIPPED = {"_deprecated.py", "lint_words.py", "__pycache__"}

WORDS = {
    r"pictures?": "image",
    r"contestants?": "candidate",
    r"told|said|says": "report, state, contain, name",
    r"beside": "next to, in addition to",
    r"of which": "whose, including",
    r"as goes well": "suitably",
    r"duplicate_cells": "clusters",
    r"found_sheet": "contact_sheet",
    r"other_than_same": "exclude_same",
    r"(?-i:_?(?:LEAST|MOST|FEW)_)\w+": "MIN_*, MAX_*",
}
INTERFACES = (
    "api/picture",  # route
    "--pictures",  # option of the server and of three verbs
    "MI2_PICTURES",
    "other_than_same",  # key of /api/search, argument of the MCP tool and of the page
    "contestant_failed",  # error codes
    "picture_in_two_splits",
    "picture_not_available",
    "pictures_missing",
    "pictures_of_several",
)
# Files that read a key of training configs, `data.checks.pictures`.
CONFIG_KEY_FILES = {"check.py", "test_check.py"}
_JSON_KEY = r"[\"'`](?:other_than_same|pictures?)[\"'`]"

_ALLOWED = re.compile(rf"{_JSON_KEY}|(?<![\w-])(?:{'|'.join(map(re.escape, INTERFACES))})(?!\w)")
_PATTERNS = [(re.compile(rf"(?<![a-z])(?:{word})(?![a-z])", re.IGNORECASE), instead) for word, instead in WORDS.items()]
_CAMEL_CASE = re.compile(r"(?<=[a-z])(?=[A-Z])")


def find_words(text: str) -> list[tuple[int, str, str]]:
    """Return line number, word and replacement of each refused word of a text."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        checked = _CAMEL_CASE.sub(" ", _ALLOWED.sub("", line))
        for pattern, instead in _PATTERNS:
            found += [(number, match[0], instead) for match in pattern.finditer(checked)]
    return found


def list_files(paths: list[Path]) -> list[Path]:
    """Return the checked files at and below the paths, sorted."""
    files: set[Path] = set()
    for path in paths:
        files |= {path} if path.is_file() else {file for file in path.rglob("*") if file.is_file()}
    return sorted(file for file in files if file.suffix in SUFFIXES and not SKIPPED & {*file.parts})


def main(arguments: list[str]) -> int:
    """Print each refused word with its position; return the exit code."""
    paths = [Path(argument) for argument in arguments] or [ROOT / name for name in CHECKED]
    count = 0
    for file in list_files(paths):
        text = file.read_text(encoding="utf-8")
        if file.name in CONFIG_KEY_FILES:
            text = re.sub(r"\bpictures\b", "", text)
        for number, word, instead in find_words(text):
            print(f"{file}:{number}: {word!r}: write {instead}")
            count += 1
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
