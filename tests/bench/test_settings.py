from __future__ import annotations

import pytest

from medimageinsight.bench import BASELINES, BenchSettings
from medimageinsight.errors import InputError


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"rounds": 0}, "rounds_invalid"),
        ({"batch_sizes": ()}, "batch_sizes_invalid"),
        ({"batch_sizes": (1, 0)}, "batch_sizes_invalid"),
        ({"batch_sizes": (2, 2)}, "batch_sizes_invalid"),
        ({"threads": 0}, "threads_invalid"),
        ({"baselines": ("eager", "tensorrt")}, "baselines_unknown"),
        ({"baselines": ("eager", "eager")}, "baselines_unknown"),
    ],
)
def test_rejects_invalid_settings(settings, code):
    with pytest.raises(InputError, match="expected") as caught:
        BenchSettings(**settings)
    assert caught.value.code == code


def test_all_baselines_by_default():
    assert BenchSettings().baselines == BASELINES == ("eager", "tuned", "compile", "plain", "openvino")
    assert BenchSettings(baselines=()).baselines == ()
    assert BenchSettings().providers is None
    assert BenchSettings(provider="cpu").providers == ["cpu"]
