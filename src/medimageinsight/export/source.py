"""Finding a checkpoint: what lies where in the layouts it comes in.

- the public release's folder: ``config.yaml``, ``vision_model/*.pt``, ``language_model/*/vocab.json``, alone or
  anywhere in a downloaded repository or MLflow folder;
- a bare weights file, with its config and tokenizer beside it or named;
- this project's own training result: ``model.safetensors``, ``model.json``, ``tokenizer.json``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from medimageinsight.errors import CheckpointError, ConfigError, missing_extra
from medimageinsight.files.strict import MappingError, build
from medimageinsight.files.yaml import read_yaml
from medimageinsight.network.config import ModelConfig
from medimageinsight.preprocess import Preprocessing

WEIGHTS_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
PROJECT_WEIGHTS, PROJECT_MODEL, PROJECT_TOKENIZER = "model.safetensors", "model.json", "tokenizer.json"
RELEASE_CONFIG = "config.yaml"

# A checkpoint's folder has a few dozen files; a search that meets more was started in the wrong place.
MAX_DEPTH = 8
MAX_FILES = 20_000
MAX_CONFIG_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class CheckpointFiles:
    """The three things a checkpoint is made of."""

    weights: Path
    config: Path  # the release's config.yaml, or this project's model.json
    tokenizer: Path  # a tokenizer.json, or a folder with vocab.json and merges.txt


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """What a checkpoint says about its model; the form of ``model.json``."""

    architecture: dict[str, Any]
    preprocessing: dict[str, Any]
    name: str | None = None
    description: str = ""
    scoring_preprocessing: Literal["direct", "azure"] = "direct"
    provenance: dict[str, Any] = field(default_factory=dict)


def find_checkpoint(
    path: str | Path, *, config: str | Path | None = None, tokenizer: str | Path | None = None
) -> CheckpointFiles:
    """The files of the checkpoint at `path`, a folder or a weights file.

    Args:
        path: What was downloaded or trained.
        config: The config, where it is not beside the weights.
        tokenizer: The tokenizer's file or folder, where it is not beside the weights.

    Raises:
        CheckpointError: Something is missing or comes more than once (``checkpoint_not_found``,
            ``checkpoint_ambiguous``), or the folder is a bundle (``checkpoint_is_bundle``) or holds ONNX graphs
            instead of weights (``checkpoint_is_onnx``).
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise _not_found("a checkpoint folder or a weights file, there is nothing at the given path")
    if path.suffix == ".onnx":
        raise _is_onnx([path])
    weights = path if path.is_file() else _find_weights(path)
    return CheckpointFiles(
        weights=weights,
        config=_given(config) or _find_config(weights, path),
        tokenizer=_given(tokenizer) or _find_tokenizer(weights, path),
    )


def read_description(files: CheckpointFiles) -> ModelDescription:
    """What the checkpoint's config says, in one form for all layouts.

    Raises:
        ConfigError: The config cannot be read, or describes another kind of network.
    """
    if files.config.suffix == ".json":
        return _read_project(files.config)
    return _read_release(files.config)


def _find_weights(folder: Path) -> Path:
    if (folder / "manifest.json").is_file() and (folder / "image_encoder.onnx").is_file():
        raise CheckpointError(
            "expected a checkpoint, got a bundle, which is converted already: use it as it is",
            code="checkpoint_is_bundle",
        )
    if (folder / PROJECT_WEIGHTS).is_file():
        return folder / PROJECT_WEIGHTS
    files = list(_walk(folder))
    weights = [file for file in files if file.suffix.lower() in WEIGHTS_SUFFIXES]
    if not weights:
        graphs = [file for file in files if file.suffix.lower() == ".onnx"]
        raise _is_onnx(graphs) if graphs else _not_found("weights (*.safetensors, *.pt) in the folder, there are none")
    # A release may bring other files of such endings along; the model's are safetensors by content.
    return _only([file for file in weights if _looks_like_safetensors(file)] or weights, "weights files")


def _find_config(weights: Path, root: Path) -> Path:
    near = [weights.parent / PROJECT_MODEL, weights.parent / RELEASE_CONFIG, weights.parent.parent / RELEASE_CONFIG]
    for path in near:
        if path.is_file():
            return path
    found = [file for file in _walk(root) if file.name == RELEASE_CONFIG] if root.is_dir() else []
    if not found:
        raise _not_found(
            f"{RELEASE_CONFIG} or {PROJECT_MODEL} beside the weights, there is none: name it with --config"
        )
    return _only(found, f"{RELEASE_CONFIG} files")


def _find_tokenizer(weights: Path, root: Path) -> Path:
    if (weights.parent / PROJECT_TOKENIZER).is_file():
        return weights.parent / PROJECT_TOKENIZER
    for folder in (weights.parent, weights.parent.parent):
        found = [file.parent for pattern in ("", "language_model/*/") for file in folder.glob(pattern + "vocab.json")]
        if found := [folder for folder in found if (folder / "merges.txt").is_file()]:
            return _only(found, "tokenizers")
    vocabularies = [file.parent for file in _walk(root) if file.name == "vocab.json"] if root.is_dir() else []
    if not vocabularies:
        raise _not_found(
            f"vocab.json and merges.txt, or {PROJECT_TOKENIZER}, beside the weights, there are none: "
            "name them with --tokenizer"
        )
    return _only(vocabularies, "tokenizers")


def _given(path: str | Path | None) -> Path | None:
    if path is None:
        return None
    path = Path(path).expanduser()
    if not path.exists():
        raise _not_found("the named config and tokenizer, one of them does not exist")
    return path


def _walk(folder: Path) -> Iterator[Path]:
    """Files below a folder, sorted, without hidden folders; links to folders are not followed."""
    count = 0
    for parent, folders, names in os.walk(folder):
        depth = len(Path(parent).relative_to(folder).parts)
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if depth < MAX_DEPTH else []
        for name in sorted(names):
            count += 1
            if count > MAX_FILES:
                raise _not_found(
                    f"a checkpoint's folder, this one has more than {MAX_FILES:,} files: name the weights file"
                )
            yield Path(parent) / name


def _looks_like_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(9)
    # The header's length as 8 bytes, then the header, which is JSON.
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") <= path.stat().st_size - 8


def _only(found: list[Path], what: str) -> Path:
    if len(found) > 1:
        raise CheckpointError(
            f"expected one checkpoint in the folder, found {len(found)} {what}: "
            "name the weights file, --config and --tokenizer",
            code="checkpoint_ambiguous",
        )
    return found[0]


def _read_project(path: Path) -> ModelDescription:
    try:
        return build(ModelDescription, json.loads(_read_text(path)), PROJECT_MODEL)
    except MappingError as error:
        raise ConfigError(str(error)) from None
    except (ValueError, RecursionError):
        raise ConfigError(f"{PROJECT_MODEL}: expected JSON, it cannot be parsed") from None


def _read_release(path: Path) -> ModelDescription:
    data = read_yaml(path, name=RELEASE_CONFIG)
    if not isinstance(data, Mapping):
        raise ConfigError(f"{RELEASE_CONFIG}: expected a mapping, got {type(data).__name__}")
    architecture = ModelConfig.from_release(data)
    preprocessing = Preprocessing(
        image_size=architecture.image.image_size,
        mean=_three_floats(data["IMAGE_ENCODER"], "IMAGE_MEAN"),
        std=_three_floats(data["IMAGE_ENCODER"], "IMAGE_STD"),
    )
    return ModelDescription(
        architecture=architecture.to_dict(),
        preprocessing=preprocessing.to_dict(),
        description="Converted from a checkpoint in the public release's layout.",
        scoring_preprocessing="azure",  # what the hosted endpoint does to every image
    )


def _three_floats(image_encoder: Mapping[str, Any], key: str) -> tuple[float, float, float]:
    try:
        red, green, blue = map(float, image_encoder[key])
    except (KeyError, TypeError, ValueError):
        raise ConfigError(f"{RELEASE_CONFIG}: expected IMAGE_ENCODER.{key} as three numbers") from None
    return red, green, blue


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ConfigError(f"{path.name}: expected at most {MAX_CONFIG_BYTES:,} bytes, the file is larger")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeError):
        raise ConfigError(f"{path.name}: expected a readable text file in UTF-8") from None


def _is_onnx(graphs: list[Path]) -> CheckpointError:
    """The hosted ONNX edition, or any other folder of graphs: says what they take and give, and what to do."""
    shown = "; ".join(_describe_graph(path) for path in graphs[:4])
    return CheckpointError(
        f"expected a PyTorch checkpoint, got ONNX graphs, which cannot be converted ({shown}): "
        "convert the folder of the PyTorch edition (config.yaml, vision_model, language_model) instead",
        code="checkpoint_is_onnx",
    )


def _describe_graph(path: Path) -> str:
    try:
        import onnx
    except ImportError:
        raise missing_extra("export", "reading ONNX graphs") from None
    try:
        graph = onnx.load(path, load_external_data=False).graph
        constants = {tensor.name for tensor in graph.initializer}
        inputs = [_describe_value(value) for value in graph.input if value.name not in constants]
        outputs = [_describe_value(value) for value in graph.output]
    except Exception:  # protobuf's errors differ between its versions, and this only describes
        return f"{path.name} cannot be read"
    description = f"{path.name} takes {', '.join(inputs)} and gives {', '.join(outputs)}"
    return description[:400].encode("unicode_escape").decode()  # these names are a stranger's and reach a terminal


def _describe_value(value: Any) -> str:  # noqa: ANN401 (onnx has no types)
    import onnx

    kind = onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower()
    shape = ", ".join(axis.dim_param or str(axis.dim_value) for axis in value.type.tensor_type.shape.dim)
    return f"{value.name} {kind} ({shape})"


def _not_found(message: str) -> CheckpointError:
    return CheckpointError(f"expected {message}", code="checkpoint_not_found")
