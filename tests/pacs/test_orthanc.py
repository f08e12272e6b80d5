"""Against a real server: Orthanc, over C-GET, C-MOVE and DICOMweb."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any

import pydicom
import pytest
from typer.testing import CliRunner

pytest.importorskip("pynetdicom")
pytest.importorskip("dicomweb_client")

from planner.cli import app
from planner.errors import ServerError
from planner.pacs import (
    Archive,
    Query,
    Reference,
    Sent,
    dicom_files,
    fetch_series,
    open_archive,
    read_servers,
    send_files,
)
from planner.reading.quiet import quiet_pydicom
from tests.support.dicom_ct import PATIENT
from tests.support.orthanc import Orthanc
from tests.support.tls_front import TlsFront

KINDS = ("get", "move", "web")


def write_servers(path: Path, servers: dict[str, dict[str, Any]]) -> Path:
    lines = []
    for name, values in servers.items():
        lines.append(f"[servers.{name}]")
        for key, value in values.items():
            if isinstance(value, dict):
                inner = ", ".join(f"{k} = {json.dumps(v)}" for k, v in value.items())
                lines.append(f"{key} = {{{inner}}}")
            else:
                lines.append(f"{key} = {json.dumps(value)}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def archive_of(values: dict[str, Any], folder: Path) -> Archive:
    return open_archive(read_servers(write_servers(folder / "one.toml", {"x": values}))["x"], "x")


def run(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


@pytest.fixture
def servers(orthanc: Orthanc, tmp_path: Path) -> Path:
    return write_servers(tmp_path / "servers.toml", orthanc.kinds)


@pytest.fixture
def filled(orthanc: Orthanc, small_ct: Path, tmp_path: Path) -> Reference:
    """The series, on the server among others."""
    files = dicom_files([small_ct])
    other = pydicom.dcmread(files[0].path)
    other.StudyInstanceUID, other.SeriesInstanceUID = "1.2.3.4", "1.2.3.4.1"
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4.1.1"
    other.PatientID, other.PatientName, other.StudyDate = "OTHER-1", "Roe^Richard", "20250101"
    other.save_as(tmp_path / "other.dcm")
    archive = archive_of(orthanc.dimse(), tmp_path)
    send_files(archive, dicom_files([small_ct, tmp_path / "other.dcm"]))
    return Reference("get", files[0].study, files[0].series)


@pytest.mark.parametrize("kind", KINDS)
def test_a_series_comes_back_as_it_was_sent(
    orthanc: Orthanc, filled: Reference, small_ct: Path, tmp_path: Path, kind: str
) -> None:
    archive = archive_of(orthanc.kinds[kind], tmp_path)
    files = dicom_files([small_ct])
    assert send_files(archive, files) == Sent(len(files))  # a second time: there are no duplicates
    assert sorted(archive.instances(filled.study, filled.series)) == sorted(f.uid for f in files)
    made = fetch_series(archive, filled, tmp_path / "ct")
    assert (made.instances, made.new) == (len(files), len(files))
    for each in files:
        ours, theirs = pydicom.dcmread(each.path), pydicom.dcmread(made.folder / f"{each.uid}.dcm")
        assert ours == theirs
        assert ours.file_meta.TransferSyntaxUID == theirs.file_meta.TransferSyntaxUID
    assert fetch_series(archive, filled, tmp_path / "ct").new == 0


@pytest.mark.parametrize("kind", ["get", "web"])
def test_a_search_finds_what_matches(
    orthanc: Orthanc, filled: Reference, tmp_path: Path, kind: str
) -> None:
    archive = archive_of(orthanc.kinds[kind], tmp_path)

    def found(limit: int = 10, **more: str) -> list[str]:
        return [item.uid for item in archive.studies(Query(**more), limit)]

    ours, other = filled.study, "1.2.3.4"
    assert sorted(found(modality="CT")) == sorted([ours, other])
    assert len(found(limit=1)) == 1
    assert found(patient_id="TOY-4711") == [ours]
    assert found(patient_name="Roe*") == [other]
    assert found(accession="ACC-0815", date="20260101-20260131") == [ours]
    assert found(patient_id="NOBODY") == []
    (study,) = archive.studies(Query(patient_id="TOY-*"), 10)
    assert (study.date, study.modalities, study.patient_name) == ("20260102", "CT", "Doe^Jane^Toy")
    (series,) = archive.series(ours)
    assert (series.uid, series.modality, series.number) == (filled.series, "CT", "3")
    assert series.instances == "70"
    assert archive.instances(ours, "1.2.3.4.5.6") == []


def test_the_command_names_nobody_unasked(
    orthanc: Orthanc, filled: Reference, servers: Path
) -> None:
    for kind in ("get", "web"):
        plain = run("pacs", "find", kind, "--servers", str(servers))
        assert plain.exit_code == 0, plain.output
        assert filled.study in "".join(plain.output.split("│")).replace("\n", "").replace(" ", "")
        assert not any(value in plain.output for value in ("Doe", "TOY-4711", "19480229"))
        told = run("pacs", "find", kind, "--servers", str(servers), "--identify", "--json")
        named = {item["patient_name"] for item in json.loads(told.output)}
        assert PATIENT["PatientName"] in named
        listed = run("pacs", "find", kind, "--study", filled.study, "--servers", str(servers))
        assert listed.exit_code == 0 and "70" in listed.output
        both = (plain.output + listed.output).replace("Names and descriptions are", "")
        assert "description" not in both


def test_the_command_fetches_and_sends(
    filled: Reference, servers: Path, small_ct: Path, tmp_path: Path
) -> None:
    where, out = ("--servers", str(servers)), tmp_path / "out"
    done = run("pacs", "fetch", "web", filled.study, filled.series, "-o", str(out), *where)
    assert done.exit_code == 0 and "70 files" in done.output
    again = run("pacs", "fetch", "get", filled.study, filled.series, "-o", str(out), *where)
    assert "70 of which were there already" in again.output
    sent = run("pacs", "send", "web", str(out), *where)
    assert sent.exit_code == 0 and "70 files" in sent.output


def test_refusals_have_their_exit_status(
    orthanc: Orthanc, servers: Path, tmp_path: Path, small_ct: Path
) -> None:
    where = ("--servers", str(servers))
    unknown = run("pacs", "find", "nobody", *where)
    assert unknown.exit_code == 2 and "get, move, web" in unknown.output
    absent = run("pacs", "fetch", "get", "1.2", "3.4", "-o", str(tmp_path / "x"), *where)
    assert absent.exit_code == 7 and "no images of that series" in absent.output
    assert not (tmp_path / "x").exists()
    assert run("pacs", "send", "get", str(servers.parent), *where).exit_code == 2
    assert run("pacs", "send", "get", str(servers), *where).exit_code == 2
    wrong = run("plan", "pacs://get/1.2/../3", "-o", str(tmp_path / "p"), *where)
    assert wrong.exit_code == 2


@pytest.mark.parametrize("place", ["ae_title", "port"])
def test_a_wrong_title_or_port_is_told(
    orthanc: Orthanc, tmp_path: Path, place: str, small_ct: Path
) -> None:
    wrong: dict[str, Any] = {"ae_title": "NOBODY"} if place == "ae_title" else {"port": 9}
    archive = archive_of(orthanc.dimse(retries=0, **wrong), tmp_path)
    words = "called AE title not recogni[sz]ed.*ae_title" if place == "ae_title" else "reached"
    for ask in (
        lambda: archive.studies(Query(), 1),
        lambda: send_files(archive, dicom_files([small_ct]), sleep=lambda _: None),
    ):
        with pytest.raises(ServerError, match=f"(?i){words}"):
            ask()


def test_a_station_that_the_server_does_not_know_is_told(
    orthanc: Orthanc, filled: Reference, tmp_path: Path
) -> None:
    values = orthanc.kinds["move"] | {"our_ae_title": "STRANGER", "retries": 0}
    with pytest.raises(ServerError, match="C-MOVE|does not know where to send"):
        fetch_series(archive_of(values, tmp_path), filled, tmp_path / "ct", sleep=lambda _: None)


def test_a_web_server_that_is_away_or_no_such_is_told(
    orthanc: Orthanc, filled: Reference, tmp_path: Path
) -> None:
    away = archive_of(orthanc.web(url="http://127.0.0.1:9/dicom-web"), tmp_path)
    with pytest.raises(ServerError, match="cannot be reached") as caught:
        away.studies(Query(patient_id="TOY-4711"), 1)
    assert "TOY-4711" not in str(caught.value)
    strange = archive_of(orthanc.web(url=f"http://127.0.0.1:{orthanc.web_port}/nothing"), tmp_path)
    with pytest.raises(ServerError, match="HTTP 404"):
        strange.instances(filled.study, filled.series)


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_killed_in_mid_transfer_loses_nothing(
    another: Any, small_ct: Path, tmp_path: Path, kind: str
) -> None:
    server = another()
    files = dicom_files([small_ct])
    wanted = Reference("x", files[0].study, files[0].series)
    archive = archive_of(server.kinds[kind] | {"retries": 1, "timeout_s": 10}, tmp_path)
    send_files(archive, files)
    seen: list[float] = []

    def kill(_stage: str, part: float) -> None:
        if part > 0.4 and not seen:
            seen.append(part)
            server.kill()

    with pytest.raises(ServerError, match="goes on from there"):
        fetch_series(archive, wanted, tmp_path / "ct", kill, sleep=lambda _: None)
    assert seen and not (tmp_path / "ct").exists()
    server.start()
    made = fetch_series(archive, wanted, tmp_path / "ct")
    assert 0 < made.new < len(files)
    assert {pydicom.dcmread(p).SOPInstanceUID for p in made.folder.glob("*.dcm")} == {
        each.uid for each in files
    }


@pytest.mark.parametrize("kind", ["get", "web"])
def test_sending_goes_on_when_the_server_comes_back(
    another: Any, small_ct: Path, tmp_path: Path, kind: str
) -> None:
    server = another()
    files = dicom_files([small_ct])
    archive = archive_of(server.kinds[kind] | {"timeout_s": 10}, tmp_path)
    killed: list[float] = []

    def kill(_stage: str, part: float) -> None:
        if part > 0.4 and not killed:
            killed.append(part)
            server.kill()

    def back(_seconds: float) -> None:
        if server.process.poll() is not None:
            server.start()

    assert send_files(archive, files, kill, sleep=back) == Sent(len(files))
    assert killed
    listed = archive.instances(files[0].study, files[0].series)
    assert sorted(listed) == sorted(each.uid for each in files)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    done = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True
    )
    if not done or done.returncode != 0:
        pytest.skip("no small disk can be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_here_is_told_and_what_came_is_kept(
    orthanc: Orthanc, filled: Reference, servers: Path, small_disk: Path, small_ct: Path
) -> None:
    # Slices are 2.5 kB of which a page is taken each: room for about 40.
    (small_disk / "filler").write_bytes(b"x" * (1024 * 1024 - 44 * 4096))
    words = ("pacs", "fetch", "get", filled.study, filled.series, "--servers", str(servers))
    full = run(*words, "-o", str(small_disk / "ct"))
    assert full.exit_code == 6, full.output
    assert "No space left" in full.output and not (small_disk / "ct").exists()
    (small_disk / "filler").unlink()
    done = run(*words, "-o", str(small_disk / "ct"))
    assert done.exit_code == 0 and "were there already" in done.output


def test_a_full_disk_there_is_told(another: Any, small_ct: Path, small_disk: Path) -> None:
    """This server says of every file that it is stored, and lists them all."""
    storage = str(small_disk / "storage")
    server = another(StorageDirectory=storage, MaximumStorageCacheSize=0)
    (small_disk / "filler").write_bytes(b"x" * (1024 * 1024 - 40 * 4096))
    archive = archive_of(server.dimse(retries=0), server.folder)
    files = dicom_files([small_ct])
    with pytest.raises(ServerError, match="could not be read back"):
        send_files(archive, files, sleep=lambda _: None)
    assert send_files(archive, files, read_back=False).files == len(files)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A key and a certificate for 127.0.0.1 that vouches for itself."""
    openssl = shutil.which("openssl") or pytest.skip("no openssl here")
    folder = tmp_path_factory.mktemp("tls")
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    words += ["-subj", "/CN=127.0.0.1", "-addext"]
    names = ["subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run([openssl, *words, *names], cwd=folder, check=True, capture_output=True)
    return folder / "key.pem", folder / "cert.pem"


def test_dimse_over_tls_with_certificates_on_both_sides(
    another: Any, certificate: tuple[Path, Path], small_ct: Path, tmp_path: Path
) -> None:
    key, own = (str(path) for path in certificate)
    server = another(
        DicomTlsEnabled=True,
        DicomTlsPrivateKey=key,
        DicomTlsCertificate=own,
        DicomTlsTrustedCertificates=own,
    )
    files = dicom_files([small_ct])
    tls = {"ca": own, "certificate": own, "key": key}
    archive = archive_of(server.dimse(tls=tls), tmp_path)
    assert send_files(archive, files) == Sent(len(files))
    made = fetch_series(archive, Reference("x", files[0].study, files[0].series), tmp_path / "ct")
    assert made.new == len(files)
    for wrong in ({}, {"tls": {}}, {"tls": {"ca": own}}):  # in the clear, unvouched, nameless
        with pytest.raises(ServerError):
            archive_of(server.dimse(retries=0, timeout_s=3, **wrong), tmp_path).studies(Query(), 1)


def test_https_with_a_password(
    another: Any,
    certificate: tuple[Path, Path],
    small_ct: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Debian's Orthanc dies of HTTPS of its own, so that a gateway stands before it."""
    server = another(AuthenticationEnabled=True, RegisteredUsers={"reader": "geheim"})
    front = TlsFront(certificate[1], certificate[0], server.web_port)
    files = dicom_files([small_ct])
    monkeypatch.setenv("PLANNER_TEST_SECRET", "geheim")
    # What the surroundings say of proxies and authorities is not asked.
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    values = server.web(
        url=f"https://127.0.0.1:{front.port}/dicom-web",
        user="reader",
        password_variable="PLANNER_TEST_SECRET",
        tls={"ca": str(certificate[1])},
    )
    archive = archive_of(values, tmp_path)
    assert send_files(archive, files[:5]) == Sent(5)
    wanted = Reference("x", files[0].study, files[0].series)
    assert fetch_series(archive, wanted, tmp_path / "ct").new == 5
    with pytest.raises(ServerError, match="could not prove who it is"):
        archive_of(values | {"tls": {}}, tmp_path).studies(Query(), 1)
    monkeypatch.setenv("PLANNER_TEST_SECRET", "wrong")
    with pytest.raises(ServerError, match="HTTP 401") as caught:
        archive.studies(Query(), 1)
    assert "wrong" not in str(caught.value)
    front.close()


def test_no_temporary_file_stays(filled: Reference, servers: Path, tmp_path: Path) -> None:
    out = tmp_path / "ct"
    words = ("pacs", "fetch", "move", filled.study, filled.series)
    assert run(*words, "-o", str(out), "--servers", str(servers)).exit_code == 0
    known = {"ct", "servers.toml", "one.toml", "other.dcm"}
    assert {path.name for path in tmp_path.iterdir()} <= known
    names = sorted(path.name for path in out.iterdir())
    assert names[0] == ".fetched.json" and len(names) == 71
    assert all(name.endswith(".dcm") and not name.startswith(".") for name in names[1:])


@pytest.mark.parametrize("kind", ["get", "web"])
def test_a_server_that_limits_its_answers_gives_no_half_series(
    another: Any, small_ct: Path, tmp_path: Path, kind: str
) -> None:
    server = another(LimitFindInstances=10, LimitFindResults=100)
    files = dicom_files([small_ct])
    with pytest.raises(ServerError, match="may not be all"):  # all came, which cannot be seen
        send_files(archive_of(server.dimse(), tmp_path), files[:20], read_back=False)
    wanted = Reference("x", files[0].study, files[0].series)
    with pytest.raises(ServerError, match="says that it has 20|may not be all"):
        fetch_series(archive_of(server.kinds[kind], tmp_path), wanted, tmp_path / "ct")
    assert not (tmp_path / "ct").exists()


@pytest.mark.parametrize("host", ["nowhere.invalid", "a..b", "[::1]", " "])
def test_a_host_that_is_not_there_is_told(tmp_path: Path, host: str) -> None:
    values = {"protocol": "dimse", "host": host, "port": 9, "ae_title": "X", "timeout_s": 5}
    with pytest.raises(ServerError, match="cannot be reached"):
        archive_of(values, tmp_path).studies(Query(), 1)


def test_a_search_beyond_ascii_finds_whom_it_means(
    orthanc: Orthanc, filled: Reference, small_ct: Path, tmp_path: Path
) -> None:
    other = pydicom.dcmread(dicom_files([small_ct])[0].path)
    other.SpecificCharacterSet = "ISO_IR 192"
    other.StudyInstanceUID, other.SeriesInstanceUID = "1.2.9", "1.2.9.1"
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "1.2.9.1.1"
    other.PatientName, other.PatientID = "M\u00fcller^Ute", "UTE-1"
    other.save_as(tmp_path / "ute.dcm")
    archive = archive_of(orthanc.dimse(), tmp_path)
    send_files(archive, dicom_files([tmp_path / "ute.dcm"]))
    assert [s.uid for s in archive.studies(Query(patient_name="M\u00fcller*"), 5)] == ["1.2.9"]
    assert archive.studies(Query(patient_name="M\u00f6ller*"), 5) == []


class Answers(BaseHTTPRequestHandler):
    """A web server that answers whatever it was told to."""

    answer = b""
    kind = "application/dicom+json"

    def do_GET(self) -> None:  # noqa: N802
        self.send_response(200)
        self.send_header("Content-Type", self.kind)
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def answering() -> Iterator[tuple[type[Answers], str]]:
    class Mine(Answers):
        pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Mine) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield Mine, f"http://127.0.0.1:{server.server_address[1]}/dicom-web"
        server.shutdown()


@pytest.mark.parametrize(
    "answer",
    [b"[1]", b"null", b"5", b"{", b"<html>", b'[{"00100020": {"vr": "IS", "Value": ["Doe"]}}]']
    + [b'[{"0020000D": {"vr": "IS", "Value": [1e400]}}]', b"[" * 100_000],
)
def test_an_answer_that_is_no_dicomweb_is_told_and_not_quoted(
    answering: tuple[type[Answers], str], tmp_path: Path, answer: bytes
) -> None:
    handler, url = answering
    handler.answer = answer
    archive = archive_of({"protocol": "dicomweb", "url": url}, tmp_path)
    with quiet_pydicom():
        try:
            found = archive.studies(Query(), 5)
        except ServerError as error:
            assert "not DICOMweb" in str(error) and "Doe" not in str(error)
        else:
            assert len(found) <= 1  # what has no UID is of no use, and no harm


def test_a_part_that_breaks_off_is_not_taken(
    answering: tuple[type[Answers], str], small_ct: Path, tmp_path: Path
) -> None:
    handler, url = answering
    each = dicom_files([small_ct])[0]
    archive = archive_of({"protocol": "dicomweb", "url": url}, tmp_path)
    head, data = b"--x\r\nContent-Type: application/dicom\r\n\r\n", each.path.read_bytes()
    whole = head + data + b"\r\n--x--"
    handler.kind = 'multipart/related; type="application/dicom"; boundary=x'
    kept: list[bytes] = []
    handler.answer = whole
    archive.retrieve(each.study, each.series, [each.uid], kept.append)
    assert pydicom.dcmread(BytesIO(kept[0])) == pydicom.dcmread(each.path)
    handler.answer = whole[:-400]
    with pytest.raises(ServerError, match="broke off"):
        archive.retrieve(each.study, each.series, [each.uid], kept.append)
    assert len(kept) == 1
