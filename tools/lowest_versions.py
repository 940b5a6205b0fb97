"""Print the lowest allowed version of each core dependency as constraints for pip: ``numpy>=2.0`` gives ``numpy==2.0``.

python tools/lowest_versions.py > lowest.txt
pip install --constraint lowest.txt .
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
_BOUND = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*>=\s*([0-9.]+)")


def lowest_versions(requirements: list[str]) -> list[str]:
    """Return ``name==version`` for each requirement.

    Raises:
        ValueError: A requirement has no lower bound.
    """
    versions = []
    for requirement in requirements:
        if (match := _BOUND.match(requirement)) is None:
            raise ValueError(
                f"expected a requirement of the form name>=version, got {requirement!r}: add a lower bound"
            )
        versions.append(f"{match[1]}=={match[2]}")
    return versions


if __name__ == "__main__":
    project = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]
    sys.stdout.write("\n".join([*lowest_versions(project["dependencies"]), ""]))
