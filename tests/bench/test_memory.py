from __future__ import annotations

from pathlib import Path

import pytest

from medimageinsight.bench.memory import peak_bytes, private_bytes


def test_the_values_of_linux_are_returned_in_bytes(tmp_path):
    (tmp_path / "status").write_text("Name:\tpython\nVmPeak:\t  900 kB\nVmHWM:\t  300 kB\n")
    (tmp_path / "smaps_rollup").write_text(
        "55d0-7ffd ---p 00000000 00:00 0    [rollup]\nRss: 99 kB\nPrivate_Clean: 4 kB\nPrivate_Dirty: 6 kB\n"
    )
    assert peak_bytes(tmp_path) == 300 * 1024
    assert private_bytes(tmp_path) == 10 * 1024


def test_a_platform_without_proc_gives_none(tmp_path):
    assert peak_bytes(tmp_path) is None
    (tmp_path / "smaps_rollup").write_text("Private_Clean: 4 kB\n")
    assert private_bytes(tmp_path) is None


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="the platform does not report it")
def test_this_process():
    peak, private = peak_bytes(), private_bytes()
    assert peak is not None
    assert private is not None
    assert 0 < private <= peak
