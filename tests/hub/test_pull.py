"""``mi2 pull`` from a hub to a bundle that is used by its name."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("torch", reason="converting needs the export extra")

from medimageinsight.bundle import Bundle

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command
    from tests.hub.hub_server import Hub


def test_pull_converts_and_records_the_source(mi2: Command, hub: Hub, tmp_path: Path) -> None:
    result = mi2("pull", "--json")
    assert result.code == 0, result.err
    bundle = Bundle.open(tmp_path / "home" / "models" / "medimageinsight")
    bundle.verify()
    weights = hub.files["2024.09.27/vision_model/medimageinsigt-v1.0.0.pt"]
    recorded = bundle.manifest.provenance["download"]
    assert recorded == result.json["download"]
    assert (recorded["repository"], recorded["folder"]) == ("lion-ai/MedImageInsights", "2024.09.27")
    assert recorded["revision"] == hub.commit
    assert recorded["sha256"]["vision_model/medimageinsigt-v1.0.0.pt"] == hashlib.sha256(weights).hexdigest()
    assert bundle.manifest.provenance["checkpoint"]["sha256"] == hashlib.sha256(weights).hexdigest()
    assert result.json["parity"]["image"]["max_abs_diff"] <= 1e-5
    assert mi2("embed", "--text", "x-ray chest", "--model", "medimageinsight").code == 0
    checkpoint = tmp_path / "home" / "checkpoints" / "lion-ai--MedImageInsights" / "2024.09.27"
    assert (checkpoint / "download.json").is_file()

    # Existing bundles, names and precisions are checked before anything is requested.
    hub.requests.clear()
    assert json.loads(mi2("pull", "--json").out)["error"]["code"] == "bundle_exists"
    assert mi2("pull", "--precision", "fp8").code == 2
    assert mi2("pull", "../other").code == 2
    assert mi2("pull", "--repository", "nothing", "other").code == 2
    assert hub.requests == []

    replaced = mi2("pull", "--overwrite", "--delete-checkpoint", "--revision", hub.commit)
    assert replaced.code == 0, replaced.err
    assert hub.commit in replaced.err
    assert hub.downloads() == []
    assert not checkpoint.exists()


def test_a_failed_pull_has_a_code_and_leaves_no_bundle(
    mi2: Command,
    hub: Hub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing = mi2("pull", "--json", "--repository", "lion-ai/other")
    assert (missing.code, missing.json["error"]["code"]) == (1, "hub_not_found")
    monkeypatch.setenv("MI2_PULL_REPOSITORY", "lion-ai/third")
    assert mi2("pull").code == 1
    assert "/lion-ai/third/" in hub.requests[-1][2]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert mi2("pull", "--json").json["error"]["code"] == "hub_offline"
    assert not (tmp_path / "home" / "models" / "medimageinsight").exists()
