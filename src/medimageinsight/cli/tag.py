"""``mi2 tag``: tags of images by a threshold for each tag; ``mi2 tag fit`` chooses the thresholds."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from medimageinsight.cli import output
from medimageinsight.cli.arguments import DefaultGroup
from medimageinsight.cli.errors import FAILED_INPUT, error_context, reported
from medimageinsight.cli.labelled_tables import print_failed_sources, training_preprocessing
from medimageinsight.cli.options import AsJson, Files, Frame, Model, Preprocessing, load_model
from medimageinsight.cli.sources import list_sources, open_source
from medimageinsight.cli.tag_fit import fit
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from medimageinsight.tagging import TagResult, Tags

app = typer.Typer(
    cls=DefaultGroup,
    help="Tag images: mi2 tag FILE... --tagger T.json, --vocabulary modality, or --labels A B.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

TaggerFile = Annotated[Path | None, typer.Option(metavar="FILE", help="A file of `mi2 tag fit`.")]
Vocabulary = Annotated[
    str | None, typer.Option(metavar="modality|anatomy|view", help="Ready-made terms that exclude each other.")
]
TagLabels = Annotated[
    list[str] | None, typer.Option(metavar="A B ...", help="Tags of your own; they come after the files.")
]
TagTemplate = Annotated[
    list[str] | None, typer.Option(help="With --labels: a prompt, as 'x-ray chest {}'. Several are averaged.")
]
Negative = Annotated[
    list[str] | None,
    typer.Option(metavar="TEXT", help="With --labels: a prompt of images without them; repeatable."),
]
Threshold = Annotated[
    float | None,
    typer.Option(min=-1, max=1, help="Default: 0.5 for probabilities; required for --labels without --negative."),
]


def apply(
    files: Files = None,
    tagger: TaggerFile = None,
    vocabulary: Vocabulary = None,
    labels: TagLabels = None,
    template: TagTemplate = None,
    negative: Negative = None,
    threshold: Threshold = None,
    frame: Frame = 0,
    preprocessing: Preprocessing = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Tag images: FILE... --tagger T.json, --vocabulary modality|anatomy|view, or --labels A B.

    With negative prompts a label's score is a probability, without them a cosine, which needs its own threshold.
    """
    from medimageinsight.tagging import check_tags, tag_thresholds

    sources = list_sources(files or [])
    if not sources:
        raise InputError("expected image files, got none: name them", code="files_missing")
    if (count := sum(choice is not None for choice in (tagger, vocabulary, labels))) != 1:
        raise InputError(
            f"expected one of --tagger, --vocabulary and --labels, got {count} of them", code="tagger_missing"
        )
    if tagger is not None and (threshold is not None or preprocessing is not None):
        raise InputError(
            "expected --threshold and --preprocessing with --vocabulary or --labels only: a tagger has its own",
            code="tagger_option_unused",
        )
    if labels is None and (template or negative):
        raise InputError("expected --template and --negative with --labels only", code="tagger_option_unused")
    if tagger is not None:
        tags, preprocessing = _read_tagger(tagger)
    else:
        tags = _prompts_or_vocabulary(vocabulary, labels, template, negative)
    tag_thresholds(tags, threshold)  # refused before the model is opened
    loaded = load_model(model, preprocessing)
    with error_context(tagger):
        check_tags(tags, loaded.identity, threshold)
    with output.counting("tagging", len(sources)) as progress:
        tagged = loaded.tag(
            map(open_source, sources), tags, threshold=threshold, errors="return", frame=frame, progress=progress
        )
    results = list(zip(sources, tagged, strict=True))
    failed = print_failed_sources(results)
    if as_json:
        output.print_json([_to_dict(source, result) for source, result in results])
    elif failed < len(results):
        output.print_table(
            ("source", "tag", "score", "threshold"),
            [row for source, result in results if not isinstance(result, InputError) for row in _rows(source, result)],
        )
    if failed:
        raise typer.Exit(FAILED_INPUT)


for verb in (apply, fit):
    app.command()(reported(verb))


def _read_tagger(path: Path) -> "tuple[Tags, str | None]":
    """Read a tagger and the preprocessing of its images."""
    from medimageinsight.tagging import load_tagger

    with error_context(path):
        tagger = load_tagger(path)
    return tagger, training_preprocessing(tagger.model)


def _prompts_or_vocabulary(
    vocabulary: str | None, labels: list[str] | None, template: list[str] | None, negative: list[str] | None
) -> "Tags":
    """Return the vocabulary's name, or the prompts of labels."""
    from medimageinsight.tagging import tag_prompts

    if vocabulary is not None:
        return vocabulary
    return tag_prompts(labels or [], template=template or None, negative=negative or ())


def _to_dict(source: str, result: "dict[str, TagResult] | InputError") -> dict[str, object]:
    if isinstance(result, InputError):
        return {"source": source, "error": result.to_dict()}
    return {"source": source, "tags": {name: tag.to_dict() for name, tag in result.items()}}


def _rows(source: str, tags: "dict[str, TagResult]") -> "list[tuple[RenderableType, ...]]":
    """Return the rows of an image's present tags, highest score first; only the first row names the source."""
    present = sorted((name for name, tag in tags.items() if tag.present), key=lambda name: -tags[name].score)
    if not present:
        return [(Text(output.printable(source)), "–", "", "")]
    return [
        (
            Text(output.printable(source) if row == 0 else ""),
            Text(output.printable(name), style="bold"),
            f"{tags[name].score:.3f}",
            f"{tags[name].threshold:.3f}",
        )
        for row, name in enumerate(present)
    ]
