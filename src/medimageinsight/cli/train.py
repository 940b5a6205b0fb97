"""``mi2 train``: train a model from scratch."""

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
Seed = Annotated[int | None, typer.Option(help="Overrides the config's seed.")]
NoBundle = Annotated[bool, typer.Option("--no-bundle", help="Do not convert the best model at the end.")]


def train(
    config: Config, out: Out = None, seed: Seed = None, no_bundle: NoBundle = False, as_json: AsJson = False
) -> None:
    """Train a model, or resume an interrupted run, and convert the best model to a bundle.

    A run resumes if its folder contains a state: repeat the command. With several processes: torchrun
    --nproc-per-node=N --module medimageinsight train CONFIG. Needs the extra 'train'.
    """
    try:
        from medimageinsight.train import train as train_model
    except ImportError:
        raise missing_extra("train", "training") from None
    run_training(train_model, config, out, seed, bundle=not no_bundle, as_json=as_json)


def run_training(
    run: Callable[..., Path], config: Path, out: Path | None, seed: int | None, *, bundle: bool, as_json: bool
) -> None:
    """Train or fine-tune with `run`, convert the best model to a bundle, and print the created folders."""
    from medimageinsight.export import convert
    from medimageinsight.train import HEAD

    folder = out or Path("runs") / (config.stem if seed is None else f"{config.stem}-seed{seed}")
    with error_context(config, ConfigError):
        best = run(config, folder, seed=seed, log=output.note)
    if os.environ.get("RANK", "0") != "0":  # only the main process converts
        return
    created = {"checkpoint": str(best)}
    if bundle:
        target = folder / "bundle"
        with error_context(target, BundleError), output.stages() as progress:
            converted = convert(best, target, overwrite=True, progress=progress)
        created["bundle"] = str(target)
        if (best / HEAD).exists():
            created["adapter"] = str(_save_adapter(best, converted.manifest, folder / "adapter.json"))
    if as_json:
        output.print_json(created)
    else:
        output.print_table(("created", "path"), list(created.items()))


def _save_adapter(best: Path, manifest: Manifest, target: Path) -> Path:
    """Convert the classification head of a run to an adapter for ``mi2 adapter predict``."""
    from medimageinsight.adapters import save_adapter
    from medimageinsight.bundle import ModelIdentity
    from medimageinsight.preprocess import Preprocessing
    from medimageinsight.train import HEAD, head_to_adapter

    model = json.loads((best / "model.json").read_text("utf-8"))
    head = json.loads((best / HEAD).read_text("utf-8"))
    identity = ModelIdentity.of(manifest, Preprocessing.from_dict(manifest.preprocessing))
    provenance = {name: value for name, value in model["provenance"].items() if name != "parents"}
    save_adapter(head_to_adapter(head, identity, provenance), target)
    return target
