"""YAML files, read as strictly as JSON: no tags, no key twice, nothing that grows without bounds."""

from __future__ import annotations

import functools
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from medimageinsight.errors import ConfigError, missing_extra

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 1 << 20
MAX_VALUES = 100_000  # with what aliases repeat


def read_yaml(path: Path, *, name: str = "") -> object:
    """The document of a short file. ``1e-5`` is a number, as in YAML 1.2.

    Args:
        path: The file.
        name: What a message begins with, where whoever shows it does not name the file.

    Raises:
        ConfigError: It cannot be read (``config_not_found``), is larger than 1 MiB, is not YAML, has a tag or a key
            twice, or aliases that make it endless.
        MissingExtraError: Without PyYAML.
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
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError(f"{subject} is not valid YAML: {place}{error.problem}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # the last of a date that is none
        raise ConfigError(f"{subject} is not valid YAML: {' '.join(str(error).split())}") from None
    if not _is_bounded(data):
        raise ConfigError(f"{subject} has aliases within aliases, or too many values: write it out")
    return data


@functools.cache
def _loader() -> Any:  # noqa: ANN401 - a class of an optional library
    import yaml

    class Loader(yaml.SafeLoader):
        """Safe loading, without what it lets pass."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            names = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
            again = next((name for name, count in names.items() if count > 1 and name != "<<"), None)
            if again is not None:
                raise yaml.constructor.ConstructorError(None, None, f"the key {again!r} comes twice", node.start_mark)
            return super().construct_mapping(node, deep)

    number = re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+0123456789"))
    return Loader


def _is_bounded(data: object) -> bool:
    """Whether a document has few values even where each alias counts as what it stands for."""
    left, waiting = MAX_VALUES, [data]
    while waiting and left:
        value = waiting.pop()
        left -= 1
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return not waiting
