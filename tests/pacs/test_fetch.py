"""Fetching from a server that is ours to misbehave."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from threading import Event, Lock
from typing import Any

import pydicom
import pytest
from pydicom.uid import ImplicitVRLittleEndian

pytest.importorskip("pynetdicom")

from planner.errors import ConfigurationError, OutputError, ServerError
from planner.pacs import (
    DimseServer,
    Reference,
    Sent,
    dicom_files,
    fetch,
    fetch_series,
    rounds,
    send_files,
)
from planner.pacs.archive import MOST_INSTANCES, Keep, Outgoing, SeriesFound, Told
from planner.pacs.fetch import MANIFEST
from planner.pacs.received import read_to_send

SERVER = DimseServer(protocol="dimse", host="127.0.0.1", port=1, ae_title="X", connections=2)


def never(_seconds: float) -> None:
    return


class Fake:
    """Gives and takes files; what it does wrong is set from outside."""

    def __init__(self, files: Sequence[Outgoing], server: DimseServer = SERVER) -> None:
        self.server = server
        self.data = {each.uid: each.path.read_bytes() for each in files}
        self.listed = list(self.data)
        self.given: list[str] = []
        self.breaks_after = 10**9
        self.at_once = self.most_at_once = 0
        self.told: list[SeriesFound] = []
        self.aborted = False
        self.lock = Lock()

    def studies(self, *_: Any) -> list[Any]:
        return []

    def series(self, _study: str) -> list[SeriesFound]:
        return self.told

    def abort(self) -> None:
        self.aborted = True

    def instances(self, _study: str, _series: str) -> list[str]:
        return self.listed

    def retrieve(self, _study: str, _series: str, uids: Sequence[str], keep: Keep) -> None:
        with self.lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            for uid in uids:
                if len(self.given) >= self.breaks_after:
                    raise ServerError("it broke.")
                self.given.append(uid)
                keep(self.data[uid])
        finally:
            with self.lock:
                self.at_once -= 1

    def store(self, files: Sequence[Outgoing], told: Told) -> None:
        for each in files:
            told(each, "")


@pytest.fixture
def files(small_ct: Path) -> list[Outgoing]:
    return dicom_files([small_ct])


@pytest.fixture
def wanted(files: list[Outgoing]) -> Reference:
    return Reference("x", files[0].study, files[0].series)


def test_a_series_arrives_whole_and_only_once(
    files: list[Outgoing], wanted: Reference, tmp_path: Path
) -> None:
    archive = Fake(files)
    archive.listed *= 2  # a server that lists everything twice
    parts: list[float] = []
    made = fetch_series(archive, wanted, tmp_path / "ct", lambda _, part: parts.append(part))
    assert (made.instances, made.new) == (len(files), len(files))
    for each in files:
        assert (made.folder / f"{each.uid}.dcm").read_bytes() == each.path.read_bytes()
    assert sorted(p.name for p in made.folder.iterdir()) == sorted(
        [MANIFEST, *(f"{each.uid}.dcm" for each in files)]
    )
    assert [p.name for p in tmp_path.iterdir()] == ["ct"]
    assert parts[0] == 0 and max(parts) == 1
    assert sorted(archive.given) == sorted(each.uid for each in files)
    assert 1 <= archive.most_at_once <= SERVER.connections


def test_a_whole_fetch_is_left_as_it_is(
    files: list[Outgoing], wanted: Reference, tmp_path: Path
) -> None:
    archive = Fake(files)
    fetch_series(archive, wanted, tmp_path / "ct")
    archive.given.clear()
    assert fetch_series(archive, wanted, tmp_path / "ct").new == 0
    assert archive.given == []
    archive.listed = archive.listed[1:]
    with pytest.raises(OutputError, match="other images on the server now"):
        fetch_series(archive, wanted, tmp_path / "ct")


def test_a_broken_fetch_goes_on_where_it_stopped(
    files: list[Outgoing], wanted: Reference, tmp_path: Path
) -> None:
    archive = Fake(files)
    archive.breaks_after = 40
    with pytest.raises(ServerError, match=r"it broke\. 40 of 70 files .* goes on from there"):
        fetch_series(archive, wanted, tmp_path / "ct", sleep=never)
    assert not (tmp_path / "ct").exists()
    archive.breaks_after = 10**9
    made = fetch_series(archive, wanted, tmp_path / "ct", sleep=never)
    assert made.new == 30
    assert len(archive.given) == len(files)  # none came twice
    assert [p.name for p in tmp_path.iterdir()] == ["ct"]


def test_it_waits_longer_and_longer_and_gives_up(
    files: list[Outgoing], wanted: Reference, tmp_path: Path
) -> None:
    archive = Fake(files)
    archive.breaks_after = 0
    waited: list[float] = []
    with pytest.raises(ServerError):
        fetch_series(archive, wanted, tmp_path / "ct", sleep=waited.append)
    assert waited == [2.0, 4.0, 8.0]  # three retries by default


def test_progress_between_failures_starts_the_count_again(
    files: list[Outgoing], wanted: Reference, tmp_path: Path
) -> None:
    archive = Fake(files, SERVER.model_copy(update={"connections": 1, "retries": 1}))

    def restarted(_seconds: float) -> None:
        archive.breaks_after += 10

    archive.breaks_after = 10
    assert fetch_series(archive, wanted, tmp_path / "ct", sleep=restarted).new == len(files)


@pytest.mark.parametrize(
    "what", ["series", "unlisted", "no DICOM", "few pixels", "no pixels", "cut"]
)
def test_what_was_not_asked_for_is_not_kept(
    files: list[Outgoing], wanted: Reference, tmp_path: Path, what: str
) -> None:
    archive = Fake(files)
    first = files[0]
    header = pydicom.dcmread(first.path)
    if what == "series":
        header.SeriesInstanceUID = "1.2.3"
    elif what == "few pixels":
        header.PixelData = header.PixelData[:100]
    elif what == "no pixels":
        del header.PixelData
    else:
        header.SOPInstanceUID = "../../etc/passwd" if what == "unlisted" else header.SOPInstanceUID
    pydicom.dcmwrite(tmp_path / "evil.dcm", header)
    evil = (tmp_path / "evil.dcm").read_bytes()
    archive.data[first.uid] = {"no DICOM": b"<html>", "cut": evil[:-9]}.get(what, evil)
    words = {"series": "another series", "unlisted": "had not listed", "no DICOM": "no DICOM file"}
    words |= dict.fromkeys(("few pixels", "no pixels", "cut"), "cut off")
    with pytest.raises(ServerError, match=words[what]):
        fetch_series(archive, wanted, tmp_path / "ct", sleep=never)
    assert not (tmp_path / "ct").exists()


def test_a_name_that_leaves_the_folder_is_refused(
    files: list[Outgoing], wanted: Reference, tmp_path: Path
) -> None:
    archive = Fake(files)
    archive.listed = ["../../evil"]
    with pytest.raises(ServerError, match="no DICOM UID"):
        fetch_series(archive, wanted, tmp_path / "ct")
    archive.listed = []
    with pytest.raises(ServerError, match="no images of that series"):
        fetch_series(archive, wanted, tmp_path / "ct")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_ends_it_at_once_and_keeps_what_came(
    files: list[Outgoing], wanted: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, write = Fake(files), fetch._write
    left = [20]

    def full(path: Path, data: bytes) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data)

    monkeypatch.setattr(fetch, "_write", full)
    waited: list[float] = []
    with pytest.raises(OutputError, match=r"No space left .* are kept in"):
        fetch_series(archive, wanted, tmp_path / "ct", sleep=waited.append)
    assert waited == [] and archive.aborted and not (tmp_path / "ct").exists()
    monkeypatch.setattr(fetch, "_write", write)
    assert fetch_series(archive, wanted, tmp_path / "ct").new == len(files) - 20


def test_a_folder_with_something_else_in_it_is_refused(
    files: list[Outgoing], wanted: Reference, tmp_path: Path
) -> None:
    (tmp_path / "ct").mkdir()
    (tmp_path / "ct" / "mine.txt").write_text("x")
    archive = Fake(files)
    with pytest.raises(OutputError, match="not empty"):
        fetch_series(archive, wanted, tmp_path / "ct")
    assert archive.given == []


def test_a_file_that_is_taken_but_not_listed_is_told(files: list[Outgoing]) -> None:
    archive = Fake(files)
    assert send_files(archive, files) == Sent(len(files))
    archive.listed = archive.listed[1:]
    with pytest.raises(ServerError, match="does not list 1 of them"):
        send_files(archive, files)


def test_a_refused_file_is_told(files: list[Outgoing], monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Fake(files)

    def refuse(some: Sequence[Outgoing], told: Told) -> None:
        for each in some:
            told(each, "it answered with status C000" if each is files[3] else "")

    monkeypatch.setattr(archive, "store", refuse)
    with pytest.raises(ServerError, match=r"refused 1 of 70 files, .*status C000"):
        send_files(archive, files)


@pytest.mark.parametrize("what", ["cut", "pixels", "name", "other", "meaning", "syntax"])
def test_what_is_kept_there_is_compared(files: list[Outgoing], tmp_path: Path, what: str) -> None:
    archive = Fake(files)
    copy = pydicom.dcmread(files[0].path)
    if what == "pixels":
        copy.PixelData = bytes(len(copy.PixelData))
    elif what == "other":
        copy.SOPInstanceUID = "1.2.3"
    elif what == "meaning":
        copy.ImagePositionPatient = [0, 0, 99]
    elif what == "syntax":
        copy.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    else:
        copy.PatientName, copy.InstitutionName = "Renamed", "Elsewhere"
    pydicom.dcmwrite(
        tmp_path / "copy.dcm",
        copy,
        implicit_vr=what == "syntax",
        little_endian=True,
        enforce_file_format=True,
    )
    data = (tmp_path / "copy.dcm").read_bytes()
    archive.data[files[0].uid] = files[0].path.read_bytes()[:-1000] if what == "cut" else data
    if what == "name":
        sent = send_files(archive, files, sleep=never)
        assert sent.changed == {"InstitutionName": 1, "PatientName": 1}
        return
    if what == "syntax":  # in other words, the same
        assert send_files(archive, files, sleep=never) == Sent(len(files))
        return
    words = {"cut": "cut off", "pixels": "PixelData differs", "other": "not asked"}
    words["meaning"] = "ImagePositionPatient differs"
    with pytest.raises(ServerError, match=f"1 of 70 files .* read back: .*({words[what]})"):
        send_files(archive, files, sleep=never)
    assert send_files(archive, files, sleep=never, read_back=False).files == len(files)


def test_half_a_list_is_no_series(files: list[Outgoing], wanted: Reference, tmp_path: Path) -> None:
    archive = Fake(files)
    archive.told = [SeriesFound(wanted.series, "1", "CT", "", "71")]
    with pytest.raises(ServerError, match="lists 70 images of the series and says that it has 71"):
        fetch_series(archive, wanted, tmp_path / "ct")
    archive.told = [SeriesFound(wanted.series, "1", "CT", "", "70")]
    assert fetch_series(archive, wanted, tmp_path / "ct").new == 70


def test_a_list_without_end_is_refused(
    files: list[Outgoing], wanted: Reference, tmp_path: Path
) -> None:
    archive = Fake(files)
    archive.listed = [f"1.2.{n}" for n in range(MOST_INSTANCES + 1)]
    with pytest.raises(ServerError, match="more than 20000 files"):
        fetch_series(archive, wanted, tmp_path / "ct")
    assert archive.given == [] and list(tmp_path.iterdir()) == []


def test_where_it_cannot_be_put_is_found_before_it_is_fetched(
    files: list[Outgoing], wanted: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = Fake(files)
    (tmp_path / "place").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "place")
    made = fetch_series(archive, wanted, tmp_path / "link")
    assert made.folder == tmp_path / "place" and (tmp_path / "link" / MANIFEST).exists()
    monkeypatch.setattr(Path, "is_mount", lambda path: path.name == "disk")
    (tmp_path / "disk").mkdir()
    archive.given.clear()
    with pytest.raises(OutputError, match="a disk of its own"):
        fetch_series(archive, wanted, tmp_path / "disk")
    assert archive.given == []


def test_a_file_that_vanishes_meanwhile_is_told(files: list[Outgoing], tmp_path: Path) -> None:
    path = tmp_path / "gone.dcm"
    path.write_bytes(files[0].path.read_bytes())
    (gone,) = dicom_files([path])
    path.unlink()
    with pytest.raises(ConfigurationError, match="cannot be read any more"):
        read_to_send(gone)
    path.write_bytes(files[1].path.read_bytes())
    with pytest.raises(ConfigurationError, match="was changed while"):
        read_to_send(gone)


def test_an_interrupt_breaks_off_what_is_under_way(
    files: list[Outgoing], wanted: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, broken_off = Fake(files), Event()

    def endless(*_: Any) -> None:
        assert broken_off.wait(60)
        raise ServerError("it was broken off.")

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(archive, "retrieve", endless)
    monkeypatch.setattr(archive, "abort", broken_off.set)
    monkeypatch.setattr(rounds, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch_series(archive, wanted, tmp_path / "ct", sleep=never)
    assert broken_off.is_set() and not (tmp_path / "ct").exists()
