"""A teacher's outputs for the images of a config: computed and stored by `write_targets`, read by a run."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight import images
from medimageinsight.datasets import Problems, Table, join_tables, read_sources
from medimageinsight.errors import ConfigError, DatasetError
from medimageinsight.train.config_file import read_config
from medimageinsight.train.image_augmentation import augment_image, image_rng
from medimageinsight.train.run_files import make_folder, replace_file
from medimageinsight.train.samples import read_samples
from medimageinsight.train.targets import (
    StoredTargets,
    TargetGroup,
    TargetsHeader,
    group_rows,
    image_names,
    save_targets,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from medimageinsight.train.config import RunConfig

_UNLABELLED = "unlabelled"  # caption of images without one, in the checks of the data
_PART = 1024  # images of a part, which is computed again after an interruption


@dataclass(frozen=True, kw_only=True)
class Taught:
    """The images that a teacher saw, those of the training split first, and its stored outputs for them."""

    table: Table
    stored: StoredTargets

    def describe(self) -> dict[str, str]:
        """Return the SHA-256 of the targets and the description of the teacher, for the record of a run."""
        return {"targets": self.stored.sha256, "teacher": self.stored.header.teacher}


@dataclass(frozen=True, kw_only=True)
class TeacherOutput:
    """The outputs of a teacher for a batch.

    Attributes:
        features: (B, F), or None.
        probabilities: Of each group by name, (B, C) with sum 1; those of images to which it does not apply are ignored.
    """

    features: NDArray[np.floating] | None = None
    probabilities: dict[str, NDArray[np.floating]] = field(default_factory=dict)


def read_unlabelled(config: RunConfig, base: Path, problems: Problems | None = None) -> Table | None:
    """Read the images of `distill.unlabelled` as samples of the training split; None if there are none."""
    if config.distill is None or not config.distill.unlabelled:
        return None
    table = read_sources(config.distill.unlabelled, base, problems=problems, needs_captions=False)
    samples = (replace(sample, split=config.data.train_split, caption=_UNLABELLED) for sample in table)
    return replace(table, samples=tuple(samples))


def read_taught(config: RunConfig, base: Path, training: Table, unlabelled: Table | None) -> Taught | None:
    """Read the targets of a run; None without distillation.

    Raises:
        DatasetError: See `StoredTargets`.
        ConfigError: The config augments images otherwise than the teacher saw them (``targets_misfit``).
    """
    if config.distill is None:
        return None
    table = training if unlabelled is None else join_tables([training, unlabelled])
    stored = StoredTargets(base / config.distill.targets, table)
    if stored.header.augmentation != config.pixels:
        before, now = asdict(stored.header.augmentation), asdict(config.pixels)
        changed = ", ".join(key for key in now if before[key] != now[key])
        raise ConfigError(
            f"config.pixels: expected the augmentation of the targets, got a change of {changed}: write them again, or "
            "restore it",
            code="targets_misfit",
        )
    return Taught(table=table, stored=stored)


def write_targets(
    config_path: str | Path,
    teach: Callable[[NDArray[np.uint8]], TeacherOutput],
    groups: Sequence[TargetGroup] = (),
    *,
    copies: int = 4,
    image_size: int | None = None,
    teacher: str = "",
    batch_size: int = 64,
    log: Callable[[str], None] = print,
) -> Path:
    """Store a teacher's outputs for the training images of a config, for its `distill`; continue after an interruption.

        def teach(pixels):                                        # (B, S, S, 3) uint8
            features = embed(pixels)
            return TeacherOutput(features=features, probabilities={"chest": classify(features)})

        chest = TargetGroup(name="chest", texts=("x-ray chest Pneumonia", "x-ray chest No Finding"), sources=("cxr",))
        write_targets("student.yaml", teach, [chest], copies=8, image_size=224)
        train("student.yaml", "runs/student")

    Each image is augmented as the config's `pixels` specify, `copies` times; the seed is the config's.

    Args:
        config_path: The YAML of the student's run, with `distill.targets`, the file to write.
        teach: Returns the outputs for a batch of images.
        groups: The classes for which `teach` returns probabilities.
        copies: Augmented copies of each image.
        image_size: Pixels of a side that the teacher sees; the largest of the run's stages by default.
        teacher: A description of the teacher, for the record of the run.
        batch_size: Images at a time.
        log: Receives progress, one line at a time.

    Returns:
        The file.

    Raises:
        ConfigError: The config has no `distill`.
        DatasetError: Images cannot be read, or `teach` returned outputs of wrong shapes (``targets_invalid``).
    """
    path = Path(config_path)
    config = read_config(path)
    if config.distill is None:
        raise ConfigError("config.distill: expected a section with the file of the targets, got none")
    training = read_samples(config.data, path.parent, check=False, log=log).of_split(config.data.train_split)
    unlabelled = read_unlabelled(config, path.parent)
    table = training if unlabelled is None else join_tables([training, unlabelled])
    header = TargetsHeader(
        copies=copies, seed=config.seed, augmentation=config.pixels, groups=tuple(groups), teacher=teacher
    )
    size = image_size or max(stage.image_size for stage in config.stages)
    out = path.parent / config.distill.targets
    views = _Views(table, header, size, config.data.workers)
    parts = out.with_name(f"{out.name}.parts")
    make_folder(parts)
    files = []
    for start in range(0, len(table), _PART):
        rows = np.arange(start, min(start + _PART, len(table)))
        files.append(parts / f"{start:09}.safetensors")
        _write_part(files[-1], views, rows, teach, batch_size)
        log(f"targets of {rows[-1] + 1:,} of {len(table):,} images")
    save_targets(out, header, table, _join_parts(files, table, header))
    shutil.rmtree(parts)
    return out


class _Views:
    """The augmented copies of the images of a table, decoded in threads."""

    def __init__(self, table: Table, header: TargetsHeader, size: int, workers: int) -> None:
        self.table, self.header, self.size, self.workers = table, header, size, workers
        self.names = image_names(table)

    def of(self, row: int) -> NDArray[np.uint8]:
        """Return the copies of an image, (K, S, S, 3)."""
        sample, header = self.table.samples[row], self.header
        pixels = images.load(sample.image_source())
        kind = f"{sample.modality} {sample.anatomy}"
        rngs = (image_rng(header.seed, copy, self.names[row]) for copy in range(header.copies))
        return np.stack([augment_image(pixels, self.size, header.augmentation, rng, kind=kind) for rng in rngs])


def _write_part(
    file: Path,
    views: _Views,
    rows: NDArray[np.int64],
    teach: Callable[[NDArray[np.uint8]], TeacherOutput],
    batch_size: int,
) -> None:
    """Compute and store the outputs for some images, unless an earlier call with the same header did."""
    from safetensors import SafetensorError, safe_open
    from safetensors.numpy import save_file

    header = views.header
    description = json.dumps([asdict(header), views.size, [views.names[row] for row in rows]])
    try:
        with safe_open(file, framework="numpy") as stored:
            if (stored.metadata() or {}).get("part") == description:
                return
    except (SafetensorError, OSError):
        pass
    outputs: dict[str, list[NDArray[Any]]] = {}
    per_call = max(1, batch_size // header.copies)
    with ThreadPoolExecutor(views.workers) as pool:
        for start in range(0, len(rows), per_call):
            pixels = np.concatenate(list(pool.map(views.of, rows[start : start + per_call].tolist())))
            for name, values in _check_output(teach(pixels), len(pixels), header).items():
                outputs.setdefault(name, []).append(values)
    shape = (len(rows), header.copies, -1)
    tensors = {name: np.concatenate(values).reshape(shape) for name, values in outputs.items()}
    with replace_file(file) as partial:
        save_file(tensors, partial, {"part": description})


def _check_output(output: TeacherOutput, count: int, header: TargetsHeader) -> dict[str, NDArray[Any]]:
    """Return the outputs as float16 tensors by name; their values are checked when the file is read."""
    tensors: dict[str, NDArray[Any]] = {}
    if output.features is not None:
        tensors["features"] = np.asarray(output.features, np.float16)
        if tensors["features"].ndim != 2 or len(tensors["features"]) != count:
            raise _misshapen(f"features {tensors['features'].shape} for {count} images")
    if {group.name for group in header.groups} != output.probabilities.keys():
        raise _misshapen("probabilities of other groups")
    for group in header.groups:
        values = np.asarray(output.probabilities[group.name], np.float16)
        if values.shape != (count, len(group.texts)):
            raise _misshapen(f"probabilities of {group.name!r} {values.shape} for {count} images")
        tensors[f"probabilities.{group.name}"] = values
    return tensors


def _misshapen(got: str) -> DatasetError:
    return DatasetError(
        f"expected outputs of the teacher as TeacherOutput describes them, got {got}: correct `teach`",
        code="targets_invalid",
    )


def _join_parts(files: list[Path], table: Table, header: TargetsHeader) -> dict[str, NDArray[Any]]:
    from safetensors.numpy import load_file

    parts = [load_file(file) for file in files]
    tensors = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    for group in header.groups:
        name = f"probabilities.{group.name}"
        tensors[name] = tensors[name][group_rows(group, table)]
    return tensors
