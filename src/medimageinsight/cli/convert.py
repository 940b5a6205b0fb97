"""``mi2 convert``: convert a checkpoint to a bundle."""

from pathlib import Path
from typing import Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.errors import error_context
from medimageinsight.cli.options import AsJson
from medimageinsight.cli.tables import print_parity
from medimageinsight.errors import BundleError, CheckpointError, ConfigError, DatasetError


def convert(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="The release's folder, its weights file, or a trained model.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The bundle's folder, which must be new.")],
    precision: Annotated[
        str, typer.Option(metavar="fp32|fp16|int8", help="fp16: half the disk. int8: faster on many CPUs, not exact.")
    ] = "fp32",
    calibration: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER|TABLE", help="Labelled images that calibrate int8 and verify any precision."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Keep a bundle that exceeds its precision's bounds, marked as such.")
    ] = False,
    config: Annotated[Path | None, typer.Option(help="The config, where it is not next to the weights.")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="The tokenizer, where it is not next to the weights.")] = None,
    name: Annotated[str | None, typer.Option(help="The model's name. Default: the checkpoint's own.")] = None,
    model_card: Annotated[
        Path | None, typer.Option(metavar="F.md", help="The bundle's model card. Default: a short one is written.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing bundle.")] = False,
    as_json: AsJson = False,
) -> None:
    """Convert a checkpoint to a bundle, and verify that it gives the same embeddings.

    Put it into MI2_HOME/models/NAME to use it by its name. Needs the extra 'export'.
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
            precision=precision,  # type: ignore[arg-type]  # checked there
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
    size = sum(file.stat().st_size for file in bundle.folder.iterdir())
    output.note(f"{size / 1e6:,.1f} MB in {out}; use it with --model {out}")
