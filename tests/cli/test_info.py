"""``info`` prints the models that a model was made from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path


def test_prints_the_parents_of_a_model(mi2, toy_bundle: Path, tmp_path: Path) -> None:
    assert "made from" not in mi2("info").out
    copy = Path(shutil.copytree(toy_bundle, tmp_path / "copy"))
    manifest = json.loads((copy / "manifest.json").read_text())
    base = {"name": "base", "sha256": "a" * 64, "how": "trained", "parents": []}
    parents = [{"name": "tuned", "sha256": "b" * 64, "how": "fine-tuned", "parents": [base]}]
    (copy / "manifest.json").write_text(json.dumps(manifest | {"parents": parents}))
    printed = mi2("info", copy)
    assert printed.code == 0
    assert (
        "made from\ntoy (fp32)\n└── fine-tuned from tuned bbbbbbbbbbbb\n    └── trained by base aaaaaaaaaaaa\n"
        in printed.out
    )
    assert mi2("info", copy, "--json").json["parents"] == parents


def test_built_in_model_was_converted_from_its_checkpoint(mi2) -> None:
    assert "└── converted from checkpoint" in mi2("info", "mini").out
