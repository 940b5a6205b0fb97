"""``mi2 info``: the manifest and provenance of a model."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.errors import error_context
from medimageinsight.cli.options import AsJson, Model
from medimageinsight.errors import InputError, ModelError

if TYPE_CHECKING:
    from medimageinsight.bundle import ValidationStatistics


def info(
    name: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="A model's name or bundle folder.", show_default=False)
    ] = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Show a model's manifest: its network, its files, and the models and data that it was made from."""
    from medimageinsight.bundle import Bundle, find, provenance_tree, read_statistics, read_words

    if name is not None and model is not None:
        raise InputError("expected one model, got an argument and --model: leave one out", code="model_twice")
    chosen = name or model
    with error_context(chosen, ModelError):
        bundle = Bundle.open(find(chosen))
        statistics, words = read_statistics(bundle), read_words(bundle)
    manifest = bundle.manifest
    if as_json:
        document = {"statistics": statistics and statistics.summary(), "words": None if words is None else len(words)}
        output.print_json({"folder": str(bundle.folder), **asdict(manifest), **document})
        return
    preprocessing = manifest.preprocessing
    rows = [
        ("description", manifest.description),
        ("folder", str(bundle.folder)),
        ("made", f"{manifest.created} with medimageinsight-onnx {manifest.versions.get('medimageinsight-onnx', '?')}"),
        ("embedding", f"{manifest.embedding_dim} numbers, {manifest.precision}"),
        ("logit scale", f"{manifest.logit_scale:.4f} (a logarithm)"),
        ("image input", "{1} x {0} pixels".format(*preprocessing["image_size"])),
        ("preprocessing", f"{preprocessing['default']}; for scoring {manifest.scoring_preprocessing}"),
        ("text input", f"at most {manifest.context_length} tokens"),
        ("validation statistics", _describe_statistics(statistics)),
        ("words learned", "unknown: no warning about other words" if words is None else f"{len(words):,}"),
        *((file, f"{entry.bytes / 1e6:,.2f} MB") for file, entry in manifest.files.items()),
        *((key, _format(value)) for key, value in manifest.provenance.items() if key != "parents"),  # printed below
    ]
    output.print_table((manifest.name, ""), [(key, output.printable(value, limit=None)) for key, value in rows])
    lines = provenance_tree(manifest)
    if len(lines) > 1:
        output.results().print("made from", style="bold")
        for line in lines:
            output.results().print(output.printable(line, limit=None), soft_wrap=True)


def _describe_statistics(statistics: "ValidationStatistics | None") -> str:
    if statistics is None:
        return "none: no image is marked as unlike those that the model was checked on (mi2 statistics)"
    data = statistics.data
    return f"{statistics.images:,} images of {data.get('table', '?')}, split {data.get('split') or 'all'}"


def _format(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
