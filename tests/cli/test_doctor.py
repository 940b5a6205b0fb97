from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.cli import checks

if TYPE_CHECKING:
    import pytest


def test_a_working_installation(mi2) -> None:
    done = mi2("doctor", "--json")
    assert done.code == 0
    found = {one["name"]: one["status"] for one in done.json["checks"]}
    codecs = {f"DICOM {family}" for family in checks.CODECS}
    assert all(found[name] == "ok" for name in {"Python", "ONNX Runtime", "MI2_HOME", "model", *codecs})
    assert "fail" not in mi2("doctor").out


def test_a_missing_model_fails_with_advice(mi2) -> None:
    done = mi2("doctor", "--model", "nosuch", "--json")
    assert done.code == 1
    (check,) = [one for one in done.json["checks"] if one["name"] == "model nosuch"]
    assert check["status"] == "fail"
    assert check["advice"]


def test_a_missing_extra_names_its_install_command() -> None:
    check = checks.check_extra("export", ("json", "no_such_module"))
    assert check.status == "off"
    assert check.found == "without no_such_module"
    assert check.advice == "pip install 'medimageinsight-onnx[export]'"


def test_a_home_that_cannot_be_written_is_a_warning(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MI2_HOME", str(tmp_path / "file"))
    assert checks.check_home().status == "warn"


def test_a_codec_that_does_not_work_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.check_codec("none", "rtplan.dcm").status == "fail"
    assert checks.check_codec("none", "nosuch.dcm").status == "warn"


def test_the_graph_cache_is_shown_and_cleared(mi2, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MI2_HOME", str(tmp_path))
    copy = tmp_path / "cache" / "graphs" / "0" / "graph.data"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(bytes(1 << 20))
    assert checks.check_graph_cache().advice
    done = mi2("doctor", "--clear-cache", "--json")
    assert done.code == 0
    assert not copy.exists()
    assert {one["name"]: one["found"] for one in done.json["checks"]}["graph cache"] == "empty"
