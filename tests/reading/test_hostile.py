"""Files made to do harm: bounded in time and memory, and refused in words."""

from __future__ import annotations

import gzip
import os
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from planner.errors import UnsuitableCtError
from planner.export.plan_json import FILE_NAME, read_plan
from planner.reading import inspect_ct, read_ct
from planner.reading.fragments import codestream_size
from planner.reading.images import load_image
from planner.review.journal import Journal
from planner.review.state import State

from .dicom_series import Series, write

NRRD = (
    "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 30 30 30\n"
    "space directions: (1,0,0) (0,1,0) (0,0,2.5)\nendian: little\nencoding: {encoding}\n"
    "space origin: (0,0,0)\n{more}\n"
)
META = (
    "NDims = 3\nCompressedData = False\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\n"
    "ElementSpacing = 1 1 2.5\nDimSize = 30 30 30\nElementType = MET_SHORT\nElementDataFile = {}\n"
)


def refusal(path: Path) -> str:
    with pytest.raises(UnsuitableCtError) as caught:
        read_ct(path)
    return str(caught.value)


def archive(path: Path, *members: tuple[str, bytes], mode: int = 0, method: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", method) as out:
        for name, data in members:
            member = zipfile.ZipInfo(name)
            member.create_system, member.external_attr = 3, mode << 16
            out.writestr(member, data, method)
    return path


def test_links_in_archives_are_refused(tmp_path):
    mode = stat.S_IFLNK | 0o777
    path = archive(tmp_path / "a.zip", ("link", b"/etc/passwd"), mode=mode)
    assert "members that are links" in refusal(path)


def test_deep_archives_are_refused(tmp_path):
    assert "64 deep" in refusal(archive(tmp_path / "a.zip", ("d/" * 1500 + "x", b"")))


def test_archives_of_other_methods_are_refused(tmp_path):
    path = archive(tmp_path / "a.zip", ("x", b"x" * 99), method=zipfile.ZIP_LZMA)
    assert "another method than deflate" in refusal(path)


def test_two_members_of_one_name_are_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate"):
        path = archive(tmp_path / "a.zip", ("x", b"1"), ("x", b"2"))
    assert "of the same name" in refusal(path)


def test_overlapping_members_are_refused(tmp_path):
    path = archive(tmp_path / "a.zip", ("x", bytes(10**6)), method=zipfile.ZIP_DEFLATED)
    data = path.read_bytes()
    table, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    entry = data[table:end]
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 50, 50, len(entry) * 50, table, 0)
    path.write_bytes(data[:table] + entry * 50 + tail)
    assert "overlap" in refusal(path)


def test_pipes_and_links_to_folders_are_passed_over_and_told(tmp_path):
    write(tmp_path / "ct", Series())
    os.mkfifo(tmp_path / "ct" / "pipe")
    (tmp_path / "ct" / "loop").symlink_to(tmp_path / "ct")
    volume = read_ct(tmp_path / "ct")
    assert "2 entries of the folder were passed over, such as 'loop'" in volume.warnings[0]
    assert "passed over" in inspect_ct(tmp_path / "ct")[0].notes[0]
    assert "neither a file nor a folder" in refusal(tmp_path / "ct" / "pipe")


def test_links_to_slices_are_read(tmp_path):
    write(tmp_path / "real", Series())
    (tmp_path / "ct").mkdir()
    for path in (tmp_path / "real").iterdir():
        (tmp_path / "ct" / path.name).symlink_to(path)
    assert read_ct(tmp_path / "ct").values.shape[2] == Series().slices


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"NumberOfFrames": 10**9}, "NumberOfFrames"),
        ({"NumberOfFrames": -3}, "NumberOfFrames"),
        ({"Rows": 0}, "0 x 24 pixels"),
        ({"BitsStored": 12, "HighBit": 2}, "stored up to bit 2"),
        ({"RescaleIntercept": "1e9"}, "RescaleIntercept reaches"),
        ({"RescaleSlope": "1e308"}, "no valid RescaleSlope"),
        ({"PixelSpacing": ["1e-9", "1e-9"]}, "finer than any CT"),
        ({"ImagePositionPatient": ["1e8", "0", "0"]}, "from the origin"),
    ],
)
def test_impossible_headers_are_refused(tmp_path, changes, words):
    def edit(ds, k):
        for keyword, value in changes.items():
            setattr(ds, keyword, value)

    assert words in refusal(write(tmp_path, Series(), edit))


def test_sizes_inside_compressed_pixels_are_known():
    jpeg = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xf7\x00\x0b\x10\x00\x14\x00\x18\x01"
    assert codestream_size(jpeg) == (20, 24)
    size = b"\xff\x4f\xff\x51\x00\x29\x00\x00" + struct.pack(">4L", 25, 22, 1, 2)
    assert codestream_size(size) == (20, 24)
    assert codestream_size(jpeg[:8]) is None


def test_streams_that_unpack_to_more_are_refused(tmp_path):
    path = tmp_path / "a.nrrd"
    head = NRRD.format(encoding="gzip", more="").encode()
    path.write_bytes(head + gzip.compress(bytes(4 << 20)))
    assert "more than the 54000 bytes" in refusal(path)


@pytest.mark.parametrize("name", ["/etc/passwd", "../v.raw", "sub/v.raw", "LIST", "gone.raw"])
def test_voxels_elsewhere_are_not_read(tmp_path, name):
    (tmp_path / "sub").mkdir()
    (tmp_path / "v.raw").write_bytes(bytes(54000))
    (tmp_path / "sub" / "v.raw").write_bytes(bytes(54000))
    nrrd, meta = tmp_path / "sub" / "a.nhdr", tmp_path / "sub" / "a.mhd"
    nrrd.write_text(NRRD.format(encoding="raw", more=f"data file: {name}\n"))
    meta.write_text(META.format(name))
    if name == "sub/v.raw":
        nrrd, meta = (p.rename(tmp_path / p.name) for p in (nrrd, meta))
    assert "keeps its voxels in" in refusal(nrrd)
    assert "keeps its voxels in" in refusal(meta)


def test_voxels_beside_a_header_may_be_named_with_a_dot(tmp_path):
    nrrd, meta = tmp_path / "a.nhdr", tmp_path / "a.mhd"
    (tmp_path / "v.raw").write_bytes(bytes(54000))
    nrrd.write_text(NRRD.format(encoding="raw", more="data file: ./v.raw\n"))
    meta.write_text(META.format("./v.raw"))
    for path in (nrrd, meta):
        assert load_image(path, path.name).grid.shape == (30, 30, 30)


def test_a_truncated_metaimage_is_refused(tmp_path):
    (tmp_path / "a.mha").write_bytes(META.format("LOCAL").encode() + bytes(100))
    assert "100 of 54000 bytes" in refusal(tmp_path / "a.mha")


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 100_000, '{"a": NaN}'])
def test_plans_that_are_nested_or_not_finite_are_refused(tmp_path, text):
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(UnsuitableCtError, match="is not a valid plan"):
        read_plan(tmp_path)


def test_plans_that_are_pipes_or_huge_are_refused(tmp_path):
    os.mkfifo(tmp_path / FILE_NAME)
    with pytest.raises(UnsuitableCtError, match="is no file"):
        read_plan(tmp_path)
    (tmp_path / FILE_NAME).unlink()
    with (tmp_path / FILE_NAME).open("wb") as out:
        out.truncate(1 << 30)
    with pytest.raises(UnsuitableCtError, match="at most"):
        read_plan(tmp_path)


def test_journals_that_are_nested_or_huge_are_set_aside(tmp_path):
    journal = Journal(tmp_path, "base")
    journal.path.write_bytes(b"[" * 200_000 + b"\n")
    assert "nothing of it is in this review" in journal.recover(State(()))[1]
    with journal.path.open("wb") as out:
        out.truncate(1 << 30)
    assert "larger than any journal" in journal.recover(State(()))[1]
    assert not journal.path.exists()
