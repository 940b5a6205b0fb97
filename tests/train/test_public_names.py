"""The public names of `medimageinsight.train`: lazy, and never a module of the same name."""

from __future__ import annotations

import subprocess
import sys
import types

import pytest

from medimageinsight import train


def test_reading_a_config_does_not_import_torch() -> None:
    names = "CaptionWriter, FinetuneConfig, PixelAugmentation, TrainConfig, read_config, read_samples"
    program = f"from medimageinsight.train import {names}\nimport sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False"


def test_public_names_are_sorted_and_are_not_modules() -> None:
    pytest.importorskip("torch")
    assert dir(train) == sorted(train.__all__)
    for name in train.__all__:
        assert not isinstance(getattr(train, name), types.ModuleType), name
    from medimageinsight.train import finetune
    from medimageinsight.train import train as train_model

    assert callable(train_model)
    assert callable(finetune)
