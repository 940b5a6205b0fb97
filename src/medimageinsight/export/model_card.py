"""The model card of a bundle, composed of records alone: manifest, parity, the run, the evaluation.

Nothing in it is written by hand but the fixed sections below, which are true of every model.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from medimageinsight.bundle.bundle import EVALUATION_BEGIN, EVALUATION_END
from medimageinsight.bundle.provenance import tree
from medimageinsight.version import DISCLAIMER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medimageinsight.bundle.manifest import Manifest
    from medimageinsight.export.parity import Parity
    from medimageinsight.export.run_record import RunRecord

USE = """## Use

Images and texts as vectors of one space: to search, sort and compare pictures of the kinds the model was trained on, to
rank prompts, and to learn small classifiers on.

Not for: decisions about a person; kinds of pictures, findings and populations that neither training nor evaluation
covers. Every prompt gets a similarity, also one that means nothing to the model, and a softmax over prompts that all
are wrong still sums to 1. A finding may be told from a trait of its source rather than of the disease."""
NOT_EVALUATED = "`mi2 evaluate TABLE --update-card` writes its figures here."
_CURVE_ROWS = 12
_SHOWN = 200  # characters of a setting
_PATHS = {"checkpoint", "corpus", "path", "table"}  # settings of which the name alone is shown
# The settings of a run that a reader asks for, by their place in its config.
_SETTINGS = (
    ("Seed", ("seed",)),
    ("Precision", ("precision",)),
    ("Start", ("start",)),
    ("Tokenizer", ("tokenizer",)),
    ("Optimizer", ("optimizer",)),
    ("Image augmentation", ("images",)),
    ("Parallel", ("parallel",)),
)


def generate_model_card(manifest: Manifest, parity: Parity) -> str:
    """What is known of a model from its conversion alone, in Markdown."""
    return compose_model_card(manifest, parity)


def compose_model_card(
    manifest: Manifest, parity: Parity, *, run: RunRecord | None = None, evaluation: str | None = None
) -> str:
    """The whole card in Markdown; the parts that are not given are left out, or say how to make them.

    Args:
        manifest: The bundle's.
        parity: Of the conversion.
        run: The training's record.
        evaluation: The text between the evaluation marks, as `medimageinsight.evaluate.card_section` writes it.
    """
    parts = [
        f"# {manifest.name}",
        manifest.description or "A bundle of medimageinsight-onnx.",
        DISCLAIMER,
        _at_a_glance(manifest),
        USE,
        *([] if run is None else [_training(run, manifest)]),
        _agreement(parity),
        f"## Evaluation\n\n{NOT_EVALUATED}\n\n{EVALUATION_BEGIN}\n{EVALUATION_END}"
        if evaluation is None
        else f"## Evaluation\n\n{EVALUATION_BEGIN}\n{evaluation}\n{EVALUATION_END}",
        _origin(manifest),
    ]
    return "\n\n".join(parts) + "\n"


def _at_a_glance(manifest: Manifest) -> str:
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
    return _table(("", ""), rows)


def _training(run: RunRecord, manifest: Manifest) -> str:
    config = run.config
    rows = [(name, _setting(value)) for name, path in _SETTINGS if (value := _find(config, path)) is not None]
    if data := _data(config.get("data")):
        rows.insert(0, ("Data", data))
    parts = ["## Training", "From the run's own record.", _table(("Setting", "Value"), rows)]
    if isinstance(stages := config.get("stages"), list):
        shown = [stage for stage in stages if isinstance(stage, dict)]
        parts.append(
            _table(
                ("Stage", "Steps", "Pixels", "Batch", "Other settings"),
                [(str(place), *_stage(stage)) for place, stage in enumerate(shown, start=1)],
            )
        )
    chosen = manifest.provenance
    if isinstance(selected := chosen.get("selected_by"), str):
        parts.append(
            f"The model is the one of step {chosen.get('steps')}, chosen by {selected}: {chosen.get(selected)}."
        )
    if run.curve:
        parts += [f"The curve, {min(len(run.curve), _CURVE_ROWS)} of {len(run.curve)} points:", _curve(run.curve)]
    return "\n\n".join(parts)


def _agreement(parity: Parity) -> str:
    rows = [
        (name, str(one.inputs), f"{one.max_abs_diff:.2g}", f"{one.min_cosine:.7f}", f"{one.max_batch_diff:.2g}")
        for name, one in (("image", parity.image), ("text", parity.text))
    ]
    columns = ("encoder", "inputs", "largest difference", "smallest cosine", "alone against in a batch")
    found = parity.agreement
    forced = " **Forced: a figure is out of its bound.**" if parity.forced else ""
    return (
        f"## Agreement with PyTorch\n\n{_table(columns, rows)}\n\n"
        f"On {found.pictures} {'real' if found.real else 'made'} images and {found.labels} labels: smallest cosine "
        f"{found.min_cosine:.6f}, the same best label for {found.top1:.2%}, the same nearest ten for "
        f"{found.nearest_ten:.2%}.{forced}\n\n`mi2 verify` repeats the comparison on any machine."
    )


def _origin(manifest: Manifest) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in manifest.versions.items())
    made = f"Made {manifest.created}" + (f" with {versions}." if versions else ".")
    return "\n".join(["## Origin", "", "```", *tree(manifest), "```", "", made])


def _data(data: object) -> str:
    """Which tables and splits."""
    if not isinstance(data, dict):
        return ""
    named = [_base(data["table"])] if data.get("table") else []
    if isinstance(sources := data.get("sources"), list):
        named += [str(one.get("name") or one.get("kind") or "table") for one in sources if isinstance(one, dict)]
    if data.get("original"):
        named.append("a set in the original's format")
    splits = f"learnt on {data.get('train_split', 'train')}, chosen on {data.get('val_split', 'val')}"
    return f"{', '.join(named) or 'as configured'}; {splits}"


def _stage(stage: Mapping[str, Any]) -> tuple[str, ...]:
    known = ("steps", "image_size", "batch_size")
    others = {key: value for key, value in stage.items() if key not in known}
    return (*(str(stage.get(key, "–")) for key in known), _setting(others) if others else "–")


def _curve(rows: Sequence[Mapping[str, str]]) -> str:
    count = min(len(rows), _CURVE_ROWS)
    places = sorted({round(place * (len(rows) - 1) / max(count - 1, 1)) for place in range(count)})
    columns = tuple(column for column in rows[-1] if any(row.get(column) for row in rows))
    return _table(columns, [tuple(rows[place].get(column, "") for column in columns) for place in places])


def _find(config: Mapping[str, Any], path: Sequence[str]) -> object:
    found: object = config
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _setting(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        value = {key: one for key, one in value.items() if not isinstance(one, dict) or len(one) < 10}
        text = ", ".join(f"{key} {_setting(_base(one) if key in _PATHS else one)}" for key, one in value.items())
    else:
        text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _base(path: object) -> str:
    """The last part of a path; the folders above it are the reader's own business."""
    return str(path).replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n".join(
        "| " + " | ".join(" ".join(one.split()).replace("|", "\\|") for one in line) + " |" for line in lines
    )
