"""Public names of `medimageinsight.export` and `medimageinsight.network`, which are imported when first used."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAMS = {
    "export": "from medimageinsight.export import convert, verify; assert callable(convert) and callable(verify)",
    "export after its modules": "import medimageinsight.export.conversion, medimageinsight.export.verification\n"
    "from medimageinsight.export import convert, verify; assert callable(convert) and callable(verify)",
    "network": "from medimageinsight.network import ModelConfig, image_flops; assert callable(image_flops)",
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_functions_are_public_and_import_no_pytorch(program: str) -> None:
    code = f"{program}\nimport sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
