"""Read the YAML config of the hosted (Azure ML) fine-tuning of the original model, and its dataset.

``azureml_keys.json`` lists the known keys: those of the release's ``config.yaml`` and of the published example of the
hosted fine-tuning. Any other key is an error: a setting that is silently ignored trains another model than requested.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medimageinsight.datasets.captions import ClassNames
from medimageinsight.datasets.line_offsets import line_offsets
from medimageinsight.datasets.problems import Problems
from medimageinsight.datasets.sample import Table, join_tables
from medimageinsight.datasets.tsv import read_tsv
from medimageinsight.errors import ConfigError
from medimageinsight.files import strict
from medimageinsight.files.yaml import read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True)
class _Key:
    """How one key is used; a key without any of these names a file of the dataset."""

    field: str = ""  # of `AzureMLConfig`, which receives the value
    values: tuple[Any, ...] = ()  # the only ones that are supported; all, if there are none
    why: str = ""  # the key is ignored


TRAIN, VALIDATION, TEST = "train", "val", "test"  # splits
_KEYS, _EVALUATION_KEYS = (
    {name: strict.build(_Key, key, name) for name, key in keys.items()}
    for keys in json.loads(resources.files(__package__).joinpath("azureml_keys.json").read_text("utf-8")).values()
)
_EVALUATION_PREFIXES = ("EVALDATASET_", "ZEROSHOT_EVAL_DATASET")  # of the sections with the keys of an evaluation
_SECTIONS = {name.rpartition(".")[0] for name in _KEYS} - {""}
# Mappings of patterns to numbers: their keys are defined by the user.
_OPEN_SECTIONS = ("CUSTOMIZED_PARAMS_CONF.WEIGHT_DECAY_PATTERNS", "CUSTOMIZED_PARAMS_CONF.LR_SCALE_PATTERNS")
# How the original recognises the files of a folder.
_IMAGE_MARKS = ("image-", "image_", "_image", "-image", "images-")
_TEXT_MARKS = ("text-", "text_", "_text", "-text", "texts-")


@dataclass(frozen=True, kw_only=True)
class AzureMLFiles:
    """The inputs of the hosted fine-tuning, by their names there; files that are None are looked up in the config."""

    image_tsv: str | Path | None = None
    text_tsv: str | Path | None = None
    eval_image_tsv: str | Path | None = None
    eval_text_tsv: str | Path | None = None
    test_image_tsv: str | Path | None = None
    test_text_tsv: str | Path | None = None
    label_file: str | Path | None = None


@dataclass(frozen=True, kw_only=True)
class AzureMLConfig:
    """The training settings of a config; None where it does not set one.

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
    prompt_engineering: bool | None = None  # class names within sentences; the original's default is true
    checkpoint_every: int | None = None  # steps
    evaluate_every: int | None = None  # steps
    unused: dict[str, str] = field(default_factory=dict)  # ignored keys, each with the reason


def read_azureml(
    path: str | Path,
    *,
    files: AzureMLFiles = AzureMLFiles(),
    problems: Problems | None = None,
) -> tuple[AzureMLConfig, Table]:
    """Read a config and its dataset, named in it or by ``files``: splits ``train`` and, if given, ``val`` and ``test``.

        config, table = read_azureml("train.yaml", files=AzureMLFiles(image_tsv="train_images.tsv", ...))

    Paths in the config are relative to it. Nothing in it is executed: no YAML tags, no environment variables.

    Raises:
        ConfigError: The file cannot be read or is not YAML.
        DatasetProblems: Keys, values, files or rows cannot be used, and ``problems`` was not given to collect them.
    """
    found = Problems() if problems is None else problems
    data = _load(Path(path))
    config = _parse_config(data, found, Path(path).name)
    table = _read_dataset(data, files, Path(path).parent, found)
    if problems is None:
        found.raise_any()
    return config, table


def read_azureml_config(path: str | Path, *, problems: Problems | None = None) -> AzureMLConfig:
    """Read the settings only.

    Raises:
        ConfigError: The file cannot be read or is not YAML.
        DatasetProblems: Keys or values cannot be used, and ``problems`` was not given to collect them.
    """
    found = Problems() if problems is None else problems
    config = _parse_config(_load(Path(path)), found, Path(path).name)
    if problems is None:
        found.raise_any()
    return config


def count_azureml_images(path: str | Path, *, files: AzureMLFiles = AzureMLFiles()) -> int:
    """Return the maximum number of training images that `read_azureml` can find: the rows of the text TSVs.

    Raises:
        ConfigError: The file cannot be read or is not YAML.
    """
    _, texts = _training_files(_load(Path(path)), files, Path(path).parent)
    return sum(len(line_offsets(file)) - 1 for file in texts if os.access(file, os.R_OK) and file.is_file())


def _load(path: Path) -> dict[str, Any]:
    data = read_yaml(path, name=path.name)
    if not isinstance(data, dict):
        raise ConfigError(f"{path.name}: expected a mapping of names, got {type(data).__name__}")
    if other := [key for key in data if not isinstance(key, str)]:
        raise ConfigError(f"{path.name}: expected a mapping of names, got a key of type {type(other[0]).__name__}")
    return _nest(data)


def _nest(data: Mapping[str, Any]) -> dict[str, Any]:
    """Turn ``TRAIN.SHUFFLE: true`` at the top into ``TRAIN: {SHUFFLE: true}``, as the original does."""
    result: dict[str, Any] = {}
    for key, value in data.items():
        *sections, last = key.split(".")
        inner = result
        for section in sections:
            inner = inner.setdefault(section, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"the config's {key}: expected a section before the dot, got {type(inner).__name__}")
        if isinstance(value, dict) and isinstance(inner.get(last), dict):
            inner[last] |= value
        else:
            inner[last] = value
    return result


def _iter_settings(data: Mapping[str, Any], section: str = "") -> Iterator[tuple[str, _Key | None, Any]]:
    """Yield each setting's full name, its key (None: unknown) and its value."""
    for name, value in data.items():
        full = f"{section}{name}"
        if full.startswith(_EVALUATION_PREFIXES) and "." not in full and isinstance(value, dict):
            yield from ((f"{full}.{key}", _EVALUATION_KEYS.get(key), item) for key, item in value.items())
        elif isinstance(value, dict) and full in _SECTIONS and full not in _OPEN_SECTIONS:
            yield from _iter_settings(value, f"{full}.")
        elif value is None and full in _SECTIONS:  # a section whose lines are all commented out
            continue
        elif section == "" and full.upper() in (file.name.upper() for file in fields(AzureMLFiles)):
            yield full, _KEYS[full.upper()], value
        else:
            yield full, _KEYS.get(full), value


def _parse_config(data: Mapping[str, Any], problems: Problems, file: str) -> AzureMLConfig:
    """Return the settings; unknown keys and invalid values are added to the problems with the file's name."""
    values: dict[str, Any] = {}
    unused: dict[str, str] = {}
    for name, key, value in _iter_settings(data):
        location = f"{file}: {name}"
        if key is None:
            problems.add("config_key_unknown", location)
        elif isinstance(value, str) and "${" in value:
            problems.add("config_value_invalid", location, "environment variables are not read: write the value")
        elif key.values and not _is_one_of(value, (*key.values, None) if key.field else key.values):
            problems.add("config_value_invalid", location, f"expected {' or '.join(map(repr, key.values))}")
        elif key.why:
            unused[name] = key.why
        elif key.field and value is not None:
            is_side = key.field == "image_size" and type(value) is int
            try:
                parsed = strict.build(AzureMLConfig, {key.field: [value, value] if is_side else value}, name)
            except strict.MappingError as error:
                problems.add("config_value_invalid", location, str(error).rpartition(": ")[2])
            else:
                values[key.field] = getattr(parsed, key.field)
    return AzureMLConfig(**values, unused=unused)


def _is_one_of(value: object, values: tuple[Any, ...]) -> bool:
    """Return True if a value of the same type is among the values: 0 is not False."""
    return any(value == allowed and type(value) is type(allowed) for allowed in values)


def _read_dataset(data: Mapping[str, Any], files: AzureMLFiles, base: Path, problems: Problems) -> Table:
    tables = []
    classes = ClassNames(problems)
    label_file = _find_file(files, data, "label_file", base)
    for split, (images, texts) in (
        (TRAIN, _training_files(data, files, base)),
        (VALIDATION, _find_pair(files, data, "eval_", base)),
        (TEST, _find_pair(files, data, "test_", base)),
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


def _find_file(files: AzureMLFiles, data: Mapping[str, Any], name: str, base: Path) -> Path | None:
    """Return a file as given, or from the top of the config, or from a section of an evaluation."""
    if (given := getattr(files, name)) is not None:
        return Path(given)
    sections = [data, *(section for key, section in data.items() if key.startswith(_EVALUATION_PREFIXES))]
    for section in sections:
        for key in (name.upper(), name):
            value = section.get(key) if isinstance(section, dict) else None
            if isinstance(value, str) and value:
                return base / value
    return None


def _find_pair(files: AzureMLFiles, data: Mapping[str, Any], prefix: str, base: Path) -> tuple[list[Path], list[Path]]:
    """Return at most one image TSV and at most one text TSV; their names begin with the prefix."""
    images, texts = (_find_file(files, data, f"{prefix}{name}", base) for name in ("image_tsv", "text_tsv"))
    return [images] if images else [], [texts] if texts else []


def _training_files(data: Mapping[str, Any], files: AzureMLFiles, base: Path) -> tuple[list[Path], list[Path]]:
    """Return the image and text TSVs: as given, or from the top of the config, or from its list or folder."""
    top = {key: value for key, value in data.items() if not isinstance(value, dict)}
    images, texts = _find_pair(files, top, "", base)
    if images or texts:
        return images, texts
    section = data.get("DATASET")
    section = section if isinstance(section, dict) else {}
    folder = base / str(section.get("ROOT") or "") / str(section.get("TRAIN_SET") or "")
    names = section.get("TRAIN_TSV_LIST") or []
    paths = [folder / name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    if not paths and section.get("ROOT") and folder.is_dir():
        paths = list(folder.glob("**/*.tsv"))
    images, texts = (
        [path for path in sorted(paths) if any(mark in path.name for mark in marks)]
        for marks in (_IMAGE_MARKS, _TEXT_MARKS)
    )
    return images, texts
