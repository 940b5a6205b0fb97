"""Results of an unfinished ``mi2 embed --out``, appended to a file one by one, so that a later call can continue."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.cli.vector_files import Result
from medimageinsight.errors import InputError
from medimageinsight.images import ImageWarning

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import Self

    from medimageinsight.bundle import ModelIdentity


class PartialResults:
    """A file ``F.partial`` of results: a line that identifies the call, then one line for each result in order.

        with PartialResults(out, call, resume=True) as partial:
            for result in results_after(partial.count):
                partial.append(result)
            write_all(partial)
            partial.remove()

    Without `remove` the file stays for a later call.
    """

    def __init__(self, out: Path, call: str, *, resume: bool) -> None:
        """Open the file; without `resume` an earlier one is replaced.

        Raises:
            InputError: Another call wrote the file (``resume_other_call``).
            OSError: It cannot be written.
        """
        self.path = out.with_name(f"{out.name}.partial")
        self.count = 0
        if resume and self.path.exists():
            self.count = self._count_results(call)
            self._file = self.path.open("ab")
        else:
            self._file = self.path.open("wb")
            self._write({"call": call})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, result: Result) -> None:
        """Write a result; after this call the end of the process does not lose it."""
        embedding = None if result.embedding is None else result.embedding.astype("<f4").tobytes()
        self._write(
            {
                "source": result.source,
                "embedding": embedding and base64.b64encode(embedding).decode(),
                "error": result.error and result.error.to_dict(),
                "warnings": [warning.to_dict() for warning in result.warnings],
                "parts": dict(result.parts),
            }
        )
        self.count += 1

    def __iter__(self) -> Iterator[Result]:
        """Yield all results so far."""
        with self.path.open("rb") as file:
            next(file)
            for line in file:
                row = json.loads(line)
                embedding, error = row["embedding"], row["error"]
                yield Result(
                    source=row["source"],
                    embedding=None if embedding is None else np.frombuffer(base64.b64decode(embedding), "<f4"),
                    error=None if error is None else InputError(error["message"], code=error["code"]),
                    warnings=tuple(ImageWarning(**warning) for warning in row["warnings"]),
                    parts=row.get("parts", {}),
                )

    def remove(self) -> None:
        """Delete the file."""
        self._file.close()
        self.path.unlink()

    def _write(self, row: dict[str, Any]) -> None:
        self._file.write(json.dumps(row).encode() + b"\n")
        self._file.flush()

    def _count_results(self, call: str) -> int:
        """Check the first line, cut off an incomplete last line, and return the number of results."""
        with self.path.open("rb+") as file:
            try:
                expected = json.loads(file.readline())["call"]
            except (ValueError, KeyError, TypeError):
                expected = None
            if expected != call:
                raise _other_call()
            count, end = 0, file.tell()
            for line in file:
                if not line.endswith(b"\n"):
                    break
                count, end = count + 1, end + len(line)
            file.truncate(end)
        return count


def check_names(done: Sequence[str], names: Sequence[str]) -> None:
    """Refuse results whose sources are not those of this call, as where a folder has changed.

    Raises:
        InputError: ``resume_other_call``.
    """
    if list(names[: len(done)]) != list(done):
        raise _other_call()


def _other_call() -> InputError:
    return InputError(
        "expected --resume with the files, texts, model and options of the interrupted call, got others: "
        "repeat that call, or leave --resume out to start again",
        code="resume_other_call",
    )


def identify_call(sources: Sequence[str], texts: Sequence[str], frame: int, model: ModelIdentity) -> str:
    """Return a hash of everything that the results depend on."""
    parts = [list(sources), list(texts), frame, model.image_encoder, model.text_encoder, model.preprocessing]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
