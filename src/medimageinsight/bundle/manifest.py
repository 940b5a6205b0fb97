"""``manifest.json``: what a bundle holds, how its model is built and fed, and where it came from."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from medimageinsight.errors import BundleError
from medimageinsight.files.strict import MappingError, build, load_json

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 1
MANIFEST_NAME = "manifest.json"
MAX_MANIFEST_BYTES = 1 << 20  # a real one is about 4 KiB

# One folder deep, nothing hidden: no name that passes leads out of the bundle on any platform.
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


Precision: TypeAlias = Literal["fp32", "fp16", "int8"]
Descent: TypeAlias = Literal["trained", "fine-tuned", "converted", "precision"]
MAX_GENERATIONS = 16  # a line of parents is a record for people; one that is longer is a mistake


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """One file of a bundle: its size and its checksum."""

    bytes: int
    sha256: str  # 64 hexadecimal digits


@dataclass(frozen=True, kw_only=True)
class Parent:
    """What a model was made from, and how; with its own parents, so that the line outlives their folders.

    Attributes:
        name: Of the parent: a bundle, a checkpoint, or the config of a training.
        sha256: Of its weights or, for a bundle, of its ``manifest.json``, which has the checksums of all the rest.
        how: ``trained`` from a config alone, ``fine-tuned`` from the parent's weights, ``converted`` from a checkpoint,
            or the parent in another ``precision``.
        parents: The parent's own.
    """

    name: str
    sha256: str
    how: Descent
    parents: tuple[Parent, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A bundle's description of itself.

    `architecture` and `preprocessing` stay plain mappings here; the rooms that own them read them.

    ::

        manifest = Manifest.load(folder)
        manifest.embedding_dim, manifest.preprocessing["image_size"]
    """

    format: int
    name: str
    description: str
    precision: Precision
    architecture: dict[str, Any]  # ModelConfig.to_dict()
    preprocessing: dict[str, Any]  # Preprocessing.to_dict(); its `default` is used where nothing else is asked for
    scoring_preprocessing: Literal["direct", "azure"]  # the default of the scoring routes and `mi2 score`
    embedding_dim: int
    context_length: int  # tokens, both ends counted
    logit_scale: float  # logarithm: probabilities are softmax(exp(logit_scale) * image . text)
    files: dict[str, FileEntry]  # everything inference reads; parity.json and MODEL_CARD.md may be rewritten
    versions: dict[str, str]  # of the software that made the bundle
    provenance: dict[str, Any]  # checkpoint checksum, licence, training
    created: str  # ISO 8601, UTC
    parents: tuple[Parent, ...] = ()  # what it was made from; empty in bundles older than this field

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
                f"expected a bundle folder with a readable {MANIFEST_NAME}, there is none: make one with mi2 convert",
                code="bundle_not_found",
            ) from None
        if len(content) > MAX_MANIFEST_BYTES:
            raise BundleError(f"{MANIFEST_NAME}: expected at most {MAX_MANIFEST_BYTES:,} bytes, the file is larger")
        return cls.from_json(content)

    @classmethod
    def from_json(cls, content: str | bytes) -> Manifest:
        """From the text of a ``manifest.json``; strict, as `load` says."""
        try:
            data = load_json(content)
        except (ValueError, RecursionError):
            raise BundleError(f"{MANIFEST_NAME}: expected JSON, it cannot be parsed: make the bundle again") from None
        version = data.get("format") if isinstance(data, dict) else None
        if type(version) is int and version > FORMAT:
            raise BundleError(
                f"{MANIFEST_NAME}: expected format {FORMAT} or older, got {version}: "
                "upgrade medimageinsight-onnx to use this bundle",
                code="bundle_too_new",
            )
        try:
            manifest = build(cls, data, MANIFEST_NAME)
        except (MappingError, RecursionError) as error:
            what = str(error) if isinstance(error, MappingError) else f"{MANIFEST_NAME}: expected fewer levels"
            raise BundleError(what) from None
        manifest._check_values()
        return manifest

    def to_json(self) -> str:
        """The text of ``manifest.json``: keys in a fixed order, so that equal manifests are equal files."""
        data = asdict(self)
        if not self.parents:  # as before there was such a field, so that older versions open the bundle
            del data["parents"]
        return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def as_parent(self, how: Descent) -> Parent:
        """This model as the parent of one that is made from it."""
        digest = hashlib.sha256(self.to_json().encode()).hexdigest()
        return Parent(name=self.name, sha256=digest, how=how, parents=self.parents)

    def with_files(self, files: dict[str, FileEntry]) -> Manifest:
        """The same manifest for other files."""
        return replace(self, files=files)

    def _check_values(self) -> None:
        if self.format < 1:
            raise BundleError(f"{MANIFEST_NAME}.format: expected {FORMAT}, got {self.format}")
        if not is_safe_name(self.name):
            raise BundleError(f"{MANIFEST_NAME}.name: expected letters, digits, '.', '_' and '-' only")
        for key, value in (("embedding_dim", self.embedding_dim), ("context_length", self.context_length)):
            if value < 1:
                raise BundleError(f"{MANIFEST_NAME}.{key}: expected at least 1, got {value}")
        for name, entry in self.files.items():
            if not is_safe_name(name):
                raise BundleError(
                    f"{MANIFEST_NAME}.files: expected plain file names, got one that could lead elsewhere"
                )
            if entry.bytes < 0 or not _SHA256.fullmatch(entry.sha256):
                raise BundleError(f"{MANIFEST_NAME}.files.{name}: expected a size and 64 hexadecimal digits of SHA-256")
        _check_parents(self.parents)


def is_parent(parent: Parent) -> bool:
    """Whether its name and checksum are of their form; says nothing of its own parents."""
    return is_safe_name(parent.name) and _SHA256.fullmatch(parent.sha256) is not None


def _check_parents(parents: tuple[Parent, ...], generation: int = 1) -> None:
    if parents and generation > MAX_GENERATIONS:
        raise BundleError(f"{MANIFEST_NAME}.parents: expected at most {MAX_GENERATIONS} generations, got more")
    for parent in parents:
        if not is_parent(parent):
            raise BundleError(f"{MANIFEST_NAME}.parents: expected a plain name and 64 hexadecimal digits of SHA-256")
        _check_parents(parent.parents, generation + 1)


def is_safe_name(name: str) -> bool:
    """Whether a name can be one file or folder and nothing else: no separators, not hidden, no drive, no `..`."""
    return _SAFE_NAME.fullmatch(name) is not None and not name.endswith(".")
