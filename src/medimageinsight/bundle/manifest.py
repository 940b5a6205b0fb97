"""``manifest.json``: the files of a bundle, its model's architecture and preprocessing, and its provenance."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from medimageinsight.errors import BundleError
from medimageinsight.files.json import load_json
from medimageinsight.files.strict import MappingError, build

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST_FORMAT = 1
MANIFEST_NAME = "manifest.json"
MAX_MANIFEST_BYTES = 1 << 20  # a real one is about 4 KiB

# One folder deep, nothing hidden: no such name leads out of the bundle on any platform.
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")

Precision: TypeAlias = Literal["fp32", "fp16", "int8"]
Descent: TypeAlias = Literal["trained", "fine-tuned", "converted", "precision"]
MAX_GENERATIONS = 16  # of parents: a record for people; more is a mistake


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """Size and checksum of one file of a bundle."""

    bytes: int
    sha256: str  # 64 hexadecimal digits


@dataclass(frozen=True, kw_only=True)
class Parent:
    """The source of a model. It contains its own parents, so that the record survives the parents' folders.

    Attributes:
        name: Name of the parent: a bundle, a checkpoint, or the config of a training run.
        sha256: Checksum of its weights or, for a bundle, of its ``manifest.json``, which has all other checksums.
        how: ``trained`` from a config alone, ``fine-tuned`` from the parent's weights, ``converted`` from a checkpoint,
            or the parent in another ``precision``.
        parents: The parent's own parents.
    """

    name: str
    sha256: str
    how: Descent
    parents: tuple[Parent, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of ``manifest.json``.

    `architecture` and `preprocessing` are plain mappings here; `network` and `preprocess` read them.

    ::

        manifest = Manifest.load(folder)
        manifest.embedding_dim, manifest.preprocessing["image_size"]
    """

    format: int
    name: str
    description: str
    precision: Precision
    architecture: dict[str, Any]  # ModelConfig.to_dict()
    preprocessing: dict[str, Any]  # Preprocessing.to_dict(); `default` names the steps to use by default
    scoring_preprocessing: Literal["direct", "azure"]  # the default of the scoring routes and `mi2 score`
    embedding_dim: int
    context_length: int  # tokens, with begin and end token
    logit_scale: float  # logarithm: probabilities are softmax(exp(logit_scale) * image . text)
    files: dict[str, FileEntry]  # all that inference reads; parity.json and MODEL_CARD.md may be rewritten
    versions: dict[str, str]  # of the libraries that made the bundle
    provenance: dict[str, Any]  # checkpoint checksum, licence, training
    created: str  # ISO 8601, UTC
    parents: tuple[Parent, ...] = ()  # empty in bundles older than this field

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read ``manifest.json`` of a bundle folder.

        Raises:
            BundleError: There is none (``bundle_not_found``), it was written by a newer version
                (``bundle_too_new``), or it is not of the form (``bundle_invalid``).
        """
        try:
            with (folder / MANIFEST_NAME).open("rb") as file:
                content = file.read(MAX_MANIFEST_BYTES + 1)
        except OSError:
            raise BundleError(
                f"expected a bundle folder with a readable {MANIFEST_NAME}, got none: make one with mi2 convert",
                code="bundle_not_found",
            ) from None
        if len(content) > MAX_MANIFEST_BYTES:
            raise BundleError(f"{MANIFEST_NAME}: expected at most {MAX_MANIFEST_BYTES:,} bytes, got a larger file")
        return cls.from_json(content)

    @classmethod
    def from_json(cls, content: str | bytes) -> Manifest:
        """Read the text of a ``manifest.json`` strictly.

        Raises:
            BundleError: As `load` (``bundle_too_new``, ``bundle_invalid``).
        """
        try:
            data = load_json(content)
        except (ValueError, RecursionError):
            raise BundleError(f"{MANIFEST_NAME}: expected JSON, it cannot be parsed: make the bundle again") from None
        version = data.get("format") if isinstance(data, dict) else None
        if type(version) is int and version > MANIFEST_FORMAT:
            raise BundleError(
                f"{MANIFEST_NAME}: expected format {MANIFEST_FORMAT} or older, got {version}: "
                "upgrade medimageinsight-onnx to use this bundle",
                code="bundle_too_new",
            )
        try:
            manifest = build(cls, data, MANIFEST_NAME)
        except (MappingError, RecursionError) as error:
            too_deep = f"{MANIFEST_NAME}.parents: expected at most {MAX_GENERATIONS} generations, got hundreds"
            raise BundleError(str(error) if isinstance(error, MappingError) else too_deep) from None
        manifest._check_values()
        return manifest

    def to_json(self) -> str:
        """Return the text of ``manifest.json``; the order of keys is fixed, so that equal manifests are equal files."""
        data = asdict(self)
        if not self.parents:  # older versions of this package do not know the field
            del data["parents"]
        return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that the model was fine-tuned on, from its provenance; empty if they are not known."""
        labels = self.provenance.get("labels", ())
        if not isinstance(labels, list) or not all(isinstance(label, str) and label for label in labels):
            return ()
        return tuple(dict.fromkeys(labels))

    def with_files(self, files: dict[str, FileEntry]) -> Manifest:
        """Return the same manifest for other files."""
        return replace(self, files=files)

    def _check_values(self) -> None:
        if self.format < 1:
            raise BundleError(f"{MANIFEST_NAME}.format: expected {MANIFEST_FORMAT}, got {self.format}")
        if not is_safe_name(self.name):
            raise BundleError(
                f"{MANIFEST_NAME}.name: expected letters, digits, '.', '_' and '-', got {self.name[:40]!r}"
            )
        for key, value in (("embedding_dim", self.embedding_dim), ("context_length", self.context_length)):
            if value < 1:
                raise BundleError(f"{MANIFEST_NAME}.{key}: expected at least 1, got {value}")
        for name, entry in self.files.items():
            if not is_safe_name(name):
                raise BundleError(f"{MANIFEST_NAME}.files: expected plain file names, got a hidden name or a path")
            if entry.bytes < 0 or not _SHA256.fullmatch(entry.sha256):
                raise BundleError(
                    f"{MANIFEST_NAME}.files.{name}: expected a size and 64 hexadecimal digits of SHA-256, "
                    f"got {entry.bytes} bytes and {len(entry.sha256)} characters"
                )
        _check_parents(self.parents)


def is_parent(parent: Parent) -> bool:
    """Return whether a parent's name and checksum are valid; its own parents are not checked."""
    return is_safe_name(parent.name) and _SHA256.fullmatch(parent.sha256) is not None


def _check_parents(parents: tuple[Parent, ...], generation: int = 1) -> None:
    if parents and generation > MAX_GENERATIONS:
        raise BundleError(
            f"{MANIFEST_NAME}.parents: expected at most {MAX_GENERATIONS} generations, got {generation} or more"
        )
    for parent in parents:
        if not is_parent(parent):
            raise BundleError(
                f"{MANIFEST_NAME}.parents: expected a plain name and 64 hexadecimal digits of SHA-256, "
                f"got names or checksums of {len(parent.name)} and {len(parent.sha256)} characters"
            )
        _check_parents(parent.parents, generation + 1)


def is_safe_name(name: str) -> bool:
    """Return whether a name is a plain name of a file or folder: no separator, not hidden, no drive, no `..`."""
    return _SAFE_NAME.fullmatch(name) is not None and not name.endswith(".")
