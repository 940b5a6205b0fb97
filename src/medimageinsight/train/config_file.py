"""A run's YAML file: read safely and strictly, and laid over another when it says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from medimageinsight.datasets import Problems, known_part
from medimageinsight.errors import ConfigError
from medimageinsight.files import strict
from medimageinsight.files.yaml import read_yaml
from medimageinsight.train.azureml_settings import settings_of
from medimageinsight.train.config import FinetuneConfig, OriginalData, RunConfig, TrainConfig
from medimageinsight.train.run_check import check_values

if TYPE_CHECKING:
    from pathlib import Path

Config = TypeVar("Config", bound=RunConfig)


def read_any(path: Path) -> RunConfig:
    """Reads the YAML of a training from scratch or of a fine-tuning; see `read_run`."""
    mapping = load_mapping(path)
    return read_run(path, FinetuneConfig if isinstance(mapping, dict) and "start" in mapping else TrainConfig)


def read_run(path: Path, kind: type[Config], problems: Problems | None = None) -> Config:
    """Reads a run's YAML (safe loading: no tags, no code), what it takes from its `base`, and from an original's YAML.

    Args:
        path: The file.
        kind: What it describes.
        problems: Collects unknown keys and values that cannot be, to be told together with what is wrong with the data;
            the config is returned without those keys.

    Raises:
        ConfigError: The file is missing, is not YAML, or does not make a config (the message names the key). Without
            ``problems`` also everything that they would collect, in one list.
    """
    found = Problems() if problems is None else problems
    mapping, original_faults = _over_original(load_mapping(path), path.parent)
    known, unknown = known_part(kind, mapping)
    for key in unknown:
        found.add("config_key_unknown", key)
    try:
        config = strict.build(kind, known, "config")
    except strict.MappingError as error:
        raise ConfigError("; ".join([str(error), *(f"{key}: unknown" for key in unknown), *original_faults])) from None
    if not config.stages:
        raise ConfigError("config.stages: expected at least one stage")
    data = config.data
    if sum((data.table is not None, bool(data.sources), data.original is not None)) != 1:
        raise ConfigError("config.data: expected exactly one of table, sources and original")
    check_values(config, found)
    if problems is None and found:
        raise ConfigError("; ".join(f"{one.place}: {one.detail or 'unknown'}" for one in found.found))
    return config


def load_mapping(path: Path) -> object:
    """The YAML of a file, laid over that of the file beside it which its key `base` names, if it has one.

    As a merge patch (RFC 7396): mappings key by key, null takes a key away, everything else takes the base's place.
    """
    own = read_yaml(path)
    if not isinstance(own, dict) or "base" not in own:
        return own
    name = own.pop("base")
    if not isinstance(name, str) or "/" in name or "\\" in name:
        raise ConfigError("config.base: expected the name of a config in the same folder")
    base = read_yaml(path.with_name(name), name=name)
    if isinstance(base, dict) and "base" in base:
        raise ConfigError("config.base: expected a config without a base of its own")
    return _laid_over(own, base)


def _laid_over(own: object, base: object) -> object:
    if not isinstance(own, dict):
        return own
    under = base if isinstance(base, dict) else {}
    merged = {**under, **{key: _laid_over(value, under.get(key)) for key, value in own.items()}}
    return {key: value for key, value in merged.items() if key not in own or own[key] is not None}


def _over_original(own: object, folder: Path) -> tuple[object, list[str]]:
    """The mapping laid over what the YAML of a dataset of the original says of training, where it names one.

    Second comes what of that YAML cannot be used, for where a key is missing; else `read_original` tells it.
    """
    data = own.get("data") if isinstance(own, dict) else None
    given = data.get("original") if isinstance(data, dict) else None
    if given is None:
        return own, []
    try:
        original = strict.build(OriginalData, given, "config.data.original")
    except strict.MappingError:  # told with everything else that is wrong with the config
        return own, []
    problems = Problems()
    mapping = _laid_over(own, settings_of(original, folder, own, problems=problems))
    return mapping, [str(one) for one in problems.found]


def config_text(path: Path) -> str:
    """The config as its author wrote it; with a base, what both say as one."""
    import yaml

    own, whole = read_yaml(path), load_mapping(path)
    return path.read_text("utf-8") if own == whole else yaml.safe_dump(whole, sort_keys=False, allow_unicode=True)
