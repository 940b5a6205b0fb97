"""A run's YAML file: read safely, and laid over another when it says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.errors import ConfigError, missing_extra

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 1 << 20


def load_mapping(path: Path) -> object:
    """The YAML of a file, laid over that of the file beside it which its key `base` names, if it has one.

    As a merge patch (RFC 7396): mappings key by key, null takes a key away, everything else takes the base's place.
    """
    own = _load(path)
    if not isinstance(own, dict) or "base" not in own:
        return own
    name = own.pop("base")
    if not isinstance(name, str) or "/" in name or "\\" in name:
        raise ConfigError("config.base: expected the name of a config in the same folder")
    base = _load(path.with_name(name))
    if isinstance(base, dict) and "base" in base:
        raise ConfigError("config.base: expected a config without a base of its own")
    return _laid_over(own, base)


def _laid_over(own: object, base: object) -> object:
    if not isinstance(own, dict):
        return own
    under = base if isinstance(base, dict) else {}
    merged = {**under, **{key: _laid_over(value, under.get(key)) for key, value in own.items()}}
    return {key: value for key, value in merged.items() if key not in own or own[key] is not None}


def _load(path: Path) -> object:
    try:
        import yaml
    except ImportError:
        raise missing_extra("train", "reading a training config") from None
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError("the config is larger than 1 MiB: expected a short YAML file")
        return yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"the config cannot be read: {error.strerror}", code="config_not_found") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"the config is not valid YAML: {' '.join(str(error).split())}") from None


def config_text(path: Path) -> str:
    """The config as its author wrote it; with a base, what both say as one."""
    import yaml

    own, whole = _load(path), load_mapping(path)
    return path.read_text("utf-8") if own == whole else yaml.safe_dump(whole, sort_keys=False, allow_unicode=True)
