"""openigtlink: what other programs make of the messages, and who gets them."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("pyigtl")

from planner.cli import app
from planner.errors import ConfigurationError
from planner.exchange import Handover, serving
from planner.exchange.file_names import title
from planner.exchange.serving import HEADER, MOST_CLIENTS, packed, parse_address
from planner.exchange.surfaces import path_start
from planner.model.anatomy import LABELS

COMMAND = [sys.executable, "-c", "from planner.cli import main; main()", "export"]
READER = Path(__file__).with_name("igtl_reader.cxx")


def _heed_interrupts() -> None:
    """Let Ctrl+C end what is started, also where a shell in the background has it ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Served:
    """A `planner export --serve` of its own process, on a free port."""

    def __init__(self, folder: Path, *more: str, host: str = "127.0.0.1") -> None:
        words = [*COMMAND, str(folder), "-f", "openigtlink", "--serve", f"{host}:0", *more]
        self.process = subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_heed_interrupts,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r":(\d+);", line)
        assert found, line + self.process.stderr.read()  # type: ignore[union-attr]
        self.port = int(found[1])

    def end(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGINT)
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


@pytest.fixture(scope="module")
def served(dicom_plan: tuple[Path, Path]) -> Iterator[Served]:
    made = Served(dicom_plan[0])
    yield made
    assert made.end() == (0, "")


@pytest.fixture(scope="module")
def sent(dicom_plan: tuple[Path, Path]) -> bytes:
    return b"".join(packed(dicom_plan[0]))


def received(port: int, size: int, ask: bytes = b"") -> bytes:
    """What a client gets, `size` bytes of it; after `ask`, as many again."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        data = _read(client, size)
        if ask:
            client.sendall(ask)
            data += _read(client, size)
    return data


def _read(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := client.recv(size - len(data))):
        data += more
    return data


def request(kind: bytes, size: int = 0) -> bytes:
    return HEADER.pack(1, kind, b"", 0, size, 0)


def test_pyigtl_reads_the_label_map_and_the_foramina(served: Served, handover: Handover) -> None:
    from pyigtl import OpenIGTLinkClient

    client = OpenIGTLinkClient("127.0.0.1", served.port)
    try:
        names = json.loads(client.wait_for_message("anatomy names", 60).string)
        image = client.wait_for_message("anatomy", 60)
        points = client.wait_for_message("foramina", 60)
        about = client.wait_for_message("planner", 60).string
    finally:
        client.stop()
    anatomy = handover.opened.anatomy
    assert "not for clinical use" in about and "RAS" in about
    assert {int(k): v for k, v in names.items()} == {
        value: name for name, value in LABELS.items() if (anatomy.labels == value).any()
    }
    assert (image.image.transpose(2, 1, 0) == anatomy.labels).all()
    assert image.world_coordinate_system == "ras"
    expected = np.diag([-1, -1, 1, 1]) @ anatomy.grid.patient_from_ijk
    assert image.ijk_to_world_matrix == pytest.approx(expected, abs=1e-3)
    for found, item in zip(points.positions, handover.document.anatomy.foramina, strict=True):
        assert found == pytest.approx(np.array(item.centre_mm) * [-1, -1, 1], abs=1e-3)
    assert points.names[0] == "S1 left"
    assert points.positions[0][0] < 0  # RAS: left is negative


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program of the protocol's own C++ library."""
    headers = Path("/usr/include/openigtlink")
    compiler = shutil.which("g++")
    if compiler is None or not headers.is_dir():
        pytest.skip("no OpenIGTLink library to compile against (Debian: libopenigtlink-dev)")
    path = tmp_path_factory.mktemp("igtl") / "reader"
    words = [compiler, "-std=c++11", f"-I{headers}", str(READER), "-o", str(path)]
    subprocess.run([*words, "-lOpenIGTLink", "-lpthread"], check=True)
    return path


def test_the_protocol_s_own_library_reads_all_of_it(
    served: Served, reader: Path, handover: Handover
) -> None:
    done = subprocess.run([str(reader), str(served.port)], capture_output=True, text=True)
    rows = [line.split("|") for line in done.stdout.splitlines()]
    assert done.returncode == 0 and not any("BROKEN" in row[0] for row in rows), done.stdout
    anatomy = handover.opened.anatomy
    (image,) = [row for row in rows if row[0] == "IMAGE"]
    assert image[2] == " ".join(str(n) for n in anatomy.labels.shape)
    assert int(image[3]) == 1  # RAS, which some receivers take for granted
    assert int(image[4]) == np.count_nonzero(anatomy.labels)
    checksum = 0
    for voxel in anatomy.labels.ravel(order="F").tolist():
        checksum = (checksum * 31 + voxel) & 0xFFFFFFFFFFFFFFFF
    assert int(image[5]) == checksum
    assert _numbers(image[6]) == pytest.approx(anatomy.grid.spacing_mm, abs=1e-4)
    middle = anatomy.grid.to_patient((np.array(anatomy.labels.shape) - 1) / 2)
    assert _numbers(image[7]) == pytest.approx(np.array(middle) * [-1, -1, 1], abs=1e-3)
    columns = np.array([_numbers(row[1])[:3] for row in rows if row[0] == "matrix"])
    assert columns == pytest.approx(np.diag([-1, -1, 1]) @ anatomy.grid.direction, abs=1e-5)

    paths = [row for row in rows if row[0] == "path"]
    lines = [row for row in rows if row[0] == "POLYDATA"]
    for item, row, line in zip(handover.paths, paths, lines, strict=True):
        assert row[1] == title(item)
        assert "not for clinical use" in row[2]
        assert (row[3], row[5]) == ("3", "anatomy")
        assert float(row[4]) == pytest.approx(item.needle.outer_diameter_mm, abs=1e-3)
        for text, point in zip(row[6:8], (path_start(item), item.tip_mm), strict=True):
            assert _numbers(text) == pytest.approx(np.array(point) * [-1, -1, 1], abs=1e-3)
        assert line[1] == f"path {item.rank} {item.side}"
        assert line[2:4] == ["2", "1"] and line[4:6] == row[6:8]
        assert (_numbers(row[7])[0] < 0) == (item.side == "left")


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split()]


def test_who_asks_gets_it_again(served: Served, sent: bytes) -> None:
    assert received(served.port, len(sent), request(b"GET_TRAJ")) == sent * 2
    other = request(b"STATUS", 3) + b"abc"
    assert received(served.port, len(sent), other + request(b"GET_IMAGE")) == sent * 2


def test_a_client_that_announces_gigabytes_is_left(served: Served, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as client:
        assert _read(client, len(sent)) == sent
        client.sendall(request(b"IMAGE", 1 << 40))
        assert client.recv(1) == b""


def test_only_so_many_are_served_at_once(dicom_plan: tuple[Path, Path], sent: bytes) -> None:
    server = Served(dicom_plan[0])
    clients = []
    try:
        for _ in range(MOST_CLIENTS):
            clients.append(socket.create_connection(("127.0.0.1", server.port), timeout=60))
            assert _read(clients[-1], 10) == sent[:10]
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as late:
            told = b"".join(iter(lambda: late.recv(4096), b""))
            assert b"8 programs are connected already" in told and len(told) < 500
    finally:
        for client in clients:
            client.close()
        assert server.end()[0] == 0


def test_a_client_that_asks_for_nothing_gives_its_place_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serving, "IDLE_S", 0.3)
    server = serving._Server(("127.0.0.1", 0), serving._Client)
    server.messages = [b"plan"]
    with server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        for _ in range(MOST_CLIENTS + 1):
            with socket.create_connection(server.server_address, timeout=60) as silent:
                assert b"".join(iter(lambda c=silent: c.recv(64), b"")) == b"plan"
        server.shutdown()


def test_a_rejected_path_is_not_sent(dicom_plan: tuple[Path, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(dicom_plan[0], tmp_path / "plan"))
    values = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    gone = values["trajectories"][0]
    gone["review"] = {"verdict": "rejected", "origin": "planned", "reason": "no"}
    (folder / "plan.json").write_text(json.dumps(values), encoding="utf-8")
    data = b"".join(packed(folder))
    assert gone["id"].encode() not in data
    assert values["trajectories"][1]["id"].encode() in data


def test_other_machines_are_warned_of_and_an_anonymous_plan_has_no_time(
    dicom_plan: tuple[Path, Path], sent: bytes
) -> None:
    server = Served(dicom_plan[0], "--anonymize", host="0.0.0.0")
    data = received(server.port, len(sent))
    status, said = server.end()
    assert status == 0 and "other machines" in said
    times = {HEADER.unpack(part[: HEADER.size])[3] for part in _split(data)}
    assert len(times) == 1 and times != {HEADER.unpack(sent[: HEADER.size])[3]}


def _split(data: bytes) -> list[bytes]:
    parts = []
    while data:
        end = HEADER.size + HEADER.unpack(data[: HEADER.size])[4]
        parts.append(data[:end])
        data = data[end:]
    return parts


def test_it_is_served_alone(dicom_plan: tuple[Path, Path]) -> None:
    folder = str(dicom_plan[0])
    for words in (
        ["-f", "csv", "-f", "openigtlink"],
        ["-f", "csv", "--serve", "1234"],
        ["-f", "openigtlink", "-o", "somewhere"],
    ):
        done = CliRunner().invoke(app, ["export", folder, *words])
        assert done.exit_code == 2 and "name it alone" in done.output
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = ["export", folder, "-f", "openigtlink", "--serve", str(port)]
        done = CliRunner().invoke(app, words)
    assert done.exit_code == 2 and "cannot be listened on" in done.output


def test_addresses_are_read() -> None:
    assert parse_address("") == ("127.0.0.1", 18944)
    assert parse_address("1234") == ("127.0.0.1", 1234)
    assert parse_address(":1234") == ("127.0.0.1", 1234)
    assert parse_address("10.0.0.1:99") == ("10.0.0.1", 99)
    assert parse_address("[::1]:99") == ("::1", 99)
    assert parse_address("[::1]") == ("::1", 18944)
    for wrong in ("host:port", "1.2.3.4:99999", ":\u00b2", "::1"):
        with pytest.raises(ConfigurationError, match="HOST:PORT"):
            parse_address(wrong)
