"""What a folder states next to its graphs: preprocessing, tokenizer, context length, architecture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medimageinsight.errors import CheckpointError, ConfigError, MedImageInsightError
from medimageinsight.export.checkpoint_files import RELEASE_CONFIG, CheckpointFiles, require_one, walk_folder
from medimageinsight.export.model_description import MAX_CONFIG_BYTES, read_description
from medimageinsight.files.json import load_json
from medimageinsight.preprocess import Preprocessing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MLFLOW_FILE = "MLmodel"
HUB_PREPROCESSING = "preprocessor_config.json"
MAX_GRAPHS = 16
BICUBIC = 3  # Pillow's number, as processors of transformers store it


@dataclass(frozen=True, kw_only=True)
class GraphSettings:
    """What is known of a model next to its graphs."""

    preprocessing: Preprocessing
    tokenizer: Path  # a tokenizer.json, or a folder with vocab.json and merges.txt
    architecture: dict[str, Any] | None  # ModelConfig.to_dict(), if a release's config is there
    context_length: int | None
    hosted: bool  # the model of the hosted endpoint, or of its layout


def find_graphs(folder: Path) -> list[Path]:
    """Return the graphs below a folder, sorted.

    Raises:
        CheckpointError: There is none (``checkpoint_not_found``), or there are more than `MAX_GRAPHS`
            (``graph_role_ambiguous``).
    """
    graphs = [file for file in walk_folder(folder) if file.suffix.lower() == ".onnx"]
    if not graphs:
        raise CheckpointError("expected ONNX graphs in the folder, got none", code="checkpoint_not_found")
    if len(graphs) > MAX_GRAPHS:
        raise CheckpointError(
            f"expected at most {MAX_GRAPHS} graphs in the folder, got {len(graphs)}: name them with --from-onnx",
            code="graph_role_ambiguous",
        )
    return graphs


def read_settings(folder: Path, *, preprocessing: Path | None, tokenizer: Path | None) -> GraphSettings:
    """Read the settings below a folder; given files take the place of those that would be found.

    Raises:
        CheckpointError: A part is missing or found more than once (``checkpoint_not_found``,
            ``checkpoint_ambiguous``).
        ConfigError: The preprocessing cannot be read, or is one that this package does not compute.
    """
    file = preprocessing or _find_preprocessing(folder)
    vocabulary = _find_tokenizer(folder) if tokenizer is None else _within(tokenizer)
    architecture = context = None
    if file.suffix == ".json":
        steps = _read_json(file)
    else:
        description = read_description(CheckpointFiles(weights=file, config=file, tokenizer=vocabulary))
        steps, architecture = Preprocessing.from_dict(description.preprocessing), description.architecture
        context = int(architecture["text"]["context_length"])
    return GraphSettings(
        preprocessing=steps,
        tokenizer=vocabulary,
        architecture=architecture,
        context_length=context or _stated_length(vocabulary),
        hosted=architecture is not None or any(path.name == MLFLOW_FILE for path in walk_folder(folder)),
    )


def _find_preprocessing(folder: Path) -> Path:
    files = list(walk_folder(folder))
    for name in (RELEASE_CONFIG, HUB_PREPROCESSING, "preprocessing.json"):
        if found := [file for file in files if file.name == name]:
            return require_one(found, f"{name} files")
    raise CheckpointError(
        f"expected {RELEASE_CONFIG} or {HUB_PREPROCESSING} in the folder, got none: give a file with --preprocessing, "
        'such as {"image_size": [480, 480], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}',
        code="checkpoint_not_found",
    )


def _find_tokenizer(folder: Path) -> Path:
    files = list(walk_folder(folder))
    pairs = [file.parent for file in files if file.name == "vocab.json" and (file.parent / "merges.txt").is_file()]
    found = pairs or [file for file in files if file.name == "tokenizer.json"]
    if not found:
        raise CheckpointError(
            "expected vocab.json and merges.txt, or tokenizer.json, in the folder, got none: name it with --tokenizer",
            code="checkpoint_not_found",
        )
    return require_one(found, "tokenizers")


def _within(tokenizer: Path) -> Path:
    """Return the tokenizer that a given path means: a file, a folder of CLIP's two files, or of a tokenizer.json."""
    if not tokenizer.exists():
        raise CheckpointError(
            "expected an existing tokenizer, got a path that does not exist", code="checkpoint_not_found"
        )
    both = (tokenizer / "vocab.json").is_file() and (tokenizer / "merges.txt").is_file()
    return tokenizer if both or tokenizer.is_file() else tokenizer / "tokenizer.json"


def _stated_length(tokenizer: Path) -> int | None:
    """Return the length that a tokenizer_config.json states; other programs write huge numbers for no limit."""
    folder = tokenizer if tokenizer.is_dir() else tokenizer.parent
    try:
        length = _load(folder / "tokenizer_config.json").get("model_max_length")
    except ConfigError:
        return None
    return length if type(length) is int and 2 < length <= 100_000 else None


def _read_json(path: Path) -> Preprocessing:
    data = _load(path)
    try:
        if "image_mean" in data:
            return _of_processor(data)
        return Preprocessing.from_dict(dict(data))
    except (MedImageInsightError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            "preprocessing: expected image_size, mean and std, or the file of an image processor, got another document"
        ) from None


def _of_processor(data: Mapping[str, Any]) -> Preprocessing:
    """Read an image processor of transformers: one resize to a fixed size, bicubic, no crop that cuts."""
    size = data["size"]
    height, width = (size, size) if isinstance(size, int) else (size.get("height"), size.get("width"))
    crop = data.get("crop_size") if data.get("do_center_crop") else None
    whole = crop in (None, size) or (
        isinstance(crop, dict) and (crop.get("height"), crop.get("width")) == (height, width)
    )
    if not height or not width or not whole or data.get("resample", BICUBIC) != BICUBIC:
        raise ConfigError(
            "preprocessing: expected a bicubic resize to height and width without a crop, got other steps, which this "
            "package does not compute"
        )
    return Preprocessing(
        image_size=(int(height), int(width)), mean=_three(data["image_mean"]), std=_three(data["image_std"])
    )


def _three(values: Any) -> tuple[float, float, float]:  # noqa: ANN401 (any JSON)
    red, green, blue = map(float, values)
    return red, green, blue


def _load(path: Path) -> Mapping[str, Any]:
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ValueError
        data = load_json(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path.name}: expected a JSON object of at most {MAX_CONFIG_BYTES:,} bytes, got another file"
        )
    return data
