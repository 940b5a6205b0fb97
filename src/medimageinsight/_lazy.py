"""Public names of a package that are imported when they are first used."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

from medimageinsight import _deprecated

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def lazy_exports(
    package: str, public: Sequence[str], modules: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and ``__dir__`` of a package.

        __getattr__, __dir__ = lazy_exports(__name__, __all__, {"train": "run", "TrainConfig": "config"})

    Args:
        package: The package's ``__name__``.
        public: Its ``__all__``.
        modules: For each name that is imported on first use, the module below the package that defines it.
    """

    def get(name: str) -> object:
        if name not in modules:
            return _deprecated.resolve(package, name)
        value: object = getattr(importlib.import_module(f"{package}.{modules[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: sorted(public)
