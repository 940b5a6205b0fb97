"""``mi2 tag fit``: choose thresholds for tags on labelled images."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.errors import error_context
from medimageinsight.cli.labelled_tables import embed_samples, read_samples
from medimageinsight.cli.options import (
    AcceptMaps,
    AsJson,
    LabelColumn,
    LabelledTable,
    LabelNames,
    Model,
    PathColumn,
    Percentiles,
    Preprocessing,
    Root,
    Separator,
    SourceName,
    Window,
    check_output_file,
    choose_window,
    load_model,
    load_model_of,
)
from medimageinsight.cli.results import format_figure
from medimageinsight.errors import DatasetError, InputError

if TYPE_CHECKING:
    from medimageinsight.tagging import Tagger

TaggerOutput = Annotated[Path, typer.Option(metavar="FILE", help="The tagger file to write, such as T.json.")]
CriterionName = Annotated[
    str,
    typer.Option(metavar="youden|sensitivity:X|f1", help="What a threshold maximizes, or the sensitivity to reach."),
]
AdapterFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="An adapter whose probabilities are the scores, instead of prompts.")
]
PromptsFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help='JSON: {"tag": "prompt"}, lists of prompts, or {"positive": [...], "negative": [...]}.'
    ),
]
Template = Annotated[
    list[str] | None,
    typer.Option(help="The text to embed for a tag, as 'x-ray chest {}' with {} for its name. Several are averaged."),
]
Negative = Annotated[
    list[str] | None, typer.Option(metavar="TEXT", help="A text that describes images without the tags; repeatable.")
]
ValidationSplit = Annotated[
    str, typer.Option(help="The split whose images choose the thresholds; all images of a table without splits.")
]
TestSplit = Annotated[str, typer.Option(help="The split whose images evaluate them, if the table has it.")]


def fit(
    table: LabelledTable,
    out: TaggerOutput,
    criterion: CriterionName = "youden",
    label_column: LabelColumn = "label",
    separator: Separator = None,
    source: SourceName = None,
    path_column: PathColumn = None,
    root: Root = None,
    label_names: LabelNames = None,
    adapter: AdapterFile = None,
    prompts: PromptsFile = None,
    template: Template = None,
    negative: Negative = None,
    validation_split: ValidationSplit = "val",
    test_split: TestSplit = "test",
    window: Window = None,
    percentiles: Percentiles = None,
    accept_maps: AcceptMaps = False,
    preprocessing: Preprocessing = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Choose a threshold for each tag on labelled images, and store them with their sensitivity and specificity."""
    from medimageinsight.adapters import load_adapter, select_evaluation_samples, split_evaluation_embeddings
    from medimageinsight.metrics import Criterion
    from medimageinsight.tagging import fit_tagger_to_embeddings, read_prompts, save_tagger, tag_prompts

    parsed_criterion = Criterion.parse(criterion)
    chosen = choose_window(window, percentiles)
    _check_options(adapter, has_prompts=bool(prompts or template or negative), prepares=bool(preprocessing or chosen))
    check_output_file(out)
    splits = {"validation": validation_split, "test": test_split}
    with error_context(prompts):
        tags = None if prompts is None else read_prompts(prompts, template=template, negative=negative or [])
    with error_context(adapter):
        head = None if adapter is None else load_adapter(adapter)
    with error_context(table, DatasetError):
        rows, separator = read_samples(
            table, label_column, source, separator, path_column=path_column, root=root, label_names=label_names
        )
        samples = select_evaluation_samples(rows, **splits)
    if head is None:
        loaded = load_model(model, preprocessing, window=chosen, accept_maps=accept_maps)
    else:
        loaded = load_model_of(head.model, model, accept_maps=accept_maps)
        with error_context(adapter):
            head.model.check(loaded.identity)
    with error_context(table, (DatasetError, InputError)):
        data = embed_samples(loaded, samples, separator)
        validation, test = split_evaluation_embeddings(data, samples, **splits)
        tagger = fit_tagger_to_embeddings(
            validation,
            head or tags or tag_prompts(data.names, template=template, negative=negative or []),
            embed_texts=loaded.embed_texts,
            logit_scale=loaded.logit_scale,
            model=loaded.identity,
            criterion=parsed_criterion,
            test=test,
        )
    with error_context(out):
        save_tagger(tagger, out)
    _print_tagger(tagger, as_json=as_json)
    output.note(f"tagger: {out}")


def _check_options(adapter: Path | None, *, has_prompts: bool, prepares: bool) -> None:
    """Refuse options that an adapter determines."""
    if adapter is not None and (has_prompts or prepares):
        raise InputError(
            "expected an adapter, which prepares images as in its training, without prompts, --preprocessing and "
            "--window, got both: leave one out",
            code="tagger_option_unused",
        )


def _print_tagger(tagger: "Tagger", *, as_json: bool) -> None:
    if as_json:
        output.print_json(
            {"criterion": tagger.criterion, "model": asdict(tagger.model), "tags": [asdict(tag) for tag in tagger.tags]}
        )
        return
    for title in ("validation", "test"):
        evaluated = [(tag, figures) for tag in tagger.tags if (figures := getattr(tag, title)) is not None]
        if evaluated:
            output.print_table(
                ("tag", "threshold", "with / without", "sensitivity", "specificity", "AUC", "95 % interval"),
                [
                    (
                        output.printable(tag.name),
                        f"{tag.threshold:.4g}",
                        f"{figures.operation.positives:,} / {figures.operation.negatives:,}",
                        str(figures.operation.sensitivity),
                        str(figures.operation.specificity),
                        *format_figure(figures.auc, absent="too few"),
                    )
                    for tag, figures in evaluated
                ],
                title=f"thresholds by {tagger.criterion}, on the {title} images"
                f"{', patients unknown' if evaluated[0][1].unknown_patients else ''}",
            )
