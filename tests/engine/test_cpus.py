"""CPU cores available to a process in a container."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from medimageinsight.engine import available_cpus

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


@pytest.mark.usefixtures("eight_cores")
@pytest.mark.parametrize(("quota", "cores"), [("max 100000", 8), ("150000 100000", 2), ("1000 100000", 1), ("", 8)])
def test_cgroup_2_quota(tmp_path: Path, quota: str, cores: int) -> None:
    (tmp_path / "cpu.max").write_text(quota + "\n")
    assert available_cpus(tmp_path) == cores


@pytest.mark.usefixtures("eight_cores")
@pytest.mark.parametrize(("quota", "cores"), [("-1", 8), ("300000", 3)])
def test_cgroup_1_quota(tmp_path: Path, quota: str, cores: int) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert available_cpus(tmp_path) == cores


@pytest.mark.usefixtures("eight_cores")
def test_no_cgroup(tmp_path: Path) -> None:
    assert available_cpus(tmp_path) == 8
