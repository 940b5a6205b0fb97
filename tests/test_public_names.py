"""The public names of the package, and the libraries that an import does not load."""

from __future__ import annotations

import subprocess
import sys

import pytest

import medimageinsight


def test_the_public_names() -> None:
    assert medimageinsight.__all__ == ["MedImageInsight", "MedImageInsightError", "__version__", "errors"]
    assert medimageinsight.__all__ == sorted(medimageinsight.__all__)
    assert dir(medimageinsight) == medimageinsight.__all__
    for name in medimageinsight.__all__:
        assert getattr(medimageinsight, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = medimageinsight.no_such_name


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import medimageinsight", {"torch", "onnxruntime", "numpy", "PIL", "pydicom", "tokenizers", "ftfy"}),
        ("from medimageinsight import MedImageInsight", {"torch", "onnx", "onnxruntime", "pydicom", "tokenizers"}),
        (
            "import sys, medimageinsight as m; model = m.MedImageInsight.load(sys.argv[1])\n"
            "import numpy; model.classify(numpy.zeros((9, 9)), ['a', 'b'])",
            {"torch", "onnx", "safetensors", "pydicom", "ftfy"},
        ),
    ],
    ids=["import", "the class", "use"],
)
def test_heavy_libraries_are_not_imported(toy_bundle: str, statement: str, absent: set[str]) -> None:
    program = f"{statement}\nimport sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program, str(toy_bundle)], check=True, capture_output=True, text=True, timeout=60
    )
    assert not absent & set(done.stdout.split())
