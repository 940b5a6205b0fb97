"""The parts of a report, each a section from figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.evaluate.published import published
from medimageinsight.reports.document import Listing, Paragraph, Section, TableBlock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medimageinsight.evaluate.assessment import Assessment, MethodAssessment, SourceAssessment
    from medimageinsight.evaluate.figures import Report
    from medimageinsight.metrics.bootstrap import Figure
    from medimageinsight.reports.document import Block, Plot

NO_NAME = "(no name)"


def shown(figure: Figure | None) -> str:
    """A figure for a cell."""
    return "–" if figure is None else str(figure)


def methods_table(assessment: Assessment) -> TableBlock:
    """One row a method: the means over the same sources."""
    return TableBlock(
        caption="By method, mean over the same sources",
        columns=("Method", "Mean AUC", "Accuracy", "Reliability error", "Sources"),
        rows=tuple(
            (name, shown(one.mean_auc), shown(one.accuracy), shown(one.calibration_error), str(len(one.averaged)))
            for name, one in assessment.methods.items()
        ),
    )


def overall_rows(report: Report) -> list[tuple[str, ...]]:
    """Name, value and what was counted of each figure over all sources."""
    k = report.settings.neighbours
    rows = [
        ("Modality of the best prompt is right", report.modality_accuracy, "pictures"),
        ("Modality and anatomy of the best prompt are right", report.anatomy_accuracy, "pictures"),
        ("Mean one-against-rest AUC of findings", report.mean_auc, "sources"),
        (f"Image to image, precision at {k}", report.precision_at_k, "pictures"),
        *((f"Image to text, recall at {at}", figure, "pictures") for at, figure in report.image_to_text.items()),
        *((f"Text to image, recall at {at}", figure, "labels") for at, figure in report.text_to_image.items()),
        (f"Text to image, precision at {k}", report.text_to_image_precision, "labels"),
    ]
    return [(name, str(figure), f"{figure.count:,} {unit}") for name, figure, unit in rows if figure is not None]


def in_short(assessment: Assessment) -> Section:
    """What a reader in a hurry needs."""
    overall = TableBlock(
        caption="Zero-shot and retrieval",
        columns=("Figure", "Value", "Counted"),
        rows=tuple(overall_rows(assessment.report)),
    )
    return Section(title="In short", blocks=(overall, methods_table(assessment)))


def how_chosen(assessment: Assessment) -> Section:
    """Every choice with its rule and the split that it saw, and what was left out."""
    report = assessment.report
    rows = tuple((one.what, one.value, one.how, one.made_on) for one in assessment.choices)
    common = tuple(row for row in rows if not row[0].startswith(("kNN,", "linear probe,")))
    columns = ("Choice", "Value", "How", "Made on")
    scored = "all pictures" if report.settings.split is None else f"the {report.settings.split} split"
    blocks: list[Block] = [
        Paragraph(
            text=f"Everything below was scored on {scored}, which chose nothing. What was learnt was learnt on the "
            f"{assessment.settings.train_split} split and chosen on the {assessment.settings.val_split} split."
            if report.settings.split not in (None, assessment.settings.train_split, assessment.settings.val_split)
            else f"Everything below was scored on {scored}."
        ),
        TableBlock(caption="Choices", columns=columns, rows=common),
    ]
    if len(rows) > len(common):
        own = tuple(row for row in rows if row not in common)
        blocks.append(TableBlock(caption="Choices of each source", columns=columns, rows=own, folded=True))
    blocks += [Paragraph(text=note) for note in assessment.notes]
    return Section(title="How each choice was made", blocks=tuple(blocks))


def by_source(assessment: Assessment, plots: Sequence[Plot]) -> Section:
    """Classes told apart: each source by each method."""
    report, methods = assessment.report, assessment.methods
    names = _sources(methods)
    of = {(name, method): methods[method].sources.get(name) for name in names for method in methods}

    def rows(pick: str) -> tuple[tuple[str, ...], ...]:
        return tuple(
            (
                name or NO_NAME,
                f"{report.sources[name].images:,}",
                *(
                    shown(None if (one := of[name, method]) is None else getattr(one.figures, pick))
                    for method in methods
                ),
            )
            for name in names
        )

    columns = ("Source", "Pictures", *methods)
    labels = tuple(
        (name or NO_NAME, label, method, f"{auc.count:,}", str(auc))
        for name in names
        for method in methods
        if (one := of[name, method]) is not None
        for label, auc in one.figures.label_auc.items()
    )
    return Section(
        title="Telling classes apart",
        blocks=(
            *plots,
            TableBlock(caption="Mean one-against-rest AUC", columns=columns, rows=rows("mean_auc")),
            TableBlock(caption="Accuracy", columns=columns, rows=rows("accuracy")),
            TableBlock(caption="Balanced accuracy", columns=columns, rows=rows("balanced_accuracy"), folded=True),
            TableBlock(
                caption="AUC of each class against its source's others",
                columns=("Source", "Class", "Method", "Pictures", "AUC"),
                rows=labels,
                folded=True,
            ),
            Paragraph(
                text="Of few pictures an interval is too narrow: resampling cannot know those that were never seen."
            ),
        ),
    )


def release_tables(assessment: Assessment) -> Section:
    """The table of the release's evaluation page, its published figures beside where a source is one of its sets."""
    zero_shot = next(iter(assessment.methods.values()), None)
    if zero_shot is None:
        return Section(title="As the release publishes it", blocks=())
    rows, known = [], False
    for name, one in zero_shot.sources.items():
        if one.figures.mean_auc is None:
            continue
        auc, beside = one.figures.mean_auc, published(name)
        known = known or beside is not None
        rows.append(
            (
                name or NO_NAME,
                f"{one.figures.images:,}",
                f"{100 * auc.value:.2f} ({100 * auc.low:.2f} to {100 * auc.high:.2f})",
                f"{beside.images:,}" if beside else "–",
                f"{beside.mean_auc_pytorch:.2f}" if beside else "–",
                f"{beside.mean_auc_onnx:.2f}" if beside else "–",
            )
        )
    columns = (
        "Test set",
        "Pictures",
        "mAUC here, %",
        "Pictures published",
        "mAUC published, PyTorch fp16",
        "mAUC published, ONNX Runtime fp16",
    )
    kept = len(columns) if known else 3
    said = (
        "Published figures are comparable only where the pictures, classes and prompts are the same."
        if known
        else "No source of this table is a test set of the release's evaluation page, so none stands beside."
    )
    table = TableBlock(caption="Zero-shot mAUC", columns=columns[:kept], rows=tuple(row[:kept] for row in rows))
    return Section(title="As the release publishes it", blocks=(table, Paragraph(text=said)) if rows else ())


def retrieval(report: Report, plots: Sequence[Plot]) -> Section:
    """Image to image by source; the figures over all are in the first part."""
    k = report.settings.neighbours
    rows = tuple(
        (name or NO_NAME, f"{one.images:,}", str(one.labels), shown(one.precision_at_k))
        for name, one in report.sources.items()
    )
    return Section(
        title="Retrieval",
        blocks=(
            Paragraph(
                text="Image to image: the neighbours are the other patients' pictures of the same split, of all "
                "sources. Relevant is what has the same source and label; captions count by label, whatever number of "
                "them it has."
            ),
            *plots,
            TableBlock(
                caption=f"Image to image, precision at {k}",
                columns=("Source", "Pictures", "Labels", f"Precision at {k}"),
                rows=rows,
            ),
        ),
    )


def operating(assessment: Assessment, plots: Sequence[Plot]) -> Section:
    """ROC curves, and thresholds with what they are worth."""
    tables: list[Block] = []
    for method, one in assessment.methods.items():
        rows = tuple(row for name, source in one.sources.items() for row in _operating_rows(name, source))
        if rows:
            tables.append(
                TableBlock(
                    caption=f"Operating points of {method}",
                    columns=(
                        "Source",
                        "Class",
                        "Rule",
                        "Threshold",
                        "Positives it was chosen on",
                        "Sensitivity",
                        "Specificity",
                        "Positive predictive value",
                        "Negative predictive value",
                    ),
                    rows=rows,
                    folded=True,
                )
            )
    words = Paragraph(
        text=f"Thresholds were chosen on the {assessment.settings.val_split} split and are judged on the scored one. "
        "Predictive values are those of the scored split's share of positives. Intervals hold the threshold still."
    )
    return Section(title="ROC curves and operating points", blocks=(*([words] if tables else []), *plots, *tables))


def calibration(assessment: Assessment, plots: Sequence[Plot]) -> Section:
    """Expected calibration error, Brier score and log loss by source and method."""
    rows = tuple(
        (
            name or NO_NAME,
            method,
            shown((found := one.sources[name].calibration).error),
            shown(found.brier),
            shown(found.log_loss),
            "–" if found.temperature is None else f"{found.temperature:.2f}",
            shown(found.error_scaled),
        )
        for name in _sources(assessment.methods)
        for method, one in assessment.methods.items()
        if name in one.sources
    )
    return Section(
        title="Reliability",
        blocks=(
            *plots,
            Paragraph(
                text="Error is the expected calibration error over ten bins of confidence; chance raises it in a small "
                "set, and its interval takes that off again. The temperature is the one that the split for choosing "
                "likes best; the last column is the error with it."
            ),
            TableBlock(
                caption="Reliability by source; 0 is best",
                columns=("Source", "Method", "Error", "Brier score", "Log loss", "Temperature", "Error with it"),
                rows=rows,
            ),
        ),
    )


def by_groups(assessment: Assessment, plots: Sequence[Plot]) -> Section:
    """Every column's groups, how far each is from the others, and the gap between best and worst."""
    blocks: list[Block] = [*plots]
    for one in assessment.groups:
        rows = tuple(
            (group.name, f"{group.images:,}", str(group.sources), shown(group.value), shown(group.difference))
            for group in one.groups
        )
        if rows:
            blocks.append(
                TableBlock(
                    caption=f"By {one.column}: {one.method}, {one.measure}. Gap {shown(one.gap)}",
                    columns=("Group", "Pictures", "Sources", one.measure.capitalize(), "Less the others'"),
                    rows=rows,
                )
            )
    for column in dict.fromkeys(one.column for one in assessment.groups):
        first = next(one for one in assessment.groups if one.column == column)
        few = f"; {first.too_few} groups have fewer than ten patients in every source" if first.too_few else ""
        blocks.append(Paragraph(text=f"{column}: not known of {first.unknown:,} scored pictures{few}."))
    if blocks:
        blocks.append(
            Paragraph(
                text="A group is set against the other groups of the same source, and the mean is over sources. "
                "Within a source the classes may be mixed otherwise from group to group, which can make a gap or hide "
                "one. Sources where a group has fewer than ten patients "
                "are left out. The gap is the best group less the worst; among several that are alike chance makes one."
            )
        )
    return Section(title="By group", blocks=tuple(blocks))


def repeat(report: Report) -> Section:
    """The command."""
    return Section(title="Repeat with", blocks=(Listing(text=report.command),) if report.command else ())


def _operating_rows(name: str, source: SourceAssessment) -> list[tuple[str, ...]]:
    if source.operating is None:
        return []
    rows = [
        (
            name or NO_NAME,
            one.label,
            one.criterion,
            f"{one.threshold:.3g}",
            str(one.chosen_on),
            shown(one.sensitivity),
            shown(one.specificity),
            shown(one.positive_predictive_value),
            shown(one.negative_predictive_value),
        )
        for one in source.operating.points
    ]
    left_out = [(name or NO_NAME, label, f"none: {reason}", *["–"] * 6) for label, reason in source.operating.left_out]
    return rows + left_out


def _sources(methods: Mapping[str, MethodAssessment]) -> list[str]:
    return list(dict.fromkeys(name for one in methods.values() for name in one.sources))
