"""Finding the files of a checkpoint in the layouts it is distributed in.

- the public release's folder: ``config.yaml``, ``vision_model/*.pt``, ``language_model/*/vocab.json``, by itself or
  anywhere in a downloaded repository or MLflow folder;
- a single weights file, with its config and tokenizer next to it or given;
- this project's training result: ``model.safetensors``, ``model.json``, ``tokenizer.json``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medimageinsight.errors import CheckpointError, missing_extra

if TYPE_CHECKING:
    from collections.abc import Iterator

WEIGHTS_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
PROJECT_WEIGHTS, PROJECT_MODEL, PROJECT_TOKENIZER = "model.safetensors", "model.json", "tokenizer.json"
RELEASE_CONFIG = "config.yaml"

# A checkpoint's folder has a few dozen files; a search through more has started in the wrong folder.
MAX_DEPTH = 8
MAX_FILES = 20_000


@dataclass(frozen=True, kw_only=True)
class CheckpointFiles:
    """The three parts of a checkpoint."""

    weights: Path
    config: Path  # the release's config.yaml, or this project's model.json
    tokenizer: Path  # a tokenizer.json, or a folder with vocab.json and merges.txt


def find_checkpoint(
    path: str | Path, *, config: str | Path | None = None, tokenizer: str | Path | None = None
) -> CheckpointFiles:
    """Find the files of the checkpoint at `path`, a folder or a weights file.

    The config, and the tokenizer's file or folder, are given if they are not next to the weights.

    Raises:
        CheckpointError: A part is missing or found more than once (``checkpoint_not_found``,
            ``checkpoint_ambiguous``), or the folder is a bundle (``checkpoint_is_bundle``) or contains ONNX graphs
            instead of weights (``checkpoint_is_onnx``).
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise _not_found("a checkpoint folder or a weights file, got a path that does not exist")
    if path.suffix == ".onnx":
        raise _is_onnx([path])
    weights = path if path.is_file() else _find_weights(path)
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
    files = list(_walk(folder))
    weights = [file for file in files if file.suffix.lower() in WEIGHTS_SUFFIXES]
    if not weights:
        if graphs := [file for file in files if file.suffix.lower() == ".onnx"]:
            raise _is_onnx(graphs)
        raise _not_found(f"weights (*.safetensors, *.pt) in the folder, got {len(files)} files without any")
    # A release may contain other files with such extensions; the model's are safetensors by content.
    return _require_one([file for file in weights if _looks_like_safetensors(file)] or weights, "weights files")


def _find_config(weights: Path, root: Path) -> Path:
    folder = weights.parent
    for path in (folder / PROJECT_MODEL, folder / RELEASE_CONFIG, folder.parent / RELEASE_CONFIG):
        if path.is_file():
            return path
    found = [file for file in _walk(root) if file.name == RELEASE_CONFIG] if root.is_dir() else []
    if not found:
        raise _not_found(
            f"{RELEASE_CONFIG} or {PROJECT_MODEL} next to the weights, got weights without them: name it with --config"
        )
    return _require_one(found, f"{RELEASE_CONFIG} files")


def _find_tokenizer(weights: Path, root: Path) -> Path:
    if (weights.parent / PROJECT_TOKENIZER).is_file():
        return weights.parent / PROJECT_TOKENIZER
    for folder in (weights.parent, weights.parent.parent):
        found = [file.parent for pattern in ("", "language_model/*/") for file in folder.glob(pattern + "vocab.json")]
        if found := [folder for folder in found if (folder / "merges.txt").is_file()]:
            return _require_one(found, "tokenizers")
    vocabularies = [file.parent for file in _walk(root) if file.name == "vocab.json"] if root.is_dir() else []
    if not vocabularies:
        raise _not_found(
            f"vocab.json and merges.txt, or {PROJECT_TOKENIZER}, next to the weights, got weights without them: "
            "name them with --tokenizer"
        )
    return _require_one(vocabularies, "tokenizers")


def _check_given(path: str | Path | None) -> Path | None:
    if path is None:
        return None
    path = Path(path).expanduser()
    if not path.exists():
        raise _not_found("an existing config and tokenizer, got a path that does not exist")
    return path


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, sorted, without hidden folders and without following links to folders."""
    count = 0
    for parent, folders, names in os.walk(folder):
        depth = len(Path(parent).relative_to(folder).parts)
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if depth < MAX_DEPTH else []
        for name in sorted(names):
            count += 1
            if count > MAX_FILES:
                raise _not_found(f"a checkpoint's folder, got over {MAX_FILES:,} files: name the weights file")
            yield Path(parent) / name


def _looks_like_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(9)
    # The header's length as 8 bytes, then the header, which is JSON.
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") <= path.stat().st_size - 8


def _require_one(found: list[Path], kind: str) -> Path:
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
