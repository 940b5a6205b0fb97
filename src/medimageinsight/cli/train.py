"""``mi2 train``: a model from scratch."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from medimageinsight.bundle import Manifest
from medimageinsight.cli import output
from medimageinsight.cli.errors import error_context
from medimageinsight.cli.options import AsJson
from medimageinsight.errors import BundleError, ConfigError, missing_extra

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="The run's YAML file.")]
Out = Annotated[
    Path | None, typer.Option(metavar="DIR", help="The run's folder. Default: runs/NAME of the config's file.")
]
Seed = Annotated[int | None, typer.Option(help="In place of the config's.")]
NoBundle = Annotated[bool, typer.Option("--no-bundle", help="Do not convert the best model at the end.")]


def train(
    config: Config, out: Out = None, seed: Seed = None, no_bundle: NoBundle = False, as_json: AsJson = False
) -> None:
    """Train a model, or go on with a run that was cut off, and make a bundle of the best one.

    A run goes on when its folder has a state: repeat the command. Over several processes: torchrun --nproc-per-node=N
    --module medimageinsight train CONFIG. Needs the extra 'train'.
    """
    try:
        from medimageinsight.train.loop import train as train_model
    except ImportError:
        raise missing_extra("train", "training") from None
    go(train_model, config, out, seed, bundle=not no_bundle, as_json=as_json)


def go(
    run: Callable[..., Path], config: Path, out: Path | None, seed: int | None, *, bundle: bool, as_json: bool
) -> None:
    """Runs a training of either kind, makes the bundle and tells what was made."""
    from medimageinsight.export.conversion import convert
    from medimageinsight.train.head import HEAD

    folder = out or Path("runs") / (config.stem if seed is None else f"{config.stem}-seed{seed}")
    with error_context(config, ConfigError):
        best = run(config, folder, seed=seed, log=output.note)
    if os.environ.get("RANK", "0") != "0":  # of several processes, one goes on
        return
    made = {"checkpoint": str(best)}
    if bundle:
        target = folder / "bundle"
        with error_context(target, BundleError), output.stages() as progress:
            converted = convert(best, target, overwrite=True, progress=progress)
        made["bundle"] = str(target)
        if (best / HEAD).exists():
            made["adapter"] = str(_make_adapter(best, converted.manifest, folder / "adapter.json"))
    if as_json:
        output.print_json(made)
    else:
        output.print_table(("made", "where"), list(made.items()))


def _make_adapter(best: Path, manifest: Manifest, target: Path) -> Path:
    """The classification head of a run, for ``mi2 adapter predict``."""
    from medimageinsight.adapters.file import save_adapter
    from medimageinsight.bundle import ModelIdentity
    from medimageinsight.preprocess import Preprocessing
    from medimageinsight.train.head import HEAD, adapter_of_head

    model = json.loads((best / "model.json").read_text("utf-8"))
    head = json.loads((best / HEAD).read_text("utf-8"))
    identity = ModelIdentity.of(manifest, Preprocessing.from_dict(manifest.preprocessing))
    told = {name: value for name, value in model["provenance"].items() if name != "parents"}
    save_adapter(adapter_of_head(head, identity, told), target)
    return target
