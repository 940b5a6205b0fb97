"""The stored outputs of a teacher: the file format, and its strict checks. Works without PyTorch.

A safetensors file (no pickle) of N images in K augmented copies:

- ``features`` (N, K, F) float16, optional: an embedding of each copy.
- ``probabilities.NAME`` (n, K, C) float16: of each group of classes, for the n images to which it applies, in order.
- ``digests`` (N, 16) uint8: BLAKE2b of each image's file, so that another image under the same name is found.
- Its metadata: ``format``, ``ids`` (source and id of each image) and ``targets`` (copies, seed, augmentation, groups).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.errors import DatasetError
from medimageinsight.files import strict
from medimageinsight.train.image_augmentation import PixelAugmentation  # noqa: TC001 - read by strict.build

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from medimageinsight.datasets import Table

FORMAT = "medimageinsight-targets-1"
DIGEST_BYTES = 16
_SUM_TOLERANCE = 0.02  # of probabilities in float16
_MAX_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class TargetGroup:
    """Classes for which a teacher gives probabilities, such as the findings of one source.

    Args:
        name: A name without a meaning of its own.
        texts: The classes as prompts.
        sources: Sources to whose images the group applies; none: all images.
    """

    name: str
    texts: tuple[str, ...]
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TargetsHeader:
    """What a file of targets states about itself.

    Attributes:
        copies: Augmented copies of each image.
        seed: Of the augmentation; the random numbers of a copy depend on it, the copy's number, source and id.
        augmentation: The settings that made the copies.
        groups: The groups of classes.
        teacher: A description of the teacher, free text.
    """

    copies: int
    seed: int
    augmentation: PixelAugmentation
    groups: tuple[TargetGroup, ...] = ()
    teacher: str = ""


def image_names(table: Table) -> list[str]:
    """Return a name for each image that is unique over sources, and seeds its augmentation."""
    return [f"{sample.source}\0{name}" for sample, name in zip(table.samples, table.ids, strict=True)]


def image_digests(table: Table) -> NDArray[np.uint8]:
    """Return the BLAKE2b digest of each image's file or part of a file, (N, 16).

    Raises:
        ImageError: A file is missing or truncated.
    """
    digests = np.empty((len(table), DIGEST_BYTES), np.uint8)
    for row, sample in enumerate(table.samples):
        source = sample.image_source()
        content = source if isinstance(source, bytes) else source.read_bytes()
        digests[row] = np.frombuffer(hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest(), np.uint8)
    return digests


def group_rows(group: TargetGroup, table: Table) -> NDArray[np.int64]:
    """Return the rows of the images to which a group applies."""
    return np.flatnonzero([not group.sources or sample.source in group.sources for sample in table.samples])


def save_targets(path: Path, header: TargetsHeader, table: Table, tensors: dict[str, NDArray[Any]]) -> None:
    """Write a file of targets; `tensors` as the module describes, without ``digests``."""
    from safetensors.numpy import save_file

    from medimageinsight.train.run_files import replace_file

    sources = [sample.source for sample in table.samples]
    metadata = {
        "format": FORMAT,
        "ids": json.dumps(list(zip(sources, table.ids, strict=True))),
        "targets": json.dumps(asdict(header)),
    }
    content = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
    with replace_file(path) as partial:
        save_file({**content, "digests": image_digests(table)}, partial, metadata)


class StoredTargets:
    """The targets of the images of a table, checked.

    Attributes:
        header: What the file states about itself.
        features: (N, K, F) in the order of the file, or None.
        probabilities: Of each group, (n, K, C).
        sha256: Of the content, so that the same targets written again are the same.
    """

    def __init__(self, path: Path, table: Table) -> None:
        """Read the targets of all images of a table.

        Raises:
            DatasetError: The file is not one of targets or is damaged (``targets_invalid``), lacks images
                (``targets_incomplete``), or was made of other images under the same names (``targets_other_images``).
        """
        self.header, ids, tensors = _read(path)
        self.sha256 = _sha256(self.header, ids, tensors)
        numbers = {(source, name): row for row, (source, name) in enumerate(ids)}
        keys = [(sample.source, name) for sample, name in zip(table.samples, table.ids, strict=True)]
        missing = [" ".join(filter(None, key)) for key in keys if key not in numbers]
        if missing:
            raise DatasetError(
                f"expected targets of all {len(keys):,} images, got none of {len(missing):,}: {_some(missing)}. "
                "Write them again with the present data",
                code="targets_incomplete",
            )
        self.rows = np.array([numbers[key] for key in keys], np.int64)  # of the file, for each image of the table
        self._check_images(tensors.pop("digests"), table, keys)
        self.features = tensors.pop("features", None)
        self.probabilities = {group.name: tensors[f"probabilities.{group.name}"] for group in self.header.groups}
        self._group_rows: dict[str, NDArray[np.int64]] = {}
        for group in self.header.groups:
            applies = np.array([not group.sources or source in group.sources for source, _ in ids])
            self._group_rows[group.name] = np.where(applies, applies.cumsum() - 1, -1)
            _check_values(self.probabilities[group.name], (int(applies.sum()), self.header.copies), group)
        if self.features is not None:
            _check_features(self.features, (len(ids), self.header.copies))

    def _check_images(self, digests: NDArray[np.uint8], table: Table, keys: list[tuple[str, str]]) -> None:
        other = (digests[self.rows] != image_digests(table)).any(axis=1)
        if other.any():
            names = [" ".join(filter(None, keys[row])) for row in np.flatnonzero(other)]
            raise DatasetError(
                f"expected targets of the present images, got those of other files for {len(names):,}: {_some(names)}. "
                "Write them again with the present data",
                code="targets_other_images",
            )

    def features_of(self, rows: NDArray[np.int64], copies: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """Return the features (B, F) of one copy each of images of the table, None if there are none."""
        if self.features is None:
            return None
        return np.asarray(self.features[self.rows[rows], copies], np.float32)

    def probabilities_of(
        self, group: str, rows: NDArray[np.int64], copies: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the positions in the batch (b,) of the images to which a group applies, and their (b, C)."""
        own = self._group_rows[group][self.rows[rows]]
        positions = np.flatnonzero(own >= 0)
        return positions, np.asarray(self.probabilities[group][own[positions], copies[positions]], np.float32)


def _read(path: Path) -> tuple[TargetsHeader, list[tuple[str, str]], dict[str, NDArray[Any]]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise _invalid(f"a file of the format {metadata.get('format', 'without a name')!r}")
            header = strict.build(TargetsHeader, json.loads(metadata["targets"]), "targets")
            ids = [(str(source), str(name)) for source, name in json.loads(metadata["ids"])]
            needed = {"digests", *(f"probabilities.{group.name}" for group in header.groups)}
            if set(file.keys()) - {"features"} != needed:
                raise _invalid("tensors of other names than those of its groups")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except FileNotFoundError:
        raise _invalid("no such file") from None
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, strict.MappingError) as error:
        raise _invalid(f"a {type(error).__name__} while reading it") from None
    if header.copies < 1 or len(set(ids)) != len(ids):
        raise _invalid("no copies, or an image twice")
    if tensors["digests"].shape != (len(ids), DIGEST_BYTES) or tensors["digests"].dtype != np.uint8:
        raise _invalid(f"digests {tensors['digests'].shape}")
    return header, ids, tensors


def _check_features(values: NDArray[Any], expected: tuple[int, int]) -> None:
    if values.ndim != 3 or values.shape[:2] != expected or values.dtype.kind != "f":
        raise _invalid(f"features {values.shape} for {expected[0]} images in {expected[1]} copies")
    if not np.isfinite(values).all():
        raise _invalid("features that are not finite")


def _check_values(values: NDArray[Any], expected: tuple[int, int], group: TargetGroup) -> None:
    shape = (*expected, len(group.texts))
    name = f"probabilities of {group.name!r}"
    if values.shape != shape or values.dtype.kind != "f" or len(group.texts) < 2:
        raise _invalid(f"{name} {values.shape} instead of {shape}, with two classes or more")
    sums = values.sum(axis=2, dtype=np.float32)
    if not (values >= 0).all() or not (abs(sums - 1) <= _SUM_TOLERANCE).all():  # also where a value is NaN
        raise _invalid(f"{name} that are negative, not finite or have another sum than 1")


def _invalid(got: str) -> DatasetError:
    return DatasetError(
        f"expected a file of targets as write_targets makes it, got {got}: write it again", code="targets_invalid"
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_MAX_NAMED]) + (" ..." if len(names) > _MAX_NAMED else "")


def _sha256(header: TargetsHeader, ids: list[tuple[str, str]], tensors: dict[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(json.dumps([asdict(header), ids]).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].data)
    return digest.hexdigest()
