"""Finding the files of a checkpoint in the layouts it is distributed in.

- the public release's folder: ``config.yaml``, ``vision_model/*.pt``, ``language_model/*/vocab.json``, by itself or
  anywhere in a downloaded repository or MLflow folder;
- a single weights file, or an index of shards (``*.safetensors.index.json``), with its config and tokenizer next to it
  or given;
- this project's training result: ``model.safetensors``, ``model.json``, ``tokenizer.json``.

Symbolic links to files and folders are followed, as caches of downloads and version control of data have them.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medimageinsight.errors import CheckpointError, missing_extra
from medimageinsight.network.weights_files import (
    INDEX_SUFFIX,
    is_index,
    list_weights_files,
    looks_like_safetensors,
    refuse_other_formats,
    refuse_pointer,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

WEIGHTS_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
PROJECT_WEIGHTS, PROJECT_MODEL, PROJECT_TOKENIZER = "model.safetensors", "model.json", "tokenizer.json"
RELEASE_CONFIG = "config.yaml"

_SHARD = re.compile(r"(.+)-\d{5}-of-\d{5}\.safetensors")

# A checkpoint's folder has a few dozen files; a search through more has started in the wrong folder.
MAX_DEPTH = 8
MAX_FILES = 20_000


@dataclass(frozen=True, kw_only=True)
class CheckpointFiles:
    """The three parts of a checkpoint."""

    weights: Path  # safetensors, or an index of shards
    config: Path  # the release's config.yaml, or this project's model.json
    tokenizer: Path  # a tokenizer.json, or a folder with vocab.json and merges.txt


def find_checkpoint(
    path: str | Path, *, config: str | Path | None = None, tokenizer: str | Path | None = None
) -> CheckpointFiles:
    """Find the files of the checkpoint at `path`, a folder or a weights file.

    The config, and the tokenizer's file or folder, are given if they are not next to the weights.

    Raises:
        CheckpointError: A part is missing or found more than once (``checkpoint_not_found``,
            ``checkpoint_ambiguous``), or the folder is a bundle (``checkpoint_is_bundle``), or contains ONNX graphs
            (``checkpoint_is_onnx``), pickles (``checkpoint_is_pickle``) or Git LFS pointers (``checkpoint_is_pointer``)
            instead of weights.
    """
    path = Path(path).expanduser()
    if not path.exists():
        found = "a link to a file that does not exist" if path.is_symlink() else "a path that does not exist"
        raise _not_found(f"a checkpoint folder or a weights file, got {found}")
    if path.suffix == ".onnx":
        raise _is_onnx([path])
    weights = _index_of_shard(path) or path if path.is_file() else _find_weights(path)
    return CheckpointFiles(
        weights=weights,
        config=_check_given(config) or _find_config(weights, path),
        tokenizer=_check_given(tokenizer) or _find_tokenizer(weights, path),
    )


def _find_weights(folder: Path) -> Path:
    if (folder / "manifest.json").is_file() and (folder / "image_encoder.onnx").is_file():
        raise CheckpointError(
            "expected a checkpoint, got a bundle, which is already converted: use it directly",
            code="checkpoint_is_bundle",
        )
    if (folder / PROJECT_WEIGHTS).is_file():
        return folder / PROJECT_WEIGHTS
    files = list(walk_folder(folder))
    weights = [file for file in files if is_index(file) or file.suffix.lower() in WEIGHTS_SUFFIXES]
    graphs = [file for file in files if file.suffix.lower() == ".onnx"]
    if not weights:
        if graphs:
            raise _is_onnx(graphs)
        raise _not_found(f"weights (*.safetensors, *.pt) in the folder, got {len(files)} files without any")
    indices = [file for file in weights if is_index(file) and file.is_file()]
    shards = {shard for index in indices for shard in list_weights_files(index)}
    # A release may contain other files with such extensions; the model's are safetensors by content.
    single = [file for file in weights if file not in shards and looks_like_safetensors(file)]
    if not (found := indices + single):
        if graphs:  # the files are their external data, or pickles
            raise _is_onnx(graphs)
        existing = [file for file in weights if file.is_file()]
        for refuse in (refuse_pointer, refuse_other_formats):  # a pointer may be of the weights, a pickle of others
            for file in existing:
                refuse(file)
        if not existing:
            raise _not_found(f"weights in the folder, got {len(weights)} links to files that do not exist")
        found = existing
    if all(_SHARD.fullmatch(file.name) for file in found):
        raise _not_found(f"the index of the shards (*{INDEX_SUFFIX}) next to them, got {len(found)} shards without it")
    return require_one(found, "weights files")


def _index_of_shard(path: Path) -> Path | None:
    """Return the index that lists a shard; None for another file.

    Raises:
        CheckpointError: There is no index next to the shard (``checkpoint_not_found``).
    """
    if (match := _SHARD.fullmatch(path.name)) is None:
        return None
    index = path.with_name(match[1] + INDEX_SUFFIX)
    if not index.is_file():
        raise _not_found(f"the index of the shards (*{INDEX_SUFFIX}) next to them, got a shard without it")
    return index


def _folders_of(weights: Path) -> list[Path]:
    """Return the folder of a file and, if it is a link, that of the file itself."""
    return list(dict.fromkeys((weights.parent, weights.resolve().parent)))


def _find_config(weights: Path, root: Path) -> Path:
    for folder in _folders_of(weights):
        for path in (folder / PROJECT_MODEL, folder / RELEASE_CONFIG, folder.parent / RELEASE_CONFIG):
            if path.is_file():
                return path
    found = [file for file in walk_folder(root) if file.name == RELEASE_CONFIG] if root.is_dir() else []
    if not found:
        raise _not_found(
            f"{RELEASE_CONFIG} or {PROJECT_MODEL} next to the weights, got weights without them: name it with --config"
        )
    return require_one(found, f"{RELEASE_CONFIG} files")


def _find_tokenizer(weights: Path, root: Path) -> Path:
    for folder in _folders_of(weights):
        if (folder / PROJECT_TOKENIZER).is_file():
            return folder / PROJECT_TOKENIZER
    for folder in (parent for near in _folders_of(weights) for parent in (near, near.parent)):
        found = [file.parent for pattern in ("", "language_model/*/") for file in folder.glob(pattern + "vocab.json")]
        if found := [folder for folder in found if (folder / "merges.txt").is_file()]:
            return require_one(found, "tokenizers")
    vocabularies = [file.parent for file in walk_folder(root) if file.name == "vocab.json"] if root.is_dir() else []
    if not vocabularies:
        raise _not_found(
            f"vocab.json and merges.txt, or {PROJECT_TOKENIZER}, next to the weights, got weights without them: "
            "name them with --tokenizer"
        )
    return require_one(vocabularies, "tokenizers")


def _check_given(path: str | Path | None) -> Path | None:
    if path is None:
        return None
    path = Path(path).expanduser()
    if not path.exists():
        raise _not_found("an existing config and tokenizer, got a path that does not exist")
    return path


def walk_folder(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, sorted; hidden folders are skipped, links to folders followed, each once."""
    count, visited = 0, set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        depth = len(Path(parent).relative_to(folder).parts)
        if (real := os.path.realpath(parent)) in visited or depth > MAX_DEPTH:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            count += 1
            if count > MAX_FILES:
                raise _not_found(f"a checkpoint's folder, got over {MAX_FILES:,} files: name the weights file")
            yield Path(parent) / name


def require_one(found: list[Path], kind: str) -> Path:
    """Return the only path of a list.

    Raises:
        CheckpointError: There are several (``checkpoint_ambiguous``).
    """
    if len(found) > 1:
        raise CheckpointError(
            f"expected one checkpoint in the folder, got {len(found)} {kind}: "
            "name the weights file, --config and --tokenizer",
            code="checkpoint_ambiguous",
        )
    return found[0]


def _is_onnx(graphs: list[Path]) -> CheckpointError:
    """Describe the hosted ONNX edition or another folder of graphs, and what to convert instead."""
    shown = "; ".join(_describe_graph(path) for path in graphs[:4])
    return CheckpointError(
        f"expected a PyTorch checkpoint, got ONNX graphs ({shown}): mi2 convert makes a bundle of their folder; here, "
        "name the folder of the PyTorch edition (config.yaml, vision_model, language_model)",
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
    except Exception:  # protobuf's errors differ between its versions, and this is a description only
        return f"{path.name} cannot be read"
    description = f"{path.name} takes {', '.join(inputs)} and gives {', '.join(outputs)}"
    return description[:400].encode("unicode_escape").decode()  # names of a foreign file may reach a terminal


def _describe_value(value: Any) -> str:  # noqa: ANN401 (onnx has no types)
    import onnx

    dtype = onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower()
    shape = ", ".join(axis.dim_param or str(axis.dim_value) for axis in value.type.tensor_type.shape.dim)
    return f"{value.name} {dtype} ({shape})"


def _not_found(message: str) -> CheckpointError:
    return CheckpointError(f"expected {message}", code="checkpoint_not_found")
