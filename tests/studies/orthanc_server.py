"""A PACS on this machine: Orthanc with its DICOMweb plug-in, on free ports, with its data in a folder of the test."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = ("Orthanc", "/usr/sbin/Orthanc")
PLUGINS = (Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so"), Path("/usr/lib/orthanc/libOrthancDicomWeb.so"))
USER, PASSWORD = "tester", "not-a-secret"
TITLE = "ORTHANC"


@dataclass(frozen=True)
class Orthanc:
    http_port: int
    dicom_port: int
    log: Path
    receiver_port: int  # of the modality `listener`

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"


def free_ports(count: int) -> list[int]:
    """Return ports that are free; another process could take them before their use, which a retry covers."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for opened in sockets:
            opened.bind(("127.0.0.1", 0))
        return [opened.getsockname()[1] for opened in sockets]


@contextlib.contextmanager
def run_orthanc(folder: Path) -> Iterator[Orthanc]:
    """Start Orthanc, or skip the test where it is not installed."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    plugin = next((path for path in PLUGINS if path.exists()), None)
    if program is None or plugin is None:
        pytest.skip("Orthanc with its DICOMweb plug-in is not installed (apt install orthanc orthanc-dicomweb)")
    http_port, dicom_port, receiver_port = free_ports(3)
    (folder / "config.json").write_text(
        json.dumps(
            {
                "Name": "test", "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"),
                "HttpPort": http_port, "DicomPort": dicom_port, "DicomAet": TITLE, "RemoteAccessAllowed": False,
                "AuthenticationEnabled": True, "RegisteredUsers": {USER: PASSWORD}, "Plugins": [str(plugin)],
                "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}, "DicomAlwaysAllowStore": True,
                "DicomModalities": {"listener": ["MI2", "127.0.0.1", receiver_port]},
                "HttpServerEnabled": True, "DicomServerEnabled": True,
            }
        )
    )  # fmt: skip
    log = folder / "orthanc.log"
    with (
        log.open("wb") as opened,
        subprocess.Popen(
            [program, str(folder / "config.json")], stdout=opened, stderr=subprocess.STDOUT, cwd=folder
        ) as process,
    ):
        try:
            _wait_for(http_port, process, log)
            yield Orthanc(http_port, dicom_port, log, receiver_port)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        if process.poll() is not None:
            pytest.fail(f"Orthanc ended: {log.read_text(errors='replace')[-2000:]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    pytest.fail("Orthanc does not answer")
