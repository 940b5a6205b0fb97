"""ROC curves as points."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from medimageinsight.evaluate.metrics import Flags, Floats


def roc_corners(scores: Floats, positives: Flags) -> tuple[tuple[float, float], ...]:
    """The corners (false positive rate, sensitivity) of a ROC curve, from (0, 0) to (1, 1).

    Args:
        scores: (N,) float, higher means more likely positive.
        positives: (N,) bool, at least one of each kind.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # ties are one step, and so slanting
    found = np.concatenate([[0], np.cumsum(positives[order])[ends]]) / positives.sum()
    false_alarms = np.concatenate([[0], np.cumsum(~positives[order])[ends]]) / (~positives).sum()
    rises, runs = np.diff(found) > 0, np.diff(false_alarms) > 0
    # A point between two steps straight up, or two to the side, is no corner.
    inner = (rises[1:] & runs[:-1]) | (runs[1:] & rises[:-1])
    kept = np.concatenate([[True], inner, [True]])
    return tuple((float(x), float(y)) for x, y in zip(false_alarms[kept], found[kept], strict=True))
