"""``mi2 convert``: convert a checkpoint to a bundle."""

from pathlib import Path
from typing import Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.errors import error_context
from medimageinsight.cli.options import AsJson, CheckpointConfig, CheckpointTokenizer
from medimageinsight.cli.verification_tables import print_parity
from medimageinsight.errors import BundleError, CheckpointError, ConfigError, DatasetError

Checkpoint = Annotated[
    Path,
    typer.Argument(metavar="CHECKPOINT", help="The released model's folder, its weights file, or a trained model."),
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


def convert(
    checkpoint: Checkpoint,
    out: Out,
    precision: Precision = "fp32",
    calibration: Calibration = None,
    force: Force = False,
    config: CheckpointConfig = None,
    tokenizer: CheckpointTokenizer = None,
    name: Name = None,
    model_card: ModelCard = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Convert a checkpoint to a bundle, and verify that it gives the same embeddings.

    A bundle is a folder that runs without PyTorch: use it with --model DIR, or put it into MI2_HOME/models/NAME to use
    it by its name. Needs the extra 'export'.
    """
    from medimageinsight.export import convert as convert_checkpoint
    from medimageinsight.export import read_parity

    with error_context(model_card):
        card = None if model_card is None else model_card.read_text("utf-8")
    with (
        error_context(checkpoint, (CheckpointError, ConfigError)),
        error_context(calibration, DatasetError),
        error_context(out, BundleError),
        output.stages() as progress,
    ):
        bundle = convert_checkpoint(
            checkpoint,
            out,
            name=name,
            precision=precision,  # type: ignore[arg-type]  # checked by convert_checkpoint
            calibration=calibration,
            force=force,
            config=config,
            tokenizer=tokenizer,
            overwrite=overwrite,
            model_card=card,
            progress=progress,
        )
    parity, _ = read_parity(bundle.folder, bundle.manifest.embedding_dim)
    if as_json:
        output.print_json({"name": bundle.manifest.name, "bundle": str(out), "parity": parity.to_dict()})
        return
    print_parity(parity, title=f"{bundle.manifest.name}: ONNX Runtime against PyTorch")
    if parity.text_precision is not None and parity.text_precision.chosen == "fp32":
        output.note(
            f"the text encoder stays float32: on a text that was not used to calibrate it, int8 gave a cosine of "
            f"{parity.text_precision.min_cosine:.4f}"
        )
    size = sum(file.stat().st_size for file in bundle.folder.iterdir())
    output.note(f"{size / 1e6:,.1f} MB in {out}; use it with --model {out}")
