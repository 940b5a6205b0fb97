from __future__ import annotations

import pytest

from medimageinsight.bench import Files, Peak
from medimageinsight.bench.timings import compare_timings


def test_a_ratio_is_taken_within_each_round():
    # The second round was disturbed for both: a ratio of medians or of sums would not be 2.
    bundle, eager = compare_timings({"bundle": [1.0, 9.0, 1.5], "eager": [2.0, 18.0, 3.0]}, floor=0.5)
    assert (bundle.ratio, eager.ratio) == (1.0, 2.0)
    assert (bundle.median, bundle.min, bundle.times_floor) == (1.5, 1.0, 3.0)
    assert eager.to_dict()["peak_fraction"] == pytest.approx(1 / 6)


def test_the_peak_is_the_faster_median():
    peak = Peak(size=10, samples={"numpy": (1.0, 9.0, 9.0), "onnxruntime": (4.0, 5.0, 6.0)})
    assert peak.best == "onnxruntime"
    assert peak.flops_per_second == 2000 / 5.0
    assert peak.spread == 1.5


def test_files_are_compared_with_the_network_within_each_round():
    files = Files(images=4, failed=0, batch=8, seconds=(1.0, 2.0), network_seconds=(1.0, 2.0))
    assert files.fraction == 0.5
    assert files.per_second == pytest.approx(4 / 1.5)
