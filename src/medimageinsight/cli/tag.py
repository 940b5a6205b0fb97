"""``mi2 tag``: tags of images by a threshold for each tag; ``mi2 tag fit`` chooses the thresholds."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from medimageinsight.cli import output
from medimageinsight.cli.arguments import DefaultGroup
from medimageinsight.cli.errors import FAILED_INPUT, error_context
from medimageinsight.cli.options import (
    AcceptMaps,
    AsJson,
    Files,
    Frame,
    Model,
    Percentiles,
    Preprocessing,
    Window,
    choose_window,
    load_model,
    load_model_of,
)
from medimageinsight.cli.reading_options import ReadingOptions
from medimageinsight.cli.results import format_cosine, mark_row, name_first_row, print_results, warn_of_unknown
from medimageinsight.cli.tag_fit import fit
from medimageinsight.cli.tag_reports import check_folder, write_reports
from medimageinsight.cli.verbs import register
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from medimageinsight.cli.results import Row
    from medimageinsight.tagging import ImageTags, Tags

app = typer.Typer(
    cls=DefaultGroup,
    help="Tag images: mi2 tag FILE... --tagger T.json, --vocabulary modality, or --labels A B.",
    no_args_is_help=True,
)

TaggerFile = Annotated[Path | None, typer.Option(metavar="FILE", help="A file written by `mi2 tag fit`.")]
Vocabulary = Annotated[
    str | None, typer.Option(metavar="modality|anatomy|view", help="Built-in tags; an image has at most one.")
]
TagLabels = Annotated[
    list[str] | None, typer.Option(metavar="A B ...", help="Tags of your own; they come after the files.")
]
TagTemplate = Annotated[
    list[str] | None,
    typer.Option(help="With --labels: the text to embed for a label, as 'x-ray chest {}'. Several are averaged."),
]
Negative = Annotated[
    list[str] | None,
    typer.Option(metavar="TEXT", help="With --labels: a text that describes images without them; repeatable."),
]
Threshold = Annotated[
    float | None,
    typer.Option(min=-1, max=1, help="Lowest score of a tag. Default: 0.5; required for --labels without --negative."),
]
SrFolder = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Also write a DICOM Structured Report of each DICOM image to this empty folder. Needs the extra 'sr'.",
    ),
]


def apply(
    files: Files = None,
    tagger: TaggerFile = None,
    vocabulary: Vocabulary = None,
    labels: TagLabels = None,
    template: TagTemplate = None,
    negative: Negative = None,
    threshold: Threshold = None,
    sr_folder: SrFolder = None,
    reading: ReadingOptions = ReadingOptions(),  # noqa: B008 - frozen
    frame: Frame = 0,
    window: Window = None,
    percentiles: Percentiles = None,
    accept_maps: AcceptMaps = False,
    preprocessing: Preprocessing = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Tag images: FILE... --tagger T.json, --vocabulary modality|anatomy|view, or --labels A B.

    An image has every tag whose score reaches the threshold. With --negative the score of a label is a probability,
    without it a cosine similarity, which needs a threshold of your own.
    """
    from medimageinsight.cli.source_list import SourceList
    from medimageinsight.tagging import Tagger, check_tags, load_tagger, tag_prompts, tag_thresholds

    reading.check_comparable()
    sources, chosen = SourceList(files or [], reading, frame=frame), choose_window(window, percentiles)
    if not sources:
        raise InputError("expected image files, got none: name them", code="files_missing")
    _check_options(
        tagger,
        vocabulary,
        labels,
        has_prompts=bool(template or negative),
        has_settings=any(option is not None for option in (threshold, preprocessing, chosen)),
    )
    tags: Tags
    if tagger is None:
        tags = vocabulary or tag_prompts(labels or [], template=template or None, negative=negative or ())
    else:
        with error_context(tagger):
            tags = load_tagger(tagger)
    if sr_folder is not None:
        check_folder(sr_folder)
    tag_thresholds(tags, threshold)  # invalid thresholds are refused before the model is opened
    if isinstance(tags, Tagger):
        loaded = load_model_of(tags.model, model, accept_maps=accept_maps)
    else:
        loaded = load_model(model, preprocessing, window=chosen, accept_maps=accept_maps)
    with error_context(tagger):
        check_tags(tags, loaded.identity, threshold)
    with output.counting("tagging", sources.count) as progress:
        tagged = loaded.tag(sources, tags, threshold=threshold, errors="return", progress=progress)
    warn_of_unknown(tagged)
    without_report = 0 if sr_folder is None else write_reports(sr_folder, sources, tagged, loaded.identity, frame)
    print_results(
        sources,
        tagged,
        lambda result: result.to_dict(),
        _print_present_tags,
        as_json=as_json,
    )
    if without_report:
        raise typer.Exit(FAILED_INPUT)


for verb in (apply, fit):
    register(app, verb, group="tag")


def _check_options(
    tagger: Path | None, vocabulary: str | None, labels: list[str] | None, *, has_prompts: bool, has_settings: bool
) -> None:
    """Refuse a call that does not name one kind of tags, and options that would be ignored."""
    if (count := sum(choice is not None for choice in (tagger, vocabulary, labels))) != 1:
        raise InputError(
            f"expected one of --tagger, --vocabulary and --labels, got {count} of them", code="tagger_missing"
        )
    if tagger is not None and has_settings:
        raise InputError(
            "expected --threshold, --preprocessing and --window with --vocabulary or --labels only, got --tagger, "
            "which has its own: leave them out",
            code="tagger_option_unused",
        )
    if labels is None and has_prompts:
        raise InputError(
            "expected --template and --negative with --labels only, got no --labels: add them",
            code="tagger_option_unused",
        )


def _print_present_tags(results: "list[tuple[str, ImageTags]]") -> None:
    """Print the tags that each image has, highest score first, and the best cosine of each image."""
    rows = []
    for source, tags in results:
        present = sorted((name for name, tag in tags.items() if tag.present), key=lambda name: -tags[name].score)
        cells: list[Row] = [
            (Text(output.printable(name), style="bold"), f"{tags[name].score:.3f}", f"{tags[name].threshold:.3f}")
            for name in present
        ] or [("–", "", "")]
        cosines = [format_cosine(tags.cosine), *[""] * (len(cells) - 1)]
        shown = [(*cell, cosine) for cell, cosine in zip(cells, cosines, strict=True)]
        rows += name_first_row(source, [*shown, *mark_row(tags.unlike_validation, columns=4)])
    output.print_table(("source", "tag", "score", "threshold", "best cosine"), rows)
