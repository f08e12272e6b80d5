"""Folders, single files and archives."""

from __future__ import annotations

import os
import tempfile
import zipfile

import pytest

from planner.errors import UnsuitableCtError
from planner.reading import archive as archive_module
from planner.reading import inspect_ct, read_ct
from planner.reading import source as source_module

from .dicom_series import Series, clutter, enhanced, save, write


def refusal(path) -> str:
    with pytest.raises(UnsuitableCtError) as caught:
        read_ct(path)
    assert caught.value.exit_status == 3
    with pytest.raises(UnsuitableCtError):
        inspect_ct(path)
    return str(caught.value)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A temporary directory of its own, to see what stays behind."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def pack(path, folder):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path


def test_archive_is_read_and_removed(tmp_path, temporary, assert_marker):
    series = Series()
    write(tmp_path / "ct" / "deep" / "er", series)
    clutter(tmp_path / "ct", series)
    volume = read_ct(pack(tmp_path / "ct.zip", tmp_path / "ct"))
    assert_marker(volume, series.marker_point)
    assert list(temporary.iterdir()) == []
    assert volume.source.sha256 == read_ct(tmp_path / "ct").source.sha256


def test_archive_is_removed_after_a_refusal(tmp_path, temporary):
    write(tmp_path / "ct", Series(), keep=range(10))
    path = pack(tmp_path / "ct.zip", tmp_path / "ct")
    with pytest.raises(UnsuitableCtError, match="10 slices") as caught:
        read_ct(path)
    assert str(temporary) not in str(caught.value)
    assert not inspect_ct(path)[0].usable
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("member", ["../evil", "/etc/evil", "a/../../evil", "..\\evil", "C:\\evil"])
def test_members_outside_the_archive_are_refused(tmp_path, temporary, member):
    path = tmp_path / "ct.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good", b"x")
        archive.writestr(member, b"evil")
    assert "members that point outside of it" in refusal(path)
    assert not list(tmp_path.rglob("evil"))
    assert list(temporary.iterdir()) == []


def test_too_large_archives_are_refused(tmp_path, temporary, monkeypatch):
    monkeypatch.setattr(archive_module, "LARGEST_ARCHIVE_BYTES", 1000)
    path = tmp_path / "ct.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(100_000))
    assert "at most" in refusal(path)


def test_encrypted_archives_are_refused(tmp_path):
    path = tmp_path / "ct.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("IM1", b"x" * 100)
    data = bytearray(path.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(magic) + offset] |= 1
    path.write_bytes(bytes(data))
    assert "is encrypted; give it decrypted" in refusal(path)


def test_damaged_archives_are_refused(tmp_path):
    write(tmp_path / "ct", Series())
    path = pack(tmp_path / "ct.zip", tmp_path / "ct")
    path.write_bytes(path.read_bytes()[:4000])
    assert "damaged or no .zip" in refusal(path)
    path.write_bytes(b"no archive")
    assert "damaged or no .zip" in refusal(path)


def test_what_is_not_there_is_refused(tmp_path):
    assert "does not exist" in refusal(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    assert "is empty" in refusal(tmp_path / "empty")
    (tmp_path / "file").write_bytes(b"")
    assert "is empty" in refusal(tmp_path / "file")


def test_folders_without_dicom_are_refused(tmp_path):
    for n in range(3):
        (tmp_path / f"IM{n}.dcm").write_bytes(b"\x30\x82\x10\x00" + os.urandom(500))
    text = refusal(tmp_path)
    assert "holds 3 files and none of them is DICOM" in text
    assert "encrypted" in text
    assert "is not a DICOM file" in refusal(tmp_path / "IM0.dcm")


def test_folders_without_images_are_refused(tmp_path):
    clutter(tmp_path, Series())
    assert "without a single image" in refusal(tmp_path)


def test_a_broken_header_is_refused(tmp_path):
    write(tmp_path, Series())
    path = tmp_path / "IM0003"
    path.write_bytes(path.read_bytes()[:180])
    with pytest.raises(UnsuitableCtError, match="may be slices of the CT, such as IM0003"):
        read_ct(tmp_path)
    (report,) = inspect_ct(tmp_path)
    assert not report.usable
    assert not report.chosen


def test_a_single_slice_asks_for_the_series(tmp_path):
    write(tmp_path, Series(), keep=[3])
    with pytest.raises(UnsuitableCtError, match="give the whole series"):
        read_ct(tmp_path / "IM0003")


def test_folders_that_cannot_be_listed_are_refused(tmp_path, monkeypatch):
    write(tmp_path / "ct", Series())

    def walk(top, onerror):
        onerror(PermissionError(13, "Permission denied", str(tmp_path / "ct")))
        yield str(top), [], []

    monkeypatch.setattr(source_module.os, "walk", walk)
    with pytest.raises(UnsuitableCtError, match="Permission denied"):
        read_ct(tmp_path)


def test_an_archive_of_one_multi_frame_file(tmp_path, assert_marker):
    series = Series()
    (tmp_path / "in").mkdir()
    save(enhanced(series), tmp_path / "in" / "ct")
    volume = read_ct(pack(tmp_path / "ct.zip", tmp_path / "in"))
    assert_marker(volume, series.marker_point)


def test_no_message_names_the_patient(tmp_path, capfd, assert_private):
    """Odd header values make the parser talk; nothing of it may reach the terminal."""
    series = Series(patient="P" * 70)

    def odd(ds, k):
        ds.PatientName = "Mustermann^Erika" * 8
        ds.PatientBirthDate = "19440229"

    write(tmp_path, series, odd)
    capfd.readouterr()
    volume = read_ct(tmp_path)
    seen = capfd.readouterr()
    text = seen.out + seen.err + repr(volume.source) + repr(volume.warnings)
    assert_private(text + repr(inspect_ct(tmp_path)))
