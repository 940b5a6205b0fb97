"""How much memory this process has, as Linux tells it."""

from __future__ import annotations

from pathlib import Path

_PROCESS = Path("/proc/self")


def peak_bytes(process: Path = _PROCESS) -> int | None:
    """Resident at most since the start (VmHWM); None where the platform does not tell."""
    return _sum_of(process / "status", ("VmHWM",))


def private_bytes(process: Path = _PROCESS) -> int | None:
    """Resident now and shared with no other process; None where the platform does not tell."""
    return _sum_of(process / "smaps_rollup", ("Private_Clean", "Private_Dirty"))


def _sum_of(file: Path, names: tuple[str, ...]) -> int | None:
    try:
        lines = [line.split() for line in file.read_text(encoding="ascii", errors="replace").splitlines()]
    except OSError:
        return None
    found = {line[0]: int(line[1]) for line in lines if len(line) == 3 and line[2] == "kB"}
    kilobytes = [found.get(f"{name}:") for name in names]
    return None if None in kilobytes else 1024 * sum(one for one in kilobytes if one is not None)
