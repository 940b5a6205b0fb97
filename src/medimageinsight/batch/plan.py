"""Plan a batch: divide the rows of its inputs into parts, in bounded memory, once for all that start it."""

from __future__ import annotations

import hashlib
import io
import secrets
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

from medimageinsight.batch.inputs import Inputs, add_to_fingerprint, fingerprint
from medimageinsight.batch.manifest import FOLDER, MANIFEST, Manifest, Shard, check_same, part_name, read_manifest
from medimageinsight.batch.rows import arrow, from_batch, plan_invalid, plan_schema, to_batch
from medimageinsight.batch.storage import open_storage
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from medimageinsight.batch.options import BatchOptions
    from medimageinsight.batch.rows import Row
    from medimageinsight.batch.storage import Storage
    from medimageinsight.bundle import ModelIdentity

SHARD_ROWS = 50_000  # of a file of the plan: a few megabytes, which a worker reads for each part
MAX_SHARD_BYTES = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Part:
    """A file of the output that is still to be written; all that a worker needs to know, for JSON or pickle.

    Attributes:
        out: The output's location.
        index: Its number, from 0.
        rows: How many rows it has.
    """

    out: str
    index: int
    rows: int

    @property
    def name(self) -> str:
        """Its file name in the output."""
        return part_name(self.index)


def plan(
    inputs: Iterable[str],
    out: str,
    options: BatchOptions,
    model: ModelIdentity,
    *,
    progress: Callable[[int], None] | None = None,
) -> Manifest:
    """Plan an output, or check that these inputs, options and model are those that it was planned for.

    Args:
        inputs: Locations of folders, tables, lists or files.
        out: Location of the output.
        options: How inputs are read.
        model: The model and its preprocessing.
        progress: Called with the number of rows listed.

    Raises:
        InputError: ``batch_inputs_changed``, ``batch_model_changed``, ``batch_options_changed``, an input or the output
            cannot be used, or there are no rows (``batch_input_empty``).
    """
    options.check()
    open_output.cache_clear()
    storage = open_storage(out)
    has_parts = next(_part_indices(storage), None) is not None  # first: a manifest is written before its parts
    existing = read_manifest(storage)
    if existing is None and has_parts:
        raise InputError(
            "expected a new output or one of an earlier start, got parts without a manifest: use another output",
            code="batch_out_invalid",
        )
    planner = _Planner(None if existing is not None else storage, options, progress)
    wanted = planner.run(Inputs(inputs, options), model)
    if existing is None:
        if storage.create(MANIFEST, wanted.to_bytes()):
            return wanted
        for shard in wanted.shards:  # another start was faster
            storage.delete(shard.name)
        existing = read_manifest(storage)
        if existing is None:
            raise plan_invalid()
    check_same(existing, wanted)
    return existing


def list_parts(out: str, manifest: Manifest) -> Iterator[Part]:
    """Return the parts of an output that are not written, in order."""
    done = written_parts(out)
    return (part for part in all_parts(out, manifest) if part.index not in done)


def all_parts(out: str, manifest: Manifest) -> Iterator[Part]:
    """Yield all parts of an output, in order."""
    index = 0
    for shard in manifest.shards:
        for number in range(shard.parts):
            rows = min(manifest.options.part_rows, shard.rows - number * manifest.options.part_rows)
            yield Part(out=out, index=index, rows=rows)
            index += 1


def written_parts(out: str) -> set[int]:
    """Return the numbers of the parts that are written."""
    return set(_part_indices(open_storage(out)))


def _part_indices(storage: Storage) -> Iterator[int]:
    for name in storage.names(""):
        number = name.removeprefix("part-").removesuffix(".parquet")
        if number.isascii() and number.isdigit() and name == part_name(int(number)):
            yield int(number)


@lru_cache(maxsize=4)
def open_output(out: str) -> tuple[Storage, Manifest]:
    """Return the storage and the manifest of a planned output.

    Raises:
        InputError: It has none (``batch_manifest_invalid``).
    """
    storage = open_storage(out)
    manifest = read_manifest(storage)
    if manifest is None:
        raise InputError("expected a planned output, got one without a manifest", code="batch_manifest_invalid")
    return storage, manifest


def read_part_rows(part: Part) -> list[Row]:
    """Return the rows of a part from the plan.

    Raises:
        InputError: The plan is damaged (``batch_plan_invalid``).
    """
    storage, manifest = open_output(part.out)
    index = part.index
    for shard in manifest.shards:
        if index < shard.parts:
            break
        index -= shard.parts
    else:
        raise plan_invalid()
    content = storage.read(shard.name, limit=MAX_SHARD_BYTES)
    if content is None or hashlib.sha256(content).hexdigest() != shard.sha256:
        raise plan_invalid()
    try:
        rows = from_batch(arrow().ipc.open_file(content).get_batch(index))
    except (arrow().ArrowException, OSError, ValueError, IndexError):
        raise plan_invalid() from None
    if len(rows) != part.rows or any(row.table >= len(manifest.tables) for row in rows):
        raise plan_invalid()
    return rows


class _Planner:
    """Writes the rows of inputs as shards, of whole parts; without a storage it only computes their fingerprint."""

    def __init__(self, storage: Storage | None, options: BatchOptions, progress: Callable[[int], None] | None) -> None:
        self._storage = storage
        self._options = options
        self._progress = progress
        self._token = secrets.token_hex(4)
        self._shards: list[Shard] = []
        self._rows = 0
        self._digest = fingerprint()

    def run(self, inputs: Inputs, model: ModelIdentity) -> Manifest:
        rows = iter(inputs)
        parts_of_shard = max(1, SHARD_ROWS // self._options.part_rows)
        while self._shard(rows, parts_of_shard):
            pass
        if not self._rows:
            raise InputError(
                "expected at least one image in the input, got none: choose another", code="batch_input_empty"
            )
        return Manifest(
            rows=self._rows,
            parts=sum(shard.parts for shard in self._shards),
            fingerprint=self._digest.hexdigest(),
            tables=tuple(inputs.tables),
            options=replace(self._options),
            model=model,
            shards=tuple(self._shards),
        )

    def _shard(self, rows: Iterator[Row], count: int) -> bool:
        """Write the next `count` parts; return whether there may be more."""
        sink = io.BytesIO()
        pa = arrow()
        compressed = pa.ipc.IpcWriteOptions(compression="zstd")
        parts = written = 0
        with pa.ipc.new_file(sink, plan_schema(), options=compressed) as file:
            while parts < count and (taken := list(islice(rows, self._options.part_rows))):
                add_to_fingerprint(self._digest, taken)
                if self._storage is not None:
                    file.write_batch(to_batch(taken))
                parts, written = parts + 1, written + len(taken)
                self._rows += len(taken)
                if self._progress is not None:
                    self._progress(self._rows)
        if parts:
            name = f"{FOLDER}/plan-{self._token}-{len(self._shards):05}.arrow"
            content = sink.getvalue()
            if self._storage is not None:
                self._storage.create(name, content)
            sha256 = hashlib.sha256(content).hexdigest()
            self._shards.append(Shard(name=name, parts=parts, rows=written, sha256=sha256))
        return parts == count
