"""The memory of this process, from Linux's ``/proc``."""

from __future__ import annotations

from pathlib import Path

_PROCESS = Path("/proc/self")


def peak_bytes(process: Path = _PROCESS) -> int | None:
    """Return the maximum resident bytes since the start (VmHWM); None where the platform does not report it."""
    return _sum_of(process / "status", ("VmHWM",))


def private_bytes(process: Path = _PROCESS) -> int | None:
    """Return the resident bytes shared with no other process; None where the platform does not report it."""
    return _sum_of(process / "smaps_rollup", ("Private_Clean", "Private_Dirty"))


def _sum_of(file: Path, names: tuple[str, ...]) -> int | None:
    try:
        lines = [line.split() for line in file.read_text(encoding="ascii", errors="replace").splitlines()]
    except OSError:
        return None
    values = {line[0]: int(line[1]) for line in lines if len(line) == 3 and line[2] == "kB"}
    kilobytes = [values[f"{name}:"] for name in names if f"{name}:" in values]
    return 1024 * sum(kilobytes) if len(kilobytes) == len(names) else None
