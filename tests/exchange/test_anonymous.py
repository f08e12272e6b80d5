"""Nothing that identifies the patient of the CT is left in anything that is exported."""

from __future__ import annotations

import gzip
import io
import json
import re
import shutil
import zlib
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pypdf import PdfReader

pytest.importorskip("dicomanonymizer")

from planner.errors import ConfigurationError
from planner.exchange import FORMATS, Handover, Settings, export_plan
from planner.exchange.anonymous import anonymous
from tests.support.dicom_ct import PATIENT, STUDY

OTHER_UID = "1.2.840.99999.7.7.7"
REMARK = "Jane Doe had tea with Dr Smith"


def identifiers(ct: Path) -> set[str]:
    """Every text of the CT's headers that names somebody or something, UIDs included."""
    header = pydicom.dcmread(next(iter(sorted(ct.iterdir()))), stop_before_pixels=True)
    found = {str(value) for value in (*PATIENT.values(), *STUDY.values())}
    found |= {part for value in found for part in re.split(r"\^", value)}
    found |= {str(header[name].value) for name in ("StudyInstanceUID", "SeriesInstanceUID")}
    found |= {str(header[name].value) for name in ("FrameOfReferenceUID", "SOPInstanceUID")}
    return {each for each in found if len(each) >= 4}


def contents(path: Path) -> bytes:
    """The bytes of a file, and of what is packed in it."""
    data = path.read_bytes()
    if path.name.endswith(".gz"):
        data += gzip.decompress(data)
    if path.suffix == ".nrrd":
        head, _, body = data.partition(b"\n\n")
        data = head + gzip.GzipFile(fileobj=io.BytesIO(body)).read()
    start = data.find(b"%PDF-")
    if start >= 0:
        pages = PdfReader(io.BytesIO(data[start:])).pages
        data += " ".join(page.extract_text() for page in pages).encode()
    for packed in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", data, re.DOTALL):  # of a PDF
        try:
            data += zlib.decompress(packed)
        except zlib.error:
            continue
    return data


@pytest.fixture
def signed(dicom_plan: tuple[Path, Path], tmp_path: Path) -> Path:
    """The plan folder with a review that names people."""
    folder = Path(shutil.copytree(dicom_plan[0], tmp_path / "plan"))
    path = folder / "plan.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    verdict = {"verdict": "accepted", "origin": "planned", "note": REMARK, "reason": REMARK}
    values["trajectories"][0]["review"] = verdict
    change = {"revision": 1, "time": "2026", "action": "note", "path": "", "after": REMARK}
    values["review"] = {
        "revision": 1,
        "saved": "2026-01-03T00:00:00+00:00",
        "before_sha256": "0" * 64,
        "note": REMARK,
        "signed": {"name": "Doe^Jane", "time": "2026-01-03"},
        "changes": [change],
    }
    values["ct"] |= {"convolution_kernel": "Br40 Qkernelx", "patient_position": "Qlyingx"}
    values["warnings"].append("2 entries were passed over, such as 'Jane_at_home': links.")
    values["warnings"].append(f"series {OTHER_UID} was not taken")
    path.write_text(json.dumps(values), encoding="utf-8")
    return folder


def test_no_identifier_is_left_anywhere(signed: Path, dicom_plan: tuple[Path, Path]) -> None:
    known = identifiers(dicom_plan[1]) | {REMARK, OTHER_UID, "Jane_at_home", "Qkernelx", "Qlyingx"}
    quick = [name for name in FORMATS if name not in SLOW]
    names = [name for name in quick if not FORMATS[name].missing_extra]
    plain, _ = export_plan(signed, names, ct=dicom_plan[1], output=signed / "plain")
    clean, _ = export_plan(
        signed, names, ct=dicom_plan[1], output=signed / "clean", settings=Settings(anonymize=True)
    )
    assert found_in(plain, known)  # or else the search below finds nothing either
    assert found_in(clean, known) == {}


SLOW = ("report", "dicom-pdf", "dicom-sc")


@pytest.mark.slow
def test_no_identifier_is_left_in_what_a_person_reads(
    signed: Path, dicom_plan: tuple[Path, Path]
) -> None:
    known = identifiers(dicom_plan[1]) | {REMARK, OTHER_UID, "Jane_at_home", "Qkernelx", "Qlyingx"}
    names = [n for n in SLOW if n in FORMATS and not FORMATS[n].missing_extra]
    plain, _ = export_plan(signed, names, ct=dicom_plan[1], output=signed / "plain")
    told = found_in(plain, known)
    assert {"report.html", "report.pdf.dcm"} <= set(told)  # or else nothing is found below either
    settings = Settings(anonymize=True)
    clean, _ = export_plan(signed, names, ct=dicom_plan[1], settings=settings)
    assert found_in(clean, known) == {}


def found_in(paths: list[Path], known: set[str]) -> dict[str, set[str]]:
    files = [f for path in paths for f in ([path] if path.is_file() else path.rglob("*"))]
    found: dict[str, set[str]] = {}
    for file in files:
        if file.is_file():
            data = contents(file) + str(file.name).encode()
            hit = {each for each in known if each.encode() in data}
            if hit:
                found[file.name] = hit
    return found


def test_headers_keep_their_geometry_and_their_ties(handover: Handover) -> None:
    clean = anonymous(replace(handover, settings=Settings(anonymize=True)))
    assert len({header.StudyInstanceUID for header in clean.headers}) == 1
    assert len({header.SOPInstanceUID for header in clean.headers}) == len(clean.headers)
    for before, after in zip(handover.headers, clean.headers, strict=True):
        assert after.ImagePositionPatient == before.ImagePositionPatient
        assert after.StudyInstanceUID == clean.document.ct.study_instance_uid
        assert after.StudyInstanceUID != before.StudyInstanceUID
        assert after.PatientIdentityRemoved == "YES"
    frame = clean.document.frame.frame_of_reference_uid
    assert (
        clean.headers[0].FrameOfReferenceUID
        == frame
        == clean.opened.anatomy.grid.frame_of_reference_uid
    )
    again = anonymous(replace(handover, settings=Settings(anonymize=True)))
    other = again.headers[0].StudyInstanceUID  # not reproducible: nobody can go back by trying
    assert other != clean.headers[0].StudyInstanceUID


def test_nested_and_private_elements_go_too(handover: Handover) -> None:
    header = Dataset()
    header.update(handover.headers[0])
    step = Dataset()
    step.ReferringPhysicianName = "Nested^Name"
    step.RequestedProcedureDescription = "for Jane"
    inner = Dataset()
    inner.PatientName = "Inner^Jane"
    step.add_new((0x0040, 0xA730), "SQ", [inner])
    header.add_new((0x0008, 0x1111), "SQ", [step])
    header.add_new((0x0012, 0x0062), "CS", "NO")
    header.private_block(0x0099, "TOYS", create=True).add_new(1, "LO", "Jane again")
    clean = anonymous(replace(handover, headers=(header,), settings=Settings(anonymize=True)))
    text = str(clean.headers[0])
    for name in ("Nested", "Inner", "Jane", "TOYS"):
        assert name not in text


def test_a_name_in_an_id_is_refused(dicom_plan: tuple[Path, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(dicom_plan[0], tmp_path / "plan"))
    path = folder / "plan.json"
    text = path.read_text(encoding="utf-8").replace("short_axis-left-1", "for_jane-left")
    path.write_text(text, encoding="utf-8")
    given = Handover.of(folder, dicom_plan[1], Settings(anonymize=True), dicom=True)
    with pytest.raises(ConfigurationError, match="ids of paths hold the PatientName"):
        anonymous(given)
