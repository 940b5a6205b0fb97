"""``mi2 convert``: convert a checkpoint or ONNX graphs to a bundle."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.errors import error_context
from medimageinsight.cli.options import AsJson, CheckpointConfig, CheckpointTokenizer
from medimageinsight.cli.verification_tables import print_parity
from medimageinsight.errors import BundleError, CheckpointError, ConfigError, DatasetError, InputError

if TYPE_CHECKING:
    from medimageinsight.bundle import Bundle
    from medimageinsight.export import Names

Checkpoint = Annotated[
    Path | None,
    typer.Argument(
        metavar="CHECKPOINT",
        help="The released model's folder, its weights file, a trained model, or a folder of ONNX graphs.",
        show_default=False,
    ),
]
Out = Annotated[Path, typer.Option(metavar="DIR", help="The bundle's folder, which must not exist.")]
Precision = Annotated[
    str, typer.Option(metavar="fp32|fp16|int8", help="fp16: half the disk space. int8: faster on many CPUs, not exact.")
]
Calibration = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER|TABLE", help="Labelled images that calibrate int8 and verify any precision."),
]
Force = Annotated[
    bool, typer.Option("--force", help="Write a bundle even if it exceeds its precision's bounds, and mark it.")
]
Name = Annotated[str | None, typer.Option(help="The model's name. Default: the checkpoint's own.")]
ModelCard = Annotated[
    Path | None, typer.Option(metavar="F.md", help="The bundle's model card. Default: a short one is written.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing bundle.")]
FromOnnx = Annotated[
    list[Path] | None,
    typer.Option(metavar="GRAPH...", help="Instead of CHECKPOINT: an image and a text graph, or one graph of both."),
]
ImageInput = Annotated[str | None, typer.Option(metavar="NAME", help="Of graphs: the input of images.")]
TextInput = Annotated[str | None, typer.Option(metavar="NAME", help="Of graphs: the input of token ids.")]
MaskInput = Annotated[str | None, typer.Option(metavar="NAME", help="Of graphs: the input of the attention mask.")]
ImageOutput = Annotated[str | None, typer.Option(metavar="NAME", help="Of graphs: the embedding of an image.")]
TextOutput = Annotated[str | None, typer.Option(metavar="NAME", help="Of graphs: the embedding of a text.")]
PreprocessingFile = Annotated[
    Path | None,
    typer.Option(
        "--preprocessing",
        metavar="FILE",
        help="Of graphs: config.yaml, preprocessor_config.json, or JSON of image_size, mean, std. Default: its own.",
    ),
]
LogitScale = Annotated[
    float | None, typer.Option(metavar="X", help="Of graphs: the logarithm of the scale. Default: the graphs' own.")
]
Against = Annotated[
    Path | None, typer.Option(metavar="CHECKPOINT", help="Of graphs: also compare with this checkpoint in PyTorch.")
]


def convert(
    out: Out,
    checkpoint: Checkpoint = None,
    from_onnx: FromOnnx = None,
    precision: Precision = "fp32",
    calibration: Calibration = None,
    force: Force = False,
    config: CheckpointConfig = None,
    tokenizer: CheckpointTokenizer = None,
    name: Name = None,
    model_card: ModelCard = None,
    overwrite: Overwrite = False,
    image_input: ImageInput = None,
    text_input: TextInput = None,
    mask_input: MaskInput = None,
    image_output: ImageOutput = None,
    text_output: TextOutput = None,
    preprocessing: PreprocessingFile = None,
    logit_scale: LogitScale = None,
    against: Against = None,
    as_json: AsJson = False,
) -> None:
    """Convert a checkpoint or ONNX graphs to a bundle, and verify that it gives the same embeddings.

    A bundle is a folder that runs without PyTorch: use it with --model DIR, or put it into MI2_HOME/models/NAME to use
    it by its name. Needs the extra 'export'.
    """
    from medimageinsight.export import Names

    if (checkpoint is None) == (not from_onnx):
        raise InputError("expected CHECKPOINT or --from-onnx, got both or neither", code="checkpoint_missing")
    with error_context(model_card):
        card = None if model_card is None else model_card.read_text("utf-8")
    common = _Common(out, tokenizer, name, card, force, overwrite)
    names = Names(
        image_input=image_input,
        text_input=text_input,
        mask_input=mask_input,
        image_output=image_output,
        text_output=text_output,
    )
    if checkpoint is not None and not _has_graphs_alone(checkpoint):
        if names != Names() or preprocessing or logit_scale is not None or against:
            raise InputError("expected ONNX graphs with the options of graphs, got a checkpoint", code="graph_options")
        bundle = _convert_checkpoint(checkpoint, common, precision, calibration, config)
    else:
        if precision != "fp32" or calibration:
            raise InputError("expected no --precision with ONNX graphs, which have their own", code="graph_options")
        bundle = _convert_graphs(from_onnx or checkpoint, common, names, preprocessing or config, logit_scale, against)
    _report(bundle, out, as_json=as_json)


@dataclass(frozen=True)
class _Common:
    out: Path
    tokenizer: Path | None
    name: str | None
    card: str | None
    force: bool
    overwrite: bool


def _has_graphs_alone(checkpoint: Path) -> bool:
    """Return whether a path is a graph, or a folder of graphs without weights; other paths are not judged here."""
    from medimageinsight.export import find_checkpoint

    try:
        find_checkpoint(checkpoint)
    except CheckpointError as error:
        return error.code == "checkpoint_is_onnx"
    return False


def _convert_checkpoint(
    checkpoint: Path, common: _Common, precision: str, calibration: Path | None, config: Path | None
) -> "Bundle":
    from medimageinsight.export import convert as convert_checkpoint

    with (
        error_context(checkpoint, (CheckpointError, ConfigError)),
        error_context(calibration, DatasetError),
        error_context(common.out, BundleError),
        output.stages() as progress,
    ):
        return convert_checkpoint(
            checkpoint,
            common.out,
            name=common.name,
            precision=precision,  # type: ignore[arg-type]  # checked by convert_checkpoint
            calibration=calibration,
            force=common.force,
            config=config,
            tokenizer=common.tokenizer,
            overwrite=common.overwrite,
            model_card=common.card,
            progress=progress,
        )


def _convert_graphs(
    source: Path | list[Path] | None,
    common: _Common,
    names: "Names",
    preprocessing: Path | None,
    logit_scale: float | None,
    against: Path | None,
) -> "Bundle":
    from medimageinsight.export import convert_graphs

    shown = source[0] if isinstance(source, list) else source
    with (
        error_context(shown, (CheckpointError, ConfigError)),
        error_context(common.out, BundleError),
        output.stages() as progress,
    ):
        return convert_graphs(
            source or [],
            common.out,
            names=names,
            tokenizer=common.tokenizer,
            preprocessing=preprocessing,
            logit_scale=logit_scale,
            against=against,
            name=common.name,
            force=common.force,
            overwrite=common.overwrite,
            model_card=common.card,
            progress=progress,
        )


def _report(bundle: "Bundle", out: Path, *, as_json: bool) -> None:
    from medimageinsight.export import read_parity

    parity, _ = read_parity(bundle.folder, bundle.manifest.embedding_dim)
    if as_json:
        output.print_json({"name": bundle.manifest.name, "bundle": str(out), "parity": parity.to_dict()})
        return
    compared = bundle.manifest.provenance.get("compared_with", "PyTorch")
    print_parity(parity, title=f"{bundle.manifest.name}: ONNX Runtime against {compared}")
    if parity.text_precision is not None and parity.text_precision.chosen == "fp32":
        output.note(
            f"the text encoder stays float32: on a text that was not used to calibrate it, int8 gave a cosine of "
            f"{parity.text_precision.min_cosine:.4f}"
        )
    size = sum(file.stat().st_size for file in bundle.folder.iterdir())
    output.note(f"{size / 1e6:,.1f} MB in {out}; use it with --model {out}")
