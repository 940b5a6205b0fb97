"""Tables that several verbs print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from medimageinsight.cli import output
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from rich.console import RenderableType

    from medimageinsight.export.accuracy_results import Accuracy, SourceResult, RuntimeResult
    from medimageinsight.export.parity import Parity
    from medimageinsight.metrics.bootstrap import Figure


def print_parity(parity: Parity, *, title: str) -> None:
    """Print the differences between ONNX Runtime and PyTorch, with their bounds."""
    image, text, bounds, agreement = parity.image, parity.text, parity.bounds, parity.agreement
    rows = [
        ("inputs", str(image.inputs), str(text.inputs), ""),
        ("largest difference", f"{image.max_abs_diff:.2e}", f"{text.max_abs_diff:.2e}", _bound(bounds.max_abs_diff)),
        ("smallest cosine", f"{image.min_cosine:.9f}", f"{text.min_cosine:.9f}", _bound(bounds.min_cosine)),
        (
            "alone against in a batch",
            f"{image.max_batch_diff:.2e}",
            f"{text.max_batch_diff:.2e}",
            _bound(bounds.max_batch_diff),
        ),
        ("two calls, the same bits", _yes(image.repeatable), _yes(text.repeatable), "yes"),
    ]
    output.print_table(("embeddings", "image", "text", "bound"), rows, title=title)
    output.print_table(
        (f"{agreement.pictures} {'real' if agreement.real else 'made'} images, {agreement.labels} labels", "", "bound"),
        [
            ("smallest cosine", f"{agreement.min_cosine:.6f}", _bound(bounds.min_cosine)),
            ("the same best label", f"{agreement.top1:.2%}", _bound(bounds.top1)),
            ("the same nearest ten", f"{agreement.nearest_ten:.2%}", ""),
        ],
    )
    if parity.forced:
        output.note("forced: a figure exceeds its bound, and the bundle was retained nevertheless")


def _bound(bound: float | None) -> str:
    return "" if bound is None else f"{bound:g}"


def print_probabilities(
    results: Sequence[tuple[str, NDArray[np.float32] | InputError]], labels: Sequence[str], *, top: int, as_json: bool
) -> None:
    """Print the best labels of each image; as JSON all labels, and the error of a failed image in its position."""
    if as_json:
        output.print_json([_to_dict(source, labels, result) for source, result in results])
        return
    rows = [
        row
        for source, result in results
        if not isinstance(result, InputError)
        for row in _best_labels(source, labels, result, top)
    ]
    if rows:
        output.print_table(("source", "label", "probability", ""), rows)


def _to_dict(source: str, labels: Sequence[str], result: NDArray[np.float32] | InputError) -> dict[str, object]:
    if isinstance(result, InputError):
        return {"source": source, "error": result.to_dict()}
    return {"source": source, "probabilities": dict(zip(labels, output.numbers(result), strict=True))}


def _best_labels(
    source: str, labels: Sequence[str], probabilities: NDArray[np.float32], top: int
) -> list[tuple[RenderableType, ...]]:
    """Return the rows of one image's best labels; only the first row names the source."""
    best = (-probabilities).argsort(kind="stable")[:top]
    return [
        (
            Text(output.printable(source) if row == 0 else ""),
            Text(output.printable(labels[index]), style="bold" if row == 0 else ""),
            output.bar(float(probabilities[index])),
            f"{probabilities[index]:.1%}",
        )
        for row, index in enumerate(best)
    ]


def print_accuracy(accuracy: Accuracy) -> None:
    """Print times and accuracy by test set, as on the ONNX release's evaluation page, and their conditions."""
    split = "" if accuracy.split is None else f", the {accuracy.split} split"
    title = f"{accuracy.model} on labelled images{split}, zero-shot"
    interval = f"{100 * accuracy.confidence:.0f} % interval"
    if any(one.pytorch is not None for one in accuracy.sets):
        rows = [
            (
                _set_name(one),
                *(_milliseconds(side.milliseconds) for side in _sides(one)),
                " / ".join(_percent(side.mean_auc) for side in _sides(one)),
            )
            for one in accuracy.sets
        ]
        output.print_table(("test set (images)", "PyTorch", "ONNX Runtime", "mAUC % PyTorch / ONNX"), rows, title=title)
        _print_agreement(accuracy, interval)
    else:
        rows = [
            (_set_name(one), _milliseconds(side.milliseconds), _percent(side.mean_auc), _interval(side.mean_auc))
            for one in accuracy.sets
            for side in (one.onnxruntime,)
        ]
        output.print_table(("test set (images)", "ONNX Runtime", "mAUC %", interval), rows, title=title)
    output.print_table(
        ("measured with", ""), [(name.replace("_", " "), str(value)) for name, value in accuracy.measured_with.items()]
    )
    output.note("times: median of the image encoder for one image a call, decoded and resized before")
    output.note(
        "mAUC: mean over a test set's labels of the ROC AUC of each against the others; "
        "of few images its interval is too narrow"
    )


def _print_agreement(accuracy: Accuracy, interval: str) -> None:
    """Print the intervals of the mean AUC in both runtimes, and the agreement of their embeddings."""
    compared = [(output.printable(one.name) or "(no name)", one, one.agreement) for one in accuracy.sets]
    output.print_table(
        ("test set", "PyTorch", "ONNX Runtime", "difference, points"),
        [
            (name, *(_interval(side.mean_auc) for side in _sides(one)), _difference(both.mean_auc_difference))
            for name, one, both in compared
            if both is not None
        ],
        title=f"mAUC %, {interval}s",
    )
    output.print_table(
        ("test set", "same best label", "largest difference", "smallest cosine"),
        [
            (
                name,
                "–" if both.same_best_label is None else f"{100 * both.same_best_label:.2f} %",
                f"{both.max_abs_diff:.2e}",
                f"{both.min_cosine:.9f}",
            )
            for name, _, both in compared
            if both is not None
        ],
        title="embeddings of the images, ONNX Runtime against PyTorch",
    )


def _set_name(one: SourceResult) -> str:
    scored = "" if one.scored == one.images else f", {one.scored:,} scored"
    return f"{output.printable(one.name) or '(no name)'} ({one.images:,}{scored})"


def _sides(one: SourceResult) -> list[RuntimeResult]:
    """In the order of the release's page."""
    return [side for side in (one.pytorch, one.onnxruntime) if side is not None]


def _milliseconds(value: float) -> str:
    return f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms"


def _percent(figure: Figure | None) -> str:
    return "–" if figure is None else f"{100 * figure.value:.2f}"


def _interval(figure: Figure | None) -> str:
    return "–" if figure is None else f"{100 * figure.low:.2f} to {100 * figure.high:.2f}"


def _difference(figure: Figure | None) -> str:
    """In points of a hundred, with its interval."""
    if figure is None:
        return "–"
    return f"{100 * figure.value:+.2f} ({100 * figure.low:+.2f} to {100 * figure.high:+.2f})"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
