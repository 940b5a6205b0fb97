"""Strict YAML files: no tags, no duplicate keys, bounded size."""

from __future__ import annotations

import functools
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from medimageinsight.errors import ConfigError, missing_extra

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 1 << 20
MAX_VALUES = 100_000  # aliases counted as often as they are used


def read_yaml(path: Path, *, name: str = "") -> object:
    """Read the document of a short file. ``1e-5`` is a number, as in YAML 1.2. ``name`` begins each error message.

    Raises:
        ConfigError: It cannot be read (``config_not_found``), is larger than 1 MiB, is not YAML, has a tag or a
            duplicate key, or aliases that make it too large.
        MissingExtraError: PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError:
        raise missing_extra("train", "reading a YAML file") from None
    subject = f"{name}: the file" if name else "the file"
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{subject} is larger than 1 MiB: expected a short YAML file")
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "expected UTF-8"
        raise ConfigError(f"{subject} cannot be read: {reason}", code="config_not_found") from None
    try:
        data = yaml.load(text, _loader())  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError(f"{subject} is not valid YAML: {position}{error.problem}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: an invalid date
        raise ConfigError(f"{subject} is not valid YAML: {' '.join(str(error).split())}") from None
    if not _is_bounded(data):
        raise ConfigError(
            f"{subject} has more than {MAX_VALUES:,} values, or aliases within aliases: write it without aliases"
        )
    return data


@functools.cache
def _loader() -> Any:  # noqa: ANN401 - a class of an optional library
    import yaml

    class Loader(yaml.SafeLoader):
        """A safe loader that also refuses duplicate keys."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            names = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
            duplicate = next((name for name, count in names.items() if count > 1 and name != "<<"), None)
            if duplicate is not None:
                problem = f"the key {duplicate!r} comes twice"
                raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
            return super().construct_mapping(node, deep)

    number = re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+0123456789"))
    return Loader


def _is_bounded(data: object) -> bool:
    """Return whether a document has at most `MAX_VALUES` values, counting an alias's values at each use."""
    remaining, pending = MAX_VALUES, [data]
    while pending and remaining:
        value = pending.pop()
        remaining -= 1
        if isinstance(value, dict):
            pending += value.values()
        elif isinstance(value, list):
            pending += value
    return not pending
