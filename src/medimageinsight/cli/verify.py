"""``mi2 verify``: whether a bundle is whole and gives the embeddings of its original."""

from pathlib import Path
from typing import Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.failures import about
from medimageinsight.cli.options import AsJson
from medimageinsight.cli.tables import print_parity


def verify(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="A bundle folder or a model's name.")],
    against: Annotated[
        Path | None,
        typer.Option(metavar="CHECKPOINT", help="Compare with this checkpoint in PyTorch and keep the figures."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="The checkpoint's config, where it is elsewhere.")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="The checkpoint's tokenizer, where it is elsewhere.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check a bundle's files and its embeddings on this machine.

    Without --against they are compared with what PyTorch gave when the bundle was made. Exit code 1: it fails.
    """
    from medimageinsight.bundle import Bundle, find
    from medimageinsight.errors import BundleError, CheckpointError, ConfigError, ParityError
    from medimageinsight.export.verify import verify_bundle

    with about(bundle, (BundleError, ParityError)), about(against, (CheckpointError, ConfigError)):
        opened = Bundle.open(find(bundle))
        parity = verify_bundle(opened, against, config=config, tokenizer=tokenizer)
    if as_json:
        output.print_json({"name": opened.manifest.name, "parity": parity.to_dict()})
        return
    print_parity(parity, title=f"{opened.manifest.name}: ONNX Runtime against PyTorch")
    output.note("all files are those the bundle was made with, and its embeddings are right")
