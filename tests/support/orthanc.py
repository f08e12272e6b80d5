"""A real server of images for tests: Debian's Orthanc, on loopback, in a folder of its own."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
TITLE, OURS = "ARCHIVE", "PLANNER"


def free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


def program() -> str:
    """The path of Orthanc; skips the test where there is none."""
    found = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    if found is None or not PLUGIN.exists():
        pytest.skip("no Orthanc with DICOMweb here (Debian: orthanc, orthanc-dicomweb)")
    return found


class Orthanc:
    """A running server; `stop`, `kill` and `start` as often as wanted, on the same ports."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.program, self.folder = program(), folder
        self.port, self.web_port, self.our_port = free_port(), free_port(), free_port()
        folder.mkdir(parents=True, exist_ok=True)
        values: dict[str, Any] = {
            "Name": "test",
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "DicomAet": TITLE,
            "DicomPort": self.port,
            "DicomCheckCalledAet": True,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowGet": True,
            "DicomAlwaysAllowMove": True,
            "DicomModalities": {"us": [OURS, "127.0.0.1", self.our_port]},
            "HttpPort": self.web_port,
            "HttpServerEnabled": True,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "Plugins": [str(PLUGIN)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            "StorageCompression": False,
        }
        (folder / "orthanc.json").write_text(json.dumps(values | more), encoding="utf-8")
        self.start()

    def start(self) -> None:
        log = (self.folder / "log.txt").open("a")
        self.process = subprocess.Popen(
            [self.program, str(self.folder / "orthanc.json")], stdout=log, stderr=log
        )
        log.close()
        for _ in range(300):
            if self.process.poll() is not None:
                break
            if _answers(self.port) and _answers(self.web_port):
                return
            time.sleep(0.1)
        raise RuntimeError((self.folder / "log.txt").read_text(encoding="utf-8")[-2000:])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def dimse(self, **more: Any) -> dict[str, Any]:
        return {
            "protocol": "dimse",
            "host": "127.0.0.1",
            "port": self.port,
            "ae_title": TITLE,
            "timeout_s": 20,
        } | more

    def web(self, **more: Any) -> dict[str, Any]:
        return {
            "protocol": "dicomweb",
            "url": f"http://127.0.0.1:{self.web_port}/dicom-web",
            "timeout_s": 20,
        } | more

    @property
    def kinds(self) -> dict[str, dict[str, Any]]:
        """Every way to speak to it."""
        return {
            "get": self.dimse(),
            "move": self.dimse(retrieve="move", our_port=self.our_port),
            "web": self.web(),
        }


def _answers(port: int) -> bool:
    with socket.socket() as made:
        made.settimeout(1)
        return made.connect_ex(("127.0.0.1", port)) == 0
