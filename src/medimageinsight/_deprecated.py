"""Old public names, which work for one more release with a ``DeprecationWarning``.

`MOVED` maps each old dotted path to the new one. It holds strings only, so nothing is imported before an old name is used.
Names of packages that still exist are resolved by their ``__getattr__`` (see `_lazy`), names of modules that no longer
exist by a finder at the end of ``sys.meta_path``.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

REMOVED_IN = "0.3"

MOVED: dict[str, str] = {}


def resolve(module: str, name: str, *, stacklevel: int = 2) -> object:
    """Return what an old name of a module stands for now, with a ``DeprecationWarning``.

    Args:
        module: The dotted path of the module that was asked.
        name: The attribute that it does not have.
        stacklevel: As in `warnings.warn`, counted from the caller.

    Raises:
        AttributeError: The module never had such a name.
    """
    new = MOVED.get(f"{module}.{name}")
    if new is None:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    warnings.warn(
        f"{module}.{name} moved to {new} and will be removed in {REMOVED_IN}",
        DeprecationWarning,
        stacklevel=stacklevel + 1,
    )
    package, _, attribute = new.rpartition(".")
    return getattr(importlib.import_module(package), attribute)


class _OldModules(MetaPathFinder, Loader):
    """Finds modules that no longer exist but whose names `MOVED` knows."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        if any(old.rpartition(".")[0] == fullname for old in MOVED):
            return ModuleSpec(fullname, self)
        return None

    def exec_module(self, module: ModuleType) -> None:
        module.__getattr__ = lambda name: resolve(module.__name__, name)  # type: ignore[method-assign]


def install() -> None:
    """Let imports find modules that moved; a second call changes nothing."""
    if not any(isinstance(finder, _OldModules) for finder in sys.meta_path):
        sys.meta_path.append(_OldModules())
