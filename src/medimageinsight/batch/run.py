"""Run a batch: plan it or check the plan, embed what is missing, and report."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from medimageinsight.batch.engine import MAX_DEATHS, BatchProgress, ModelSettings, PartDone, WorkerDied
from medimageinsight.batch.local_engine import LocalEngine
from medimageinsight.batch.manifest import SET_ASIDE, read_manifest
from medimageinsight.batch.options import BatchOptions
from medimageinsight.batch.plan import list_parts, plan
from medimageinsight.batch.storage import open_storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from medimageinsight.batch.engine import Engine, PartEvent
    from medimageinsight.batch.storage import Storage


@dataclass(frozen=True, kw_only=True)
class BatchReport:
    """What became of a batch.

    Attributes:
        rows: Rows of the output when it is complete.
        parts: Files of the output when it is complete.
        earlier: Rows that earlier starts wrote.
        done: Rows of this start.
        errors: Code of an error to the number of rows of this start with it.
        set_aside: Names of parts that are missing because each of them ended its worker `engine.MAX_DEATHS` times.
    """

    rows: int
    parts: int
    earlier: int
    done: int
    errors: Mapping[str, int]
    set_aside: Sequence[str]

    def to_dict(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {
            "rows": self.rows,
            "parts": self.parts,
            "earlier": self.earlier,
            "done": self.done,
            "errors": dict(sorted(self.errors.items())),
            "set_aside": list(self.set_aside),
        }


def run(
    inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    preprocessing: str | None = None,
    providers: Sequence[str] | None = None,
    threads: int | None = None,
    options: BatchOptions = BatchOptions(),  # noqa: B008 - frozen
    engine: Engine | None = None,
    planned: Callable[[int], None] | None = None,
    progress: Callable[[BatchProgress], None] | None = None,
) -> BatchReport:
    """Embed all rows of inputs to Parquet parts; a later call with the same arguments does what is missing.

        report = batch.run("archive/", "vectors/")

    Each part has the columns key, embedding, error_code, error_message, model and preprocessing, and a row for each row
    of the input, in order.

    Args:
        inputs: Folders, tables, lists of files or single files; paths, or URIs of object stores.
        out: Folder or URI of the output.
        model: As in `MedImageInsight.load`.
        preprocessing: As in `MedImageInsight.load`.
        providers: As in `MedImageInsight.load`.
        threads: As in `MedImageInsight.load`.
        options: How inputs are read.
        engine: What runs the parts; by default one worker process of this machine.
        planned: Called with the number of rows listed.
        progress: Called whenever rows are done.

    Raises:
        InputError: Inputs, options or the output cannot be used, or are not those of the output's earlier start.
        MedImageInsightError: The model cannot be opened or run.
        MissingExtraError: pyarrow, or obstore for object stores, is not installed.
    """
    listed = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
    settings = ModelSettings(
        model=None if model is None else os.fspath(model),
        preprocessing=preprocessing,
        providers=None if providers is None else tuple(providers),
        threads=threads,
        accept_maps=options.accept_maps,
    )
    identity = settings.load().identity.with_window(options.window)
    location = os.fspath(out)
    manifest = plan([os.fspath(item) for item in listed], location, options, identity, progress=planned)
    storage = open_storage(location)
    parts = list(list_parts(location, manifest))
    missing = sum(part.rows for part in parts)
    state = BatchProgress(total=manifest.rows, earlier=manifest.rows - missing)
    aside = set(storage.names(SET_ASIDE))

    def report(event: PartEvent) -> None:
        state.add(event)
        _note_set_aside(storage, event, aside)
        if progress is not None:
            progress(state)

    # Two starts that begin at different parts rarely compute the same one.
    first = os.getpid() % len(parts) if 0 < len(parts) < manifest.parts else 0
    (engine or LocalEngine()).run(chain(parts[first:], parts[:first]), settings, report)
    return BatchReport(
        rows=manifest.rows,
        parts=manifest.parts,
        earlier=state.earlier,
        done=state.done,
        errors=state.errors,
        set_aside=sorted(state.set_aside),
    )


def _note_set_aside(storage: Storage, event: PartEvent, aside: set[str]) -> None:
    """Name a part that is set aside in the output, and forget it when it is done."""
    name = f"{SET_ASIDE}/{event.part.name}.json"
    if isinstance(event, WorkerDied) and event.deaths >= MAX_DEATHS and name not in aside:
        document = {"part": event.part.name, "rows": event.part.rows, "workers_ended": event.deaths}
        storage.create(name, json.dumps(document).encode() + b"\n")
    elif isinstance(event, PartDone) and name in aside:
        storage.delete(name)


def existing_options(out: str, options: BatchOptions) -> BatchOptions:
    """Return options with the rows of a part of an output's earlier start, if there was one."""
    manifest = read_manifest(open_storage(out))
    return options if manifest is None else replace(options, part_rows=manifest.options.part_rows)
