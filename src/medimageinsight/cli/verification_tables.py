"""Tables of a bundle's parity with PyTorch and of its accuracy, for ``mi2 convert`` and ``mi2 verify``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.cli import output

if TYPE_CHECKING:
    from medimageinsight.export import Accuracy, Parity, RuntimeResult, SourceResult
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
        (
            f"{agreement.images} {'real' if agreement.real else 'generated'} images, {agreement.labels} labels",
            "",
            "bound",
        ),
        [
            ("smallest cosine", f"{agreement.min_cosine:.6f}", _bound(bounds.min_cosine)),
            ("the same best label", f"{agreement.top1:.2%}", _bound(bounds.top1)),
            ("the same nearest ten", f"{agreement.nearest_ten:.2%}", ""),
        ],
    )
    if parity.forced:
        output.note("forced: a figure exceeds its bound, but the bundle was written nevertheless")


def _bound(bound: float | None) -> str:
    return "" if bound is None else f"{bound:g}"


def print_accuracy(accuracy: Accuracy) -> None:
    """Print times and accuracy by test set, as on the ONNX release's evaluation page, and their conditions."""
    split = "" if accuracy.split is None else f", the {accuracy.split} split"
    title = f"{accuracy.model} on labelled images{split}, zero-shot"
    interval = f"{100 * accuracy.confidence:.0f} % interval"
    if any(test_set.pytorch is not None for test_set in accuracy.sets):
        rows = [
            (
                _set_name(test_set),
                *(_milliseconds(runtime.milliseconds) for runtime in _runtimes(test_set)),
                " / ".join(_percent(runtime.mean_auc) for runtime in _runtimes(test_set)),
            )
            for test_set in accuracy.sets
        ]
        output.print_table(("test set (images)", "PyTorch", "ONNX Runtime", "mAUC % PyTorch / ONNX"), rows, title=title)
        _print_agreement(accuracy, interval)
    else:
        rows = [
            (
                _set_name(test_set),
                _milliseconds(test_set.onnxruntime.milliseconds),
                _percent(test_set.onnxruntime.mean_auc),
                _interval(test_set.onnxruntime.mean_auc),
            )
            for test_set in accuracy.sets
        ]
        output.print_table(("test set (images)", "ONNX Runtime", "mAUC %", interval), rows, title=title)
    output.print_table(
        ("measured with", ""), [(name.replace("_", " "), str(value)) for name, value in accuracy.measured_with.items()]
    )
    output.note("times: median of the image encoder for one image a call, decoded and resized before")
    output.note(
        "mAUC: mean over a test set's labels of the ROC AUC of each label against the rest; "
        "with few images its interval is too narrow"
    )


def _print_agreement(accuracy: Accuracy, interval: str) -> None:
    """Print the intervals of the mean AUC in both runtimes, and the agreement of their embeddings."""
    compared = [
        (output.printable(test_set.name) or "(no name)", test_set, test_set.agreement) for test_set in accuracy.sets
    ]
    output.print_table(
        ("test set", "PyTorch", "ONNX Runtime", "difference, points"),
        [
            (
                name,
                *(_interval(runtime.mean_auc) for runtime in _runtimes(test_set)),
                _difference(agreement.mean_auc_difference),
            )
            for name, test_set, agreement in compared
            if agreement is not None
        ],
        title=f"mAUC %, {interval}s",
    )
    output.print_table(
        ("test set", "same best label", "largest difference", "smallest cosine"),
        [
            (
                name,
                "–" if agreement.same_best_label is None else f"{100 * agreement.same_best_label:.2f} %",
                f"{agreement.max_abs_diff:.2e}",
                f"{agreement.min_cosine:.9f}",
            )
            for name, _, agreement in compared
            if agreement is not None
        ],
        title="embeddings of the images, ONNX Runtime against PyTorch",
    )


def _set_name(test_set: SourceResult) -> str:
    scored = "" if test_set.scored == test_set.images else f", {test_set.scored:,} scored"
    return f"{output.printable(test_set.name) or '(no name)'} ({test_set.images:,}{scored})"


def _runtimes(test_set: SourceResult) -> list[RuntimeResult]:
    """Return the results of PyTorch, if measured, and of ONNX Runtime, in the order of the release's page."""
    return [runtime for runtime in (test_set.pytorch, test_set.onnxruntime) if runtime is not None]


def _milliseconds(value: float) -> str:
    return f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms"


def _percent(figure: Figure | None) -> str:
    return "–" if figure is None else f"{100 * figure.value:.2f}"


def _interval(figure: Figure | None) -> str:
    return "–" if figure is None else f"{100 * figure.low:.2f} to {100 * figure.high:.2f}"


def _difference(figure: Figure | None) -> str:
    """Format a difference in percentage points, with its interval."""
    if figure is None:
        return "–"
    return f"{100 * figure.value:+.2f} ({100 * figure.low:+.2f} to {100 * figure.high:+.2f})"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
