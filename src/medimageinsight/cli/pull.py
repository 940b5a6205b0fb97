"""``mi2 pull``: download the public release and convert it."""

from pathlib import Path
from typing import Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.convert import Calibration, Overwrite, Precision
from medimageinsight.cli.errors import error_context
from medimageinsight.cli.options import AsJson
from medimageinsight.cli.verification_tables import print_parity
from medimageinsight.errors import BundleError, DatasetError, InputError

DEFAULT_NAME = "medimageinsight"

Name = Annotated[str, typer.Argument(metavar="[NAME]", help="The model's name, for --model.", show_default=True)]
Out = Annotated[Path | None, typer.Option(metavar="DIR", help="The bundle's folder. Default: NAME in MI2_HOME/models.")]
Repository = Annotated[
    str | None,
    typer.Option(
        metavar="OWNER/NAME",
        envvar="MI2_PULL_REPOSITORY",
        help="The repository. Default: the public release, lion-ai/MedImageInsights.",
        show_envvar=True,
    ),
]
Folder = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        envvar="MI2_PULL_FOLDER",
        help="The release's folder in the repository. Default: 2024.09.27.",
        show_envvar=True,
    ),
]
Revision = Annotated[
    str | None,
    typer.Option(
        metavar="BRANCH|TAG|COMMIT",
        envvar="MI2_PULL_REVISION",
        help="The revision; its commit is recorded in the bundle. Default: main.",
        show_envvar=True,
    ),
]
Checkpoint = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The folder for the downloaded files. Default: in MI2_HOME/checkpoints."),
]
DeleteCheckpoint = Annotated[
    bool, typer.Option("--delete-checkpoint", help="Remove the downloaded files when the bundle is written.")
]


def pull(
    name: Name = DEFAULT_NAME,
    out: Out = None,
    repository: Repository = None,
    folder: Folder = None,
    revision: Revision = None,
    checkpoint: Checkpoint = None,
    delete_checkpoint: DeleteCheckpoint = False,
    precision: Precision = "fp32",
    calibration: Calibration = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Download the public release's weights from a hub, convert them to a bundle, and verify it.

    2.5 GB, of the MIT licence; an interrupted download continues when the command is run again. HF_ENDPOINT, HF_TOKEN,
    HTTPS_PROXY and HF_HUB_OFFLINE are used. No other verb downloads weights. Needs the extras 'hub' and 'export'.
    """
    from medimageinsight.bundle import home
    from medimageinsight.export import read_parity
    from medimageinsight.hub import PUBLIC_RELEASE, Release, default_checkpoint
    from medimageinsight.hub import pull as pull_release

    release = Release(
        repository=repository or PUBLIC_RELEASE.repository,
        folder=folder or PUBLIC_RELEASE.folder,
        revision=revision or PUBLIC_RELEASE.revision,
    )
    if Path(name).name != name:
        raise InputError("expected the name of a model, got a path: give it with --out", code="model_name_invalid")
    target = home() / "models" / name if out is None else out
    with error_context(calibration, DatasetError), error_context(target, BundleError), output.stages() as progress:
        bundle = pull_release(
            target,
            release=release,
            checkpoint=checkpoint,
            name=name if out is None else None,
            precision=precision,  # type: ignore[arg-type]  # checked by pull_release
            calibration=calibration,
            overwrite=overwrite,
            delete_checkpoint=delete_checkpoint,
            progress=progress,
        )
    parity, _ = read_parity(bundle.folder, bundle.manifest.embedding_dim)
    download = bundle.manifest.provenance["download"]
    if as_json:
        document = {"name": bundle.manifest.name, "bundle": str(target), "download": download}
        output.print_json(document | {"parity": parity.to_dict()})
        return
    print_parity(parity, title=f"{bundle.manifest.name}: ONNX Runtime against PyTorch")
    output.note(f"{release.repository}, {release.folder}, commit {download['revision']}")
    if not delete_checkpoint:
        output.note(f"the checkpoint remains in {checkpoint or default_checkpoint(release)}")
    output.note(f"use it with --model {name if out is None else out}")
