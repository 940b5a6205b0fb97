"""``mi2 tag``: which tags an image has, each by a threshold of its own; ``mi2 tag fit`` chooses the thresholds."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from medimageinsight.cli import output
from medimageinsight.cli.arguments import DefaultGroup
from medimageinsight.cli.errors import FAILED_INPUT, error_context, reported
from medimageinsight.cli.loading import report_failures, steps_of
from medimageinsight.cli.options import AsJson, Frame, Model, Preprocessing, load_model
from medimageinsight.cli.sources import list_sources, open_source
from medimageinsight.cli.tag_fit import fit
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from medimageinsight.tagging.tags import Tagged, Tags

app = typer.Typer(
    cls=DefaultGroup,
    help="Tell which tags images have: mi2 tag FILE... --tagger T.json, --vocabulary modality, or --labels A B.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def apply(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE...", help="Images; folders are searched; - is standard input.", show_default=False
        ),
    ] = None,
    tagger: Annotated[Path | None, typer.Option(metavar="FILE", help="A file of `mi2 tag fit`.")] = None,
    vocabulary: Annotated[
        str | None, typer.Option(metavar="modality|anatomy|view", help="Ready-made terms that exclude each other.")
    ] = None,
    labels: Annotated[
        list[str] | None, typer.Option(metavar="A B ...", help="Tags of your own; they come after the files.")
    ] = None,
    template: Annotated[
        list[str] | None, typer.Option(help="With --labels: a prompt, as 'x-ray chest {}'. Several are averaged.")
    ] = None,
    negative: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="With --labels: a prompt of images without them; may come again."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=-1, max=1, help="Of probabilities 0.5 if not given; --labels without --negative need it."),
    ] = None,
    frame: Frame = 0,
    preprocessing: Preprocessing = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Tell which tags each image has: FILE... --tagger T.json, --vocabulary modality|anatomy|view, or --labels A B.

    With negative prompts a label's score is a probability, without them a cosine, which needs a threshold of its own.
    """
    from medimageinsight.tagging.tags import check_tags, thresholds_of

    sources = list_sources(files or [])
    if not sources:
        raise InputError("expected image files, got none: name them", code="files_missing")
    if sum(one is not None for one in (tagger, vocabulary, labels)) != 1:
        raise InputError("expected either --tagger or --vocabulary or --labels", code="tagger_missing")
    if tagger is not None and (threshold is not None or preprocessing is not None):
        raise InputError(
            "expected --threshold and --preprocessing with --vocabulary or --labels only: a tagger has its own",
            code="tagger_option_unused",
        )
    if labels is None and (template or negative):
        raise InputError("expected --template and --negative with --labels only", code="tagger_option_unused")
    tags, steps = _read(tagger) if tagger is not None else (_given(vocabulary, labels, template, negative), None)
    thresholds_of(tags, threshold)  # refused before the model is opened
    loaded = load_model(model, preprocessing if tagger is None else steps)
    with error_context(tagger):
        check_tags(tags, loaded.identity, threshold)
    with output.counting("tagging", len(sources)) as progress:
        found = loaded.tag(
            map(open_source, sources), tags, threshold=threshold, errors="return", frame=frame, progress=progress
        )
    results = list(zip(sources, found, strict=True))
    failed = report_failures(results)
    if as_json:
        output.print_json([_document(source, one) for source, one in results])
    elif failed < len(results):
        output.print_table(
            ("source", "tag", "score", "threshold"),
            [row for source, one in results if not isinstance(one, InputError) for row in _rows(source, one)],
        )
    if failed:
        raise typer.Exit(FAILED_INPUT)


for verb in (apply, fit):
    app.command()(reported(verb))


def _read(path: Path) -> "tuple[Tags, str | None]":
    """A tagger, and how images are prepared for it."""
    from medimageinsight.tagging.file import load_tagger

    with error_context(path):
        tagger = load_tagger(path)
    return tagger, steps_of(tagger.model)


def _given(
    vocabulary: str | None, labels: list[str] | None, template: list[str] | None, negative: list[str] | None
) -> "Tags":
    """A vocabulary's name, or the prompts of labels."""
    from medimageinsight.tagging.tagger import tag_prompts

    if vocabulary is not None:
        return vocabulary
    return tag_prompts(labels or [], template=template or None, negative=negative or ())


def _document(source: str, found: "dict[str, Tagged] | InputError") -> dict[str, object]:
    if isinstance(found, InputError):
        return {"source": source, "error": found.to_dict()}
    return {"source": source, "tags": {name: tag.to_dict() for name, tag in found.items()}}


def _rows(source: str, tags: "dict[str, Tagged]") -> "list[tuple[RenderableType, ...]]":
    """The tags that are there, the most certain first; its name stands in the first row only."""
    there = sorted((name for name, tag in tags.items() if tag.present), key=lambda name: -tags[name].score)
    if not there:
        return [(Text(output.printable(source)), "–", "", "")]
    return [
        (
            Text(output.printable(source) if place == 0 else ""),
            Text(output.printable(name), style="bold"),
            f"{tags[name].score:.3f}",
            f"{tags[name].threshold:.3f}",
        )
        for place, name in enumerate(there)
    ]
