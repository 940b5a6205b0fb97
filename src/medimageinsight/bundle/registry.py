"""The registry of models: bundles found by a known name, in the user's model folder, or by path."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from medimageinsight.bundle.manifest import MANIFEST_NAME, is_safe_name
from medimageinsight.errors import BundleError

DEFAULT_MODEL = "mini"
BUILTIN = Path(__file__).resolve().parent.parent / "builtin"

# Names that this package knows, and how to get a model that is missing.
KNOWN_MODELS = {
    "mini": "it is part of the package: install the package again",
    "medimageinsight": "download and convert the public release with mi2 pull, or convert its folder with mi2 convert "
    "CHECKPOINT --out {folder}",
}


@dataclass(frozen=True, kw_only=True)
class InstalledModel:
    """A bundle that can be loaded by its name."""

    name: str
    folder: Path
    builtin: bool


def home() -> Path:
    """Return the folder of models and caches: ``MI2_HOME``, else ``medimageinsight`` in the platform's cache folder."""
    if chosen := os.environ.get("MI2_HOME"):
        return Path(chosen).expanduser()
    return _platform_cache() / "medimageinsight"


def find(model: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of a model given by name or path; with None, of ``MI2_MODEL`` or the built-in model.

    A name is looked up among the built-in models and in ``MI2_HOME/models``; everything else is a path. Write
    ``./NAME`` for a folder that has the name of a model.

    Raises:
        BundleError: There is no such bundle (``bundle_not_found``).
    """
    chosen = model if model is not None else os.environ.get("MI2_MODEL") or DEFAULT_MODEL
    if isinstance(chosen, str) and is_safe_name(chosen):
        for folder in (BUILTIN / chosen, home() / "models" / chosen):
            if _is_bundle(folder):
                return folder
        if not _is_bundle(Path(chosen)):
            known = ", ".join(dict.fromkeys([*KNOWN_MODELS, *(model.name for model in installed())]))
            advice = KNOWN_MODELS.get(chosen, f"give one of {known}, or a bundle folder")
            raise BundleError(
                f"expected the name of an installed model, got {chosen!r}: "
                + advice.format(folder=f"$MI2_HOME/models/{chosen}"),
                code="bundle_not_found",
            )
    folder = Path(chosen).expanduser()
    if not _is_bundle(folder):
        raise BundleError(
            f"expected a bundle folder with a {MANIFEST_NAME}, got none: make one with mi2 convert",
            code="bundle_not_found",
        )
    return folder


def installed() -> list[InstalledModel]:
    """Return the models that `find` knows by name, sorted; built-in models first."""
    models: dict[str, InstalledModel] = {}
    for parent in (BUILTIN, home() / "models"):
        for folder in sorted(parent.iterdir()) if parent.is_dir() else ():
            if is_safe_name(folder.name) and _is_bundle(folder):
                models.setdefault(
                    folder.name, InstalledModel(name=folder.name, folder=folder, builtin=parent == BUILTIN)
                )
    return list(models.values())


def _is_bundle(folder: Path) -> bool:
    return (folder / MANIFEST_NAME).is_file()


def _platform_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
