"""Read a run's YAML file safely and strictly, including its base config."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from medimageinsight.datasets import Problems
from medimageinsight.errors import ConfigError
from medimageinsight.files import strict
from medimageinsight.files.yaml import read_yaml
from medimageinsight.train.azureml_settings import read_azureml_settings
from medimageinsight.train.config import AzureMLData, FinetuneConfig, RunConfig, TrainConfig
from medimageinsight.train.validate_config import validate_values

if TYPE_CHECKING:
    from pathlib import Path

Config = TypeVar("Config", bound=RunConfig)
MAX_BASES = 2  # of a config: its base, and the base of that


def read_config(path: Path) -> RunConfig:
    """Read the YAML of a training or, if it has a section `start`, of a fine-tuning; see `read_config_as`."""
    mapping = load_mapping(path)
    return read_config_as(path, FinetuneConfig if isinstance(mapping, dict) and "start" in mapping else TrainConfig)


def read_config_as(path: Path, kind: type[Config], problems: Problems | None = None) -> Config:
    """Read a run's YAML (safe loading: no tags, no code), with the settings of its `base` and of an Azure ML YAML.

    Args:
        path: The file.
        kind: `TrainConfig` or `FinetuneConfig`.
        problems: Collects unknown keys and invalid values, so that they are reported together with problems of the
            data; unknown keys are not part of the returned config.

    Raises:
        ConfigError: The file is missing, is not YAML, or does not make a config (the message names the key). Without
            ``problems`` also all unknown keys and invalid values, in one list.
    """
    found = Problems() if problems is None else problems
    mapping, azureml_errors = _merge_azureml(load_mapping(path), path.parent)
    known, unknown = strict.known_part(kind, mapping)
    for key in unknown:
        found.add("config_key_unknown", key)
    try:
        config = strict.build(kind, known, "config")
    except strict.MappingError as error:
        errors = [str(error), *(f"{key}: unknown" for key in unknown), *azureml_errors]
        raise ConfigError("; ".join(errors)) from None
    if not config.stages:
        raise ConfigError("config.stages: expected at least one stage, got none")
    data = config.data
    given = [data.table is not None, bool(data.sources), data.original is not None].count(True)
    if given != 1:
        raise ConfigError(f"config.data: expected exactly one of table, sources and original, got {given}")
    validate_values(config, found)
    if problems is None and found:
        raise ConfigError("; ".join(f"{problem.location}: {problem.detail or 'unknown'}" for problem in found.found))
    return config


def load_mapping(path: Path) -> object:
    """Load the YAML of a file, merged into the file in the same folder that its key `base` names, if any.

    That file may have a base too. As a merge patch (RFC 7396): mappings are merged by key, null removes a key, any
    other value replaces the base's.
    """
    return _load_with_bases(read_yaml(path), path, MAX_BASES)


def _load_with_bases(own: object, path: Path, bases: int) -> object:
    if not isinstance(own, dict) or "base" not in own:
        return own
    if not bases:
        raise ConfigError(
            f"config.base: expected at most {MAX_BASES} bases, the last without a base of its own, got one with a base"
        )
    name = own.pop("base")
    if not isinstance(name, str) or "/" in name or "\\" in name:
        got = "a path with folders" if isinstance(name, str) else type(name).__name__
        raise ConfigError(f"config.base: expected the name of a config in the same folder, got {got}")
    base = read_yaml(path.with_name(name), name=name)
    return _merge(own, _load_with_bases(base, path, bases - 1))


def config_text(path: Path) -> str:
    """Return the config as written; with a base, the merged mapping as YAML."""
    import yaml

    own, merged = read_yaml(path), load_mapping(path)
    return path.read_text("utf-8") if own == merged else yaml.safe_dump(merged, sort_keys=False, allow_unicode=True)


def _merge(own: object, base: object) -> object:
    if not isinstance(own, dict):
        return own
    base = base if isinstance(base, dict) else {}
    merged = {**base, **{key: _merge(value, base.get(key)) for key, value in own.items()}}
    return {key: value for key, value in merged.items() if key not in own or own[key] is not None}


def _merge_azureml(own: object, folder: Path) -> tuple[object, list[str]]:
    """Return the mapping merged into the settings of an Azure ML YAML, if it names one, and the errors in that YAML.

    The errors explain a missing key of the merged mapping; otherwise `read_azureml` reports them.
    """
    data = own.get("data") if isinstance(own, dict) else None
    section = data.get("original") if isinstance(data, dict) else None
    if section is None:
        return own, []
    try:
        files = strict.build(AzureMLData, section, "config.data.original")
    except strict.MappingError:  # reported with the other errors of the config
        return own, []
    problems = Problems()
    merged = _merge(own, read_azureml_settings(files, folder, own, problems=problems))
    return merged, [str(problem) for problem in problems.found]
