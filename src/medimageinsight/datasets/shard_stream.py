"""An endless, shuffled stream of shards too many to list, which goes on exactly where it was cut off."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight import strict
from medimageinsight.datasets.problems import Problems
from medimageinsight.datasets.shards import ShardReader
from medimageinsight.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.datasets.sample import Sample


@dataclass(frozen=True, kw_only=True)
class StreamPosition:
    """Where a stream is: plain numbers, for a checkpoint. ``to_dict`` gives what JSON takes, ``from_dict`` reads it."""

    shards: str  # a checksum of the list of shards and the settings
    epoch: int
    taken: int  # samples given out in this epoch
    shard: int  # position in the epoch's order of shards
    offset: int  # of the header of the last sample that was read from it, bytes; -1: none was
    buffer: tuple[tuple[int, int], ...]  # (shard of the epoch's order, offset) of each sample that waits

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "shards": self.shards,
            "epoch": self.epoch,
            "taken": self.taken,
            "shard": self.shard,
            "offset": self.offset,
            "buffer": [list(one) for one in self.buffer],
        }

    @classmethod
    def from_dict(cls, data: object) -> StreamPosition:
        """From what `to_dict` gave.

        Raises:
            DatasetError: It is not of that form (``stream_position_invalid``).
        """
        try:
            return strict.build(cls, data, "position")
        except strict.MappingError as error:
            raise DatasetError(f"{error}: begin anew", code="stream_position_invalid") from None


class ShardStream(Iterator["Sample"]):
    """Samples of shards, in an order that depends on the seed alone, epoch after epoch.

        stream = ShardStream(paths, seed=1, buffer=10_000, rank=rank, world=world)
        for sample in stream:                         # images.open(sample.picture())
            ...
            state["data"] = stream.position().to_dict()
        stream.seek(StreamPosition.from_dict(state["data"]))

    Each epoch shuffles the shards, gives every process its own, and draws from a buffer of ``buffer`` samples, whose
    pictures stay on disk until they are asked for. The number of processes must be the same when a run goes on.

    Args:
        shards: Uncompressed tars, as `read_shards` takes them; at least one a process.
        seed: Of the order.
        buffer: Samples to draw from; 1 keeps the order of a shard.
        rank: This process's number.
        world: How many processes there are.
        skip_broken: Pass over what cannot be read, noted in ``problems``, instead of raising it.

    Raises:
        DatasetError: Fewer shards than processes (``shards_too_few``); while it runs, a `DatasetProblems` for shards
            that cannot be read, and ``dataset_empty`` when an epoch has no sample.
    """

    def __init__(
        self,
        shards: Sequence[str | Path],
        *,
        seed: int,
        buffer: int = 1000,
        rank: int = 0,
        world: int = 1,
        split: str = "",
        skip_broken: bool = False,
    ) -> None:
        self.paths = [Path(shard) for shard in shards]
        if len(self.paths) < world:
            raise DatasetError(
                f"expected {world} shards or more for {world} processes, got {len(self.paths)}: write smaller ones",
                code="shards_too_few",
            )
        self.seed, self.size, self.rank, self.world = seed, max(1, buffer), rank, world
        self.skip_broken = skip_broken
        self.problems = Problems()
        self._reader = ShardReader(self.paths[0].parent, self.problems, split=split)
        self._begin(0)

    @property
    def epoch(self) -> int:
        """The current pass over the shards, from 0."""
        return self._epoch

    def __next__(self) -> Sample:
        self._fill()
        if not self._buffer and self._taken:
            self._begin(self._epoch + 1)
            self._fill()
        if not self._buffer:
            raise DatasetError("expected samples in the shards, got none in an epoch", code="dataset_empty")
        # A draw is a function of its number alone, so that no generator's state needs keeping.
        rng = np.random.default_rng([self.seed, self._epoch, self.rank, self._taken])
        index = int(rng.integers(len(self._buffer)))
        _, sample = self._buffer[index]
        self._buffer[index] = self._buffer[-1]
        self._buffer.pop()
        self._taken += 1
        return sample

    def position(self) -> StreamPosition:
        """Where the stream is: the next sample is the first that `seek` gives again."""
        return StreamPosition(
            shards=self._checksum(),
            epoch=self._epoch,
            taken=self._taken,
            shard=self._shard,
            offset=self._offset,
            buffer=tuple(place for place, _ in self._buffer),
        )

    def seek(self, position: StreamPosition) -> None:
        """Goes to a position; only the samples that waited in the buffer are read again.

        Raises:
            DatasetError: It is of other shards or settings, or the shards have changed (``stream_position_invalid``).
        """
        if position.shards != self._checksum():
            raise _other_shards()
        self._begin(position.epoch)
        self._taken = position.taken
        for shard, offset in position.buffer:
            if not 0 <= shard < len(self._order):
                raise _other_shards()
            found = next(self._reader.read(self._order[shard], offset), None)
            if found is None or found[0] != offset:
                raise _other_shards()
            self._buffer.append(((shard, offset), found[1]))
        self._shard, self._offset = position.shard, position.offset
        self._source = self._open()

    def _begin(self, epoch: int) -> None:
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.paths))
        self._order = [self.paths[index] for index in order[self.rank :: self.world]]
        self._epoch, self._taken, self._shard, self._offset = epoch, 0, 0, -1
        self._buffer: list[tuple[tuple[int, int], Sample]] = []
        self._source = self._open()

    def _open(self) -> Iterator[tuple[int, Sample]]:
        """The samples of the current shard that were not read yet."""
        if self._shard >= len(self._order):
            return iter(())
        samples = self._reader.read(self._order[self._shard], max(self._offset, 0))
        return samples if self._offset < 0 else islice(samples, 1, None)

    def _fill(self) -> None:
        while len(self._buffer) < self.size and self._shard < len(self._order):
            found = next(self._source, None)
            if not self.skip_broken:
                self.problems.raise_any()
            if found is None:
                self._shard, self._offset = self._shard + 1, -1
                self._source = self._open()
            else:
                start, sample = found
                self._buffer.append(((self._shard, start), sample))
                self._offset = start

    def _checksum(self) -> str:
        """Of what the order depends on; shards by name and size, so that a set may move to another folder."""
        parts = [f"{self.seed} {self.size} {self.rank} {self.world}"]
        parts += [f"{path.name} {path.stat().st_size if path.is_file() else -1}" for path in self.paths]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _other_shards() -> DatasetError:
    return DatasetError(
        "expected the position of a stream of the same shards, seed, buffer and processes, got another: begin anew",
        code="stream_position_invalid",
    )
