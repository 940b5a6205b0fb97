"""A dataset with the YAML config that the hosted fine-tuning of the original takes, used without conversion."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medimageinsight.datasets.azureml_keys import EVALUATION_KEYS, EVALUATION_PREFIXES, KEYS, OPEN_SECTIONS, Key
from medimageinsight.datasets.lines import line_starts
from medimageinsight.datasets.problems import Problems
from medimageinsight.datasets.sample import Table, join_tables
from medimageinsight.datasets.texts import ClassNames
from medimageinsight.datasets.tsv import read_tsv
from medimageinsight.errors import ConfigError
from medimageinsight.files import strict
from medimageinsight.files.yaml import read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TRAIN, VALIDATION = "train", "val"  # splits
_SECTIONS = {name.rpartition(".")[0] for name in KEYS} - {""}
# How the original tells the files of a folder apart.
_IMAGE_MARKS = ("image-", "image_", "_image", "-image", "images-")
_TEXT_MARKS = ("text-", "text_", "_text", "-text", "texts-")


@dataclass(frozen=True, kw_only=True)
class OriginalFiles:
    """The inputs of the hosted fine-tuning, by their names there; what is not given is looked for in the config."""

    image_tsv: str | Path | None = None
    text_tsv: str | Path | None = None
    eval_image_tsv: str | Path | None = None
    eval_text_tsv: str | Path | None = None
    label_file: str | Path | None = None


@dataclass(frozen=True, kw_only=True)
class OriginalConfig:
    """What a config of the original asks for; None where it does not say. See `original_keys.KEYS` for the names.

    ``batch_size`` is of all processes together, as is ``learning_rate``; rates of ``learning_rate_patterns`` multiply
    it, and patterns are regular expressions for names of parameters.
    """

    name: str | None = None
    seed: int | None = None
    image_size: tuple[int, ...] | None = None  # (height, width), pixels
    drop_path: float | None = None
    gradient_checkpointing: bool | None = None
    workers: int | None = None
    crop_scale: tuple[float, ...] | None = None  # of the area
    crop_ratio: tuple[float, ...] | None = None  # width to height
    auto_augment: str | None = None
    erase: float | None = None  # probability
    horizontal_flip: float | None = None  # probability
    vertical_flip: float | None = None  # probability
    batch_size: int | None = None
    batch_size_per_process: int | None = None
    epochs: int | None = None
    learning_rate: float | None = None
    warmup_steps: int | None = None
    final_learning_rate: float | None = None
    weight_decay: float | None = None
    no_weight_decay: tuple[str, ...] = ()
    weight_decay_patterns: dict[str, float] = field(default_factory=dict)
    learning_rate_patterns: dict[str, float] = field(default_factory=dict)
    freeze: tuple[str, ...] = ()
    clip_norm: float | None = None
    ema_decay: float | None = None
    mixed_precision: bool | None = None
    checkpoint_every: int | None = None  # steps
    evaluate_every: int | None = None  # steps
    unused: dict[str, str] = field(default_factory=dict)  # keys that were read and left alone, with the reason


def read_original(
    path: str | Path,
    *,
    files: OriginalFiles = OriginalFiles(),
    problems: Problems | None = None,
) -> tuple[OriginalConfig, Table]:
    """Reads a config and the dataset that it, or ``files``, names: splits ``train`` and, where there is one, ``val``.

        config, table = read_original("train.yaml", files=OriginalFiles(image_tsv="train_images.tsv", ...))

    Paths in the config are relative to it. Nothing of it is run: no tags, no environment variables.

    Raises:
        ConfigError: The file cannot be read or is no YAML.
        DatasetProblems: Keys, values, files or rows cannot be used, and ``problems`` was not given to collect them.
    """
    found = Problems() if problems is None else problems
    data = _nested(_load(Path(path)))
    config = _config(data, found, Path(path).name)
    table = _dataset(data, files, Path(path).parent, found)
    if problems is None:
        found.raise_any()
    return config, table


def read_original_config(path: str | Path, *, problems: Problems | None = None) -> OriginalConfig:
    """The settings alone, those that can be used.

    Raises:
        ConfigError: The file cannot be read or is no YAML.
        DatasetProblems: Keys or values cannot be used, and ``problems`` was not given to collect them.
    """
    found = Problems() if problems is None else problems
    config = _config(_nested(_load(Path(path))), found, Path(path).name)
    if problems is None:
        found.raise_any()
    return config


def count_training(path: str | Path, *, files: OriginalFiles = OriginalFiles()) -> int:
    """How many training pictures `read_original` will find at most: the rows of its text TSVs.

    Raises:
        ConfigError: The file cannot be read or is no YAML.
    """
    _, texts = _training(_nested(_load(Path(path))), files, Path(path).parent)
    return sum(len(line_starts(one)) - 1 for one in texts if os.access(one, os.R_OK) and one.is_file())


def _load(path: Path) -> dict[str, Any]:
    data = read_yaml(path, name=path.name)
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise ConfigError(f"{path.name}: expected a mapping of names")
    return data


def _nested(data: Mapping[str, Any]) -> dict[str, Any]:
    """``TRAIN.SHUFFLE: true`` at the top is ``TRAIN: {SHUFFLE: true}``, as in the original."""
    result: dict[str, Any] = {}
    for key, value in data.items():
        *sections, last = key.split(".")
        inner = result
        for section in sections:
            inner = inner.setdefault(section, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"the config's {key}: expected a section before the dot")
        if isinstance(value, dict) and isinstance(inner.get(last), dict):
            inner[last] |= value
        else:
            inner[last] = value
    return result


def _leaves(data: Mapping[str, Any], section: str = "") -> Iterator[tuple[str, Key | None, Any]]:
    """Every setting: its full name, what becomes of it (None: not understood), its value."""
    for name, value in data.items():
        full = f"{section}{name}"
        if full.startswith(EVALUATION_PREFIXES) and "." not in full and isinstance(value, dict):
            yield from ((f"{full}.{key}", EVALUATION_KEYS.get(key), one) for key, one in value.items())
        elif isinstance(value, dict) and full in _SECTIONS and full not in OPEN_SECTIONS:
            yield from _leaves(value, f"{full}.")
        elif value is None and full in _SECTIONS:  # a section whose lines are all commented out
            continue
        elif section == "" and full.upper() in (
            "IMAGE_TSV",
            "TEXT_TSV",
            "EVAL_IMAGE_TSV",
            "EVAL_TEXT_TSV",
            "LABEL_FILE",
        ):
            yield full, KEYS[full.upper()], value
        else:
            yield full, KEYS.get(full), value


def _config(data: Mapping[str, Any], problems: Problems, file: str) -> OriginalConfig:
    """The settings; what is not understood or cannot be is noted as of the file."""
    known = {one.name for one in fields(OriginalConfig)}
    values: dict[str, Any] = {}
    unused: dict[str, str] = {}
    for name, key, value in _leaves(data):
        place = f"{file}: {name}"
        if key is None:
            problems.add("config_key_unknown", place)
        elif isinstance(value, str) and "${" in value:
            problems.add("config_value_invalid", place, "environment variables are not read: write the value")
        elif not _allowed(key, value):
            problems.add("config_value_invalid", place, f"expected {' or '.join(map(repr, key.values))}")
        elif key.kind == "unused":
            unused[name] = key.why
        elif key.kind == "used" and value is not None and key.field in known:
            try:
                one = strict.build(OriginalConfig, {key.field: _pair(key.field, value)}, name)
            except strict.MappingError as error:
                problems.add("config_value_invalid", place, str(error).rpartition(": ")[2])
            else:
                values[key.field] = getattr(one, key.field)
    return OriginalConfig(**values, unused=unused)


def _allowed(key: Key, value: object) -> bool:
    """Whether a key may have the value: one of those that it names, or nothing where it is used."""
    if not key.values or (key.kind == "used" and value is None):
        return True
    return any(value == one and type(value) is type(one) for one in key.values)


def _pair(name: str, value: object) -> object:
    """A single image size stands for both sides."""
    return [value, value] if name == "image_size" and type(value) is int else value


def _dataset(data: Mapping[str, Any], files: OriginalFiles, base: Path, problems: Problems) -> Table:
    tables = []
    classes = ClassNames(problems)
    label_file = _given(files.label_file, data, "label_file", base)
    for split, images, texts in (
        (TRAIN, *_training(data, files, base)),
        (VALIDATION, *_evaluation(data, files, base)),
    ):
        if images or texts:
            tables.append(
                read_tsv(
                    images, texts, label_file=label_file, split=split, root=base, problems=problems, classes=classes
                )
            )
        elif split == TRAIN:
            problems.add("file_missing", "IMAGE_TSV, TEXT_TSV", "neither given nor in the config")
    return join_tables(tables) if tables else Table(samples=(), root=base)


def _given(given: str | Path | None, data: Mapping[str, Any], name: str, base: Path) -> Path | None:
    """A file: as given; or of the config, at its top or in a section of an evaluation."""
    if given is not None:
        return Path(given)
    sections = [data, *(one for key, one in data.items() if key.startswith(EVALUATION_PREFIXES))]
    for section in sections:
        for key in (name.upper(), name):
            value = section.get(key) if isinstance(section, dict) else None
            if isinstance(value, str) and value:
                return base / value
    return None


def _training(data: Mapping[str, Any], files: OriginalFiles, base: Path) -> tuple[list[Path], list[Path]]:
    """The training set's files: as given, or of the config's top, or its list, or its folder."""
    top = {key: value for key, value in data.items() if not isinstance(value, dict)}
    images, texts = (_given(getattr(files, name), top, name, base) for name in ("image_tsv", "text_tsv"))
    if images or texts:
        return [images] if images else [], [texts] if texts else []
    section = data.get("DATASET")
    section = section if isinstance(section, dict) else {}
    folder = base / str(section.get("ROOT") or "") / str(section.get("TRAIN_SET") or "")
    listed = section.get("TRAIN_TSV_LIST") or []
    paths = [folder / one for one in listed if isinstance(one, str)] if isinstance(listed, list) else []
    if not paths and section.get("ROOT") and folder.is_dir():
        paths = list(folder.glob("**/*.tsv"))
    paths.sort()
    return (
        [path for path in paths if any(mark in path.name for mark in _IMAGE_MARKS)],
        [path for path in paths if any(mark in path.name for mark in _TEXT_MARKS)],
    )


def _evaluation(data: Mapping[str, Any], files: OriginalFiles, base: Path) -> tuple[list[Path], list[Path]]:
    images, texts = (_given(getattr(files, name), data, name, base) for name in ("eval_image_tsv", "eval_text_tsv"))
    return [images] if images else [], [texts] if texts else []
