"""The manifest of a batch: what is embedded, by which model, in which parts."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from medimageinsight.batch.options import BatchOptions
from medimageinsight.bundle import ModelIdentity  # noqa: TC001 - `strict.build` reads the field's type
from medimageinsight.errors import InputError
from medimageinsight.files.json import load_json
from medimageinsight.files.strict import MappingError, build

if TYPE_CHECKING:
    from medimageinsight.batch.storage import Storage

FOLDER = "_batch"  # readers of Parquet folders skip names with an underscore
MANIFEST = f"{FOLDER}/manifest.json"
SET_ASIDE = f"{FOLDER}/set-aside"
FORMAT = 1
MAX_MANIFEST_BYTES = 64 << 20
MAX_PARTS = 10_000_000
_SHARD_NAME = re.compile(r"_batch/plan-[0-9a-f]{8}-\d{5,8}\.arrow")


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A file with the rows of several parts, one record batch for each.

    Attributes:
        name: Its name in the output.
        parts: How many parts it has.
        rows: How many rows they have.
        sha256: Of the file.
    """

    name: str
    parts: int
    rows: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an output consists of; written once, before the first part.

    Attributes:
        rows: Rows of the input, and of the output.
        parts: Files of the output.
        fingerprint: SHA-256 of the keys, sizes and versions of all rows.
        tables: The tables that rows refer to by number, as they were given.
        options: Everything else that the output depends on.
        model: The model and its preprocessing.
        shards: The plan.
    """

    rows: int
    parts: int
    fingerprint: str
    tables: tuple[str, ...]
    options: BatchOptions
    model: ModelIdentity
    shards: tuple[Shard, ...]

    def to_bytes(self) -> bytes:
        """Return the manifest as JSON."""
        document = {"format": FORMAT, "kind": "batch", **asdict(self)}
        return json.dumps(document, indent=1, allow_nan=False).encode() + b"\n"


def part_name(index: int) -> str:
    """Return the file name of a part."""
    return f"part-{index:06}.parquet"


def read_manifest(storage: Storage) -> Manifest | None:
    """Return the manifest of an output, or None if there is none.

    Raises:
        InputError: It is not one of this project or damaged (``batch_manifest_invalid``), or larger than any
            (``batch_file_too_large``).
    """
    content = storage.read(MANIFEST, limit=MAX_MANIFEST_BYTES)
    if content is None:
        return None
    try:
        data = load_json(content)
        if not isinstance(data, dict) or data.pop("kind", None) != "batch" or data.pop("format", None) != FORMAT:
            raise MappingError(f'manifest: expected "kind" batch and "format" {FORMAT}')
        manifest = build(Manifest, data, "manifest")
    except MappingError as error:
        raise _invalid(str(error)) from None
    except (ValueError, RecursionError):
        raise _invalid("it is not JSON") from None
    _check(manifest)
    return manifest


def check_same(manifest: Manifest, wanted: Manifest) -> None:
    """Refuse to continue an output with other inputs, another model or other options.

    Raises:
        InputError: ``batch_model_changed``, ``batch_options_changed`` or ``batch_inputs_changed``.
    """
    if not manifest.model.embeds_alike(wanted.model):
        raise InputError(
            f"expected the model of this output ({manifest.model.name}, {manifest.model.describe_preprocessing()}), "
            f"got {wanted.model.name}, {wanted.model.describe_preprocessing()}: use that model, or another output",
            code="batch_model_changed",
        )
    different = [
        field.name
        for field in fields(BatchOptions)
        if getattr(manifest.options, field.name) != getattr(wanted.options, field.name)
    ]
    if different:
        raise InputError(
            f"expected the options of this output, got others for {', '.join(different)}: repeat them, or use another "
            "output",
            code="batch_options_changed",
        )
    if (manifest.rows, manifest.fingerprint, manifest.tables) != (wanted.rows, wanted.fingerprint, wanted.tables):
        raise InputError(
            f"expected the {manifest.rows:,} inputs that this output was planned for, got {wanted.rows:,} that differ "
            "from them in names, sizes or times of change: use another output",
            code="batch_inputs_changed",
        )


def _check(manifest: Manifest) -> None:
    shards = manifest.shards
    counts = [(shard.parts, shard.rows) for shard in shards]
    if not all(_SHARD_NAME.fullmatch(shard.name) for shard in shards):
        raise _invalid("a name that no plan has")
    if any(parts < 1 or rows < parts for parts, rows in counts):
        raise _invalid("a plan without parts or rows")
    if (sum(rows for _, rows in counts), sum(parts for parts, _ in counts)) != (manifest.rows, manifest.parts):
        raise _invalid("counts that do not add up")
    if manifest.parts > MAX_PARTS:
        raise _invalid(f"more than {MAX_PARTS:,} parts")
    try:
        manifest.options.check()
    except InputError as error:
        raise _invalid(error.code) from None


def _invalid(reason: str) -> InputError:
    return InputError(
        f"expected the manifest of a batch of this project, got an invalid one: {reason}. Use another output",
        code="batch_manifest_invalid",
    )
