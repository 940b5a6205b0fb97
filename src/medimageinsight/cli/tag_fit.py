"""``mi2 tag fit``: thresholds for tags, chosen on labelled images."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.errors import error_context
from medimageinsight.cli.labelled_tables import (
    check_output_file,
    embed_samples,
    format_figure,
    read_samples,
    training_preprocessing,
)
from medimageinsight.cli.options import (
    AsJson,
    LabelColumn,
    LabelledTable,
    Model,
    Preprocessing,
    Separator,
    SourceName,
    load_model,
)
from medimageinsight.errors import DatasetError, InputError

if TYPE_CHECKING:
    from medimageinsight.adapters import Adapter, LabelledEmbeddings
    from medimageinsight.api import MedImageInsight
    from medimageinsight.datasets import Sample
    from medimageinsight.metrics.thresholds import Criterion
    from medimageinsight.tagging import Tagger, TagPrompts


def fit(
    table: LabelledTable,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The tagger's file, as T.json.")],
    criterion: Annotated[
        str, typer.Option(metavar="youden|sensitivity:X|f1", help="What chooses a threshold.")
    ] = "youden",
    label_column: LabelColumn = "label",
    separator: Separator = None,
    source: SourceName = None,
    adapter: Annotated[
        Path | None, typer.Option(metavar="FILE", help="An adapter that gives the scores, instead of prompts.")
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help='JSON: {"tag": "prompt"}, lists of prompts, or {"positive": [...], "negative": [...]}.'
        ),
    ] = None,
    template: Annotated[
        list[str] | None, typer.Option(help="A prompt, as 'x-ray chest {}' with {} for the tag. Several are averaged.")
    ] = None,
    negative: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="A prompt of images without the tags; may come again.")
    ] = None,
    validation_split: Annotated[str, typer.Option(help="What chooses; all where the table has no splits.")] = "val",
    test_split: Annotated[str, typer.Option(help="What scores the choice, if the table has it.")] = "test",
    preprocessing: Preprocessing = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Choose a threshold for each tag on labelled images, and keep them with what they were worth."""
    from medimageinsight.adapters.tables import split_indices
    from medimageinsight.metrics.thresholds import Criterion
    from medimageinsight.tagging import save_tagger, tag_prompts

    wanted = Criterion.parse(criterion)
    if adapter is not None and (prompts or template or negative or preprocessing is not None):
        raise InputError(
            "expected prompts or an adapter, which prepares images as it was trained, got both: leave one out",
            code="tagger_option_unused",
        )
    check_output_file(out)
    given = None if prompts is None else _read_prompts(prompts, template, negative or [])
    head = _load_adapter(adapter)
    with error_context(table, DatasetError):
        samples = _of_splits(read_samples(table, label_column, source, separator), validation_split, test_split)
    loaded = load_model(model, preprocessing if head is None else training_preprocessing(head.model))
    if head is not None and adapter is not None:
        with error_context(adapter):
            head.model.check(loaded.identity)
    with error_context(table, (DatasetError, InputError)):
        data = embed_samples(loaded, samples, separator)
        has_splits = any(sample.split for sample in samples)
        chosen = data.take(split_indices(samples, validation_split)) if has_splits else data
        tags = given or tag_prompts(data.names, template=template, negative=negative or [])
        made = _fitted(loaded, chosen, head or tags, wanted)
        test = split_indices(samples, test_split)
        if len(test) and test_split != validation_split:
            others = data.take(test)
            made = made.with_test_figures(
                made.scores(others.rows, loaded.embed_texts, loaded.logit_scale),
                others.truth(made.names),
                patients=others.patients,
            )
    with error_context(out):
        save_tagger(made, out)
    _print_tagger(made, as_json=as_json)
    output.note(f"tagger: {out}")


def _of_splits(samples: "tuple[Sample, ...]", validation: str, test: str) -> "tuple[Sample, ...]":
    """Those that choose and those that score; all of a table without splits."""
    splits = {sample.split for sample in samples}
    if splits == {""}:
        return samples
    if validation not in splits:
        raise DatasetError(
            f"expected one of the splits {', '.join(sorted(splits))}, got {validation!r}: choose one of them",
            code="dataset_split_unknown",
        )
    return tuple(sample for sample in samples if sample.split in (validation, test))


def _fitted(
    model: "MedImageInsight",
    data: "LabelledEmbeddings",
    scored_by: "Adapter | dict[str, TagPrompts]",
    criterion: "Criterion",
) -> "Tagger":
    """The tagger of an adapter's labels, or of tags with prompts."""
    from medimageinsight.tagging import adapter_scores, embed_tags, fit_tagger, prompt_scores

    if isinstance(scored_by, dict):
        names, head = tuple(scored_by), None
        scores = prompt_scores(data.rows, embed_tags(model.embed_texts, scored_by), model.logit_scale)
    else:
        names, head = scored_by.labels, scored_by
        scores = adapter_scores(data.rows, scored_by, names)
    return fit_tagger(
        scored_by if isinstance(scored_by, dict) else names,
        scores,
        data.truth(names),
        model=model.identity,
        criterion=criterion,
        adapter=head,
        patients=data.patients,
    )


def _read_prompts(path: Path, template: list[str] | None, negative: list[str]) -> "dict[str, TagPrompts]":
    from medimageinsight.tagging import read_prompts

    with error_context(path):
        return read_prompts(path, template=template, negative=negative)


def _load_adapter(path: Path | None) -> "Adapter | None":
    from medimageinsight.adapters import load_adapter

    if path is None:
        return None
    with error_context(path):
        return load_adapter(path)


def _print_tagger(tagger: "Tagger", *, as_json: bool) -> None:
    if as_json:
        output.print_json(
            {
                "criterion": tagger.criterion,
                "model": asdict(tagger.model),
                "tags": [asdict(tag) for tag in tagger.tags],
            }
        )
        return
    for title in ("validation", "test"):
        figures = [(tag, getattr(tag, title)) for tag in tagger.tags]
        if any(one is not None for _, one in figures):
            output.print_table(
                ("tag", "threshold", "with / without", "sensitivity", "specificity", "AUC", "95 % interval"),
                [
                    (
                        output.printable(tag.name),
                        f"{tag.threshold:.4g}",
                        f"{one.operation.positives:,} / {one.operation.negatives:,}",
                        str(one.operation.sensitivity),
                        str(one.operation.specificity),
                        *format_figure(one.auc),
                    )
                    for tag, one in figures
                    if one is not None
                ],
                title=f"thresholds by {tagger.criterion}, on the {title} images",
            )
