from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.cli import checks

if TYPE_CHECKING:
    import pytest


def test_working_installation_passes(mi2) -> None:
    result = mi2("doctor", "--json")
    assert result.code == 0
    statuses = {check["name"]: check["status"] for check in result.json["checks"]}
    codecs = {f"DICOM {family}" for family in checks.CODECS}
    assert all(statuses[name] == "ok" for name in {"Python", "ONNX Runtime", "MI2_HOME", "model", *codecs})
    assert "fail" not in mi2("doctor").out


def test_missing_model_fails_with_advice(mi2) -> None:
    result = mi2("doctor", "--model", "nosuch", "--json")
    assert result.code == 1
    (check,) = [check for check in result.json["checks"] if check["name"] == "model nosuch"]
    assert check["status"] == "fail"
    assert check["advice"]


def test_missing_extra_names_its_install_command() -> None:
    check = checks.check_extra("export", ("json", "no_such_module"))
    assert check.status == "off"
    assert check.found == "without no_such_module"
    assert check.advice == "pip install 'medimageinsight-onnx[export]'"


def test_unwritable_home_is_a_warning(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MI2_HOME", str(tmp_path / "file"))
    assert checks.check_home().status == "warn"


def test_broken_codec_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.check_codec("none", "rtplan.dcm").status == "fail"
    assert checks.check_codec("none", "nosuch.dcm").status == "warn"


def test_reports_and_clears_the_graph_cache(mi2, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MI2_HOME", str(tmp_path))
    copy = tmp_path / "cache" / "graphs" / "0" / "graph.data"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(bytes(1 << 20))
    assert checks.check_graph_cache().advice
    result = mi2("doctor", "--clear-cache", "--json")
    assert result.code == 0
    assert not copy.exists()
    assert {check["name"]: check["found"] for check in result.json["checks"]}["graph cache"] == "empty"
