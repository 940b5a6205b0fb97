"""``mi2 verify``: check a bundle's files, its parity with PyTorch, and its accuracy on labelled images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.errors import error_context
from medimageinsight.cli.options import AsJson, CheckpointConfig, CheckpointTokenizer
from medimageinsight.cli.verification_tables import print_accuracy, print_parity
from medimageinsight.errors import BundleError, CheckpointError, ConfigError, DatasetError, InputError, ParityError

if TYPE_CHECKING:
    from medimageinsight.datasets import Table

DEFAULT_SPLIT = "test"

BundleName = Annotated[str, typer.Argument(metavar="BUNDLE", help="A bundle folder or a model's name.")]
Against = Annotated[
    Path | None,
    typer.Option(metavar="CHECKPOINT", help="Compare with this checkpoint in PyTorch and store the result."),
]
Images = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER|TABLE", help="Also measure speed and accuracy on these images; one folder per label."),
]
Template = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="With a folder: the text to embed for a label, with {} for the label."),
]
Split = Annotated[
    str | None,
    typer.Option(help="With a table: the split to score. Default: test, or all images if the table has no test split."),
]


def verify(
    bundle: BundleName,
    against: Against = None,
    images: Images = None,
    template: Template = None,
    split: Split = None,
    config: CheckpointConfig = None,
    tokenizer: CheckpointTokenizer = None,
    as_json: AsJson = False,
) -> None:
    """Check a bundle's files and its embeddings on this machine, and with --images its accuracy and speed.

    Without --against the embeddings are compared with those of PyTorch at the time of conversion. Exit code 1: a check
    failed.
    """
    from medimageinsight.bundle import Bundle, find
    from medimageinsight.export import load_original, measure_accuracy
    from medimageinsight.export import verify as verify_bundle

    table = _read_images(images, template, split)
    with error_context(bundle, (BundleError, ParityError)), error_context(against, (CheckpointError, ConfigError)):
        opened = Bundle.open(find(bundle))
        original = None if against is None else load_original(opened, against, config=config, tokenizer=tokenizer)
        parity = verify_bundle(opened, original)
    document = {"name": opened.manifest.name, "parity": parity.to_dict()}
    if not as_json:
        compared = "PyTorch" if original is not None else opened.manifest.provenance.get("compared_with", "PyTorch")
        print_parity(parity, title=f"{opened.manifest.name}: ONNX Runtime against {compared}")
        output.note("all files are unchanged since the conversion, and the embeddings agree")
    if table is not None:
        scored = DEFAULT_SPLIT if split is None and DEFAULT_SPLIT in table.splits else split
        count = len(table if scored is None else table.of_split(scored))
        with error_context(images, DatasetError), output.counting("measuring", count) as progress:
            accuracy = measure_accuracy(opened, table, original=original, split=scored, progress=progress)
        document["accuracy"] = accuracy.to_dict()
        if not as_json:
            print_accuracy(accuracy)
    if as_json:
        output.print_json(document)


def _read_images(images: Path | None, template: str | None, split: str | None) -> "Table | None":
    """Read the table or folder of ``--images``; called first, so that a wrong call ends at once."""
    from medimageinsight.datasets import read_folder, read_table

    if images is None:
        if template is not None or split is not None:
            raise InputError(
                "expected --images with --template or --split, got none: name a folder or a table",
                code="images_missing",
            )
        return None
    if template is not None and not images.is_dir():
        raise InputError(
            "expected --template with a folder, got a table, which has its own captions: leave it out",
            code="template_unused",
        )
    with error_context(images, DatasetError):
        table = read_folder(images, template=template or "{}") if images.is_dir() else read_table(images)
        if split is not None:
            table.of_split(split)  # the whole table is returned, whose captions are the prompts
    return table
