"""``mi2 train``: a model from scratch."""

from pathlib import Path
from typing import Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.failures import about
from medimageinsight.cli.options import AsJson
from medimageinsight.errors import BundleError, ConfigError, missing_extra


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The run's YAML file.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The run's folder. Default: runs/NAME of the config's file.")
    ] = None,
    no_bundle: Annotated[bool, typer.Option("--no-bundle", help="Do not convert the best model at the end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a model, or go on with a run that was cut off, and make a bundle of the best one.

    A run goes on when its folder has a state: repeat the command. Needs the extra 'train'.
    """
    try:
        from medimageinsight.export.convert import convert
        from medimageinsight.train.loop import train as train_model
    except ImportError:
        raise missing_extra("train", "training") from None

    folder = out or Path("runs") / config.stem
    with about(config, ConfigError):
        best = train_model(config, folder, log=output.note)
    made = {"checkpoint": str(best)}
    if not no_bundle:
        bundle = folder / "bundle"
        with about(bundle, BundleError), output.stages() as progress:
            convert(best, bundle, overwrite=True, progress=progress)
        made["bundle"] = str(bundle)
    if as_json:
        output.print_json(made)
    else:
        output.print_table(("made", "folder"), list(made.items()))
