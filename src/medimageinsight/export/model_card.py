"""The model card of a bundle, composed from records: manifest, parity, training run and evaluation.

The fixed sections below are true of every model.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from medimageinsight.bundle import EVALUATION_BEGIN, EVALUATION_END, provenance_tree
from medimageinsight.reports import markdown_table
from medimageinsight.version import DISCLAIMER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medimageinsight.bundle import Manifest
    from medimageinsight.export.parity import Parity
    from medimageinsight.export.run_record import RunRecord

USE = """## Use

Images and texts as vectors of one space: to search, sort and compare images of the kinds the model was trained on, to
rank prompts, and to train small classifiers.

Not for: decisions about a person; kinds of images, findings and populations that neither training nor evaluation
covers. Every prompt gets a similarity, also one that means nothing to the model, and a softmax over prompts that are
all wrong still sums to 1. The model may recognise a finding by a trait of its source rather than of the disease."""
NOT_EVALUATED = "`mi2 evaluate TABLE --update-card` writes its figures here."
MAX_CURVE_ROWS = 12
MAX_SETTING_LENGTH = 200  # characters
MAX_MAPPING_LENGTH = 10  # entries; longer mappings inside a setting are left out
_PATH_SETTINGS = {"checkpoint", "corpus", "path", "table"}  # shown without their folders
# The settings of a run that are shown, with their keys in its config.
_SETTINGS = (
    ("Seed", "seed"),
    ("Precision", "precision"),
    ("Start", "start"),
    ("Tokenizer", "tokenizer"),
    ("Optimizer", "optimizer"),
    ("Image augmentation", "images"),
    ("Parallel", "parallel"),
)


def compose_model_card(
    manifest: Manifest, parity: Parity, *, run: RunRecord | None = None, evaluation: str | None = None
) -> str:
    """Compose the card in Markdown; without a run or an evaluation their sections are left out or explained.

    Args:
        manifest: The bundle's.
        parity: The conversion's.
        run: The training's record.
        evaluation: The text between the evaluation marks, as `medimageinsight.evaluate.card_section` writes it.
    """
    parts = [
        f"# {manifest.name}",
        manifest.description or "A bundle of medimageinsight-onnx.",
        DISCLAIMER,
        _summary(manifest),
        USE,
        *([] if run is None else [_training(run, manifest)]),
        _agreement(parity, str(manifest.provenance.get("compared_with", "PyTorch"))),
        f"## Evaluation\n\n{NOT_EVALUATED}\n\n{EVALUATION_BEGIN}\n{EVALUATION_END}"
        if evaluation is None
        else f"## Evaluation\n\n{EVALUATION_BEGIN}\n{evaluation}\n{EVALUATION_END}",
        _origin(manifest),
    ]
    return "\n\n".join(parts) + "\n"


def _summary(manifest: Manifest) -> str:
    height, width = manifest.preprocessing["image_size"]
    checkpoint = manifest.provenance.get("checkpoint", {})
    rows = [
        ("Input", f"{height} x {width} pixels, or text of up to {manifest.context_length} tokens"),
        ("Output", f"embeddings of {manifest.embedding_dim} numbers, L2-normalised, one space for images and texts"),
        ("Precision", manifest.precision),
        ("Logit scale", f"{manifest.logit_scale:.4f} (a logarithm)"),
        ("Checkpoint", f"SHA-256 `{checkpoint.get('sha256', 'unknown')}`"),
        ("Licence", str(manifest.provenance.get("licence") or "that of the checkpoint")),
    ]
    return markdown_table(("", ""), rows)


def _training(run: RunRecord, manifest: Manifest) -> str:
    config = run.config
    rows = [(name, _format(value)) for name, key in _SETTINGS if (value := config.get(key)) is not None]
    if data := _data(config.get("data")):
        rows.insert(0, ("Data", data))
    parts = ["## Training", "From the run's own record.", markdown_table(("Setting", "Value"), rows)]
    if isinstance(stages := config.get("stages"), list):
        columns = ("steps", "image_size", "batch_size")
        stage_rows = []
        for number, stage in enumerate((stage for stage in stages if isinstance(stage, dict)), start=1):
            rest = {key: value for key, value in stage.items() if key not in columns}
            shown = (str(stage.get(key, "–")) for key in columns)
            stage_rows.append((str(number), *shown, _format(rest) if rest else "–"))
        parts.append(markdown_table(("Stage", "Steps", "Pixels", "Batch", "Other settings"), stage_rows))
    provenance = manifest.provenance
    if isinstance(metric := provenance.get("selected_by"), str):
        parts.append(
            f"The model is the one of step {provenance.get('steps')}, chosen by {metric}: {provenance.get(metric)}."
        )
    if run.curve:
        parts += [f"The curve, {min(len(run.curve), MAX_CURVE_ROWS)} of {len(run.curve)} points:", _curve(run.curve)]
    return "\n\n".join(parts)


def _agreement(parity: Parity, compared: str) -> str:
    rows = [
        (name, str(part.inputs), f"{part.max_abs_diff:.2g}", f"{part.min_cosine:.7f}", f"{part.max_batch_diff:.2g}")
        for name, part in (("image", parity.image), ("text", parity.text))
    ]
    columns = ("encoder", "inputs", "largest difference", "smallest cosine", "alone against in a batch")
    agreement = parity.agreement
    forced = " **Forced: a figure is out of its bound.**" if parity.forced else ""
    return (
        f"## Agreement with {compared}\n\n{markdown_table(columns, rows)}\n\n"
        f"On {agreement.images} {'real' if agreement.real else 'generated'} images and {agreement.labels} labels: "
        f"smallest cosine {agreement.min_cosine:.6f}, the same best label for {agreement.top1:.2%}, "
        f"the same nearest ten for {agreement.nearest_ten:.2%}.{forced}\n\n{_text_precision(parity)}"
        "`mi2 verify` repeats the comparison on any machine."
    )


def _text_precision(parity: Parity) -> str:
    """Return a paragraph about the text encoder of an int8 bundle, or the empty string."""
    if (judged := parity.text_precision) is None:
        return ""
    choice = "is int8" if judged.chosen == "int8" else "stays float32"
    return (
        f"The text encoder {choice}: on {judged.held_out} texts that were not used to calibrate it, the smallest "
        f"cosine between int8 and float32 is {judged.min_cosine:.4f}.\n\n"
    )


def _origin(manifest: Manifest) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in manifest.versions.items())
    created = f"Made {manifest.created}" + (f" with {versions}." if versions else ".")
    return "\n".join(["## Origin", "", "```", *provenance_tree(manifest), "```", "", created])


def _data(data: object) -> str:
    """Name the tables and the splits."""
    if not isinstance(data, dict):
        return ""
    names = [_file_name(data["table"])] if data.get("table") else []
    if isinstance(sources := data.get("sources"), list):
        mappings = [source for source in sources if isinstance(source, dict)]
        names += [str(source.get("name") or source.get("kind") or "table") for source in mappings]
    if data.get("original"):
        names.append("a set in the original's format")
    splits = f"trained on {data.get('train_split', 'train')}, chosen on {data.get('val_split', 'val')}"
    return f"{', '.join(names) or 'as configured'}; {splits}"


def _curve(rows: Sequence[Mapping[str, str]]) -> str:
    """Show rows at equal distances, the first and the last included, without empty columns."""
    count = min(len(rows), MAX_CURVE_ROWS)
    indices = sorted({round(step * (len(rows) - 1) / max(count - 1, 1)) for step in range(count)})
    columns = tuple(column for column in rows[-1] if any(row.get(column) for row in rows))
    return markdown_table(columns, [tuple(rows[index].get(column, "") for column in columns) for index in indices])


def _format(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        shown = {
            key: item for key, item in value.items() if not isinstance(item, dict) or len(item) < MAX_MAPPING_LENGTH
        }
        text = ", ".join(
            f"{key} {_format(_file_name(item) if key in _PATH_SETTINGS else item)}" for key, item in shown.items()
        )
    else:
        text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_SETTING_LENGTH else f"{text[: MAX_SETTING_LENGTH - 1]}…"


def _file_name(path: object) -> str:
    """Return the last part of a path, since the folders above it may be private."""
    return str(path).replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
