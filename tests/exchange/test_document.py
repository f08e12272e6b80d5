"""dicom-pdf: a PDF that comes out as it went in, and a report that names nobody."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest

from planner.exchange import Handover
from planner.exchange.document import pdf, wrap
from tests.support.dicom_ct import PATIENT, STUDY
from tests.support.dicom_tools import errors, run

EVEN = b"%PDF-1.7\nnothing but a test\n%%EOF\n"
ODD = EVEN + b"\n"


@pytest.mark.parametrize("data", [EVEN, ODD])
def test_the_document_comes_out_as_it_went_in(
    handover: Handover, tmp_path: Path, data: bytes
) -> None:
    assert (len(EVEN) % 2, len(ODD) % 2) == (0, 1)
    wrap(handover, data, tmp_path / "x.dcm")
    made = pydicom.dcmread(tmp_path / "x.dcm")
    assert made.EncapsulatedDocumentLength == len(data)
    assert len(made.EncapsulatedDocument) == len(data) + len(data) % 2
    assert made.EncapsulatedDocument[: made.EncapsulatedDocumentLength] == data
    assert made.MIMETypeOfEncapsulatedDocument == "application/pdf"
    assert made.SOPClassUID == pydicom.uid.EncapsulatedPDFStorage
    assert made.DocumentTitle == "Sacroplasty needle plan: planned, not for clinical use"
    assert made.BurnedInAnnotation == "YES"  # a series description may be anything
    assert made.StudyInstanceUID == handover.headers[0].StudyInstanceUID
    assert made.PatientName == PATIENT["PatientName"]
    named = [item.ReferencedSOPInstanceUID for item in made.SourceInstanceSequence]
    assert named == [header.SOPInstanceUID for header in handover.headers]


@pytest.mark.parametrize("data", [EVEN, ODD])
def test_dcmtk_takes_the_same_bytes_out(handover: Handover, tmp_path: Path, data: bytes) -> None:
    wrap(handover, data, tmp_path / "x.dcm")
    run("dcm2pdf", tmp_path / "x.dcm", tmp_path / "x.pdf")
    assert (tmp_path / "x.pdf").read_bytes() == data


def test_dciodvfy_finds_no_error(handover: Handover, tmp_path: Path) -> None:
    wrap(handover, ODD, tmp_path / "x.dcm")
    assert errors(tmp_path / "x.dcm") == []


@pytest.mark.slow
def test_the_report_names_nobody_and_is_the_same_each_time(
    handover: Handover, tmp_path: Path
) -> None:
    """What BurnedInAnnotation promises: no word of the CT's patient is in the pages."""
    pytest.importorskip("weasyprint", reason="the extra pdf is not installed")
    pypdf = pytest.importorskip("pypdf", reason="pypdf is not installed")
    for name in ("x.dcm", "y.dcm"):
        pdf(handover, tmp_path / name)
    assert (tmp_path / "x.dcm").read_bytes() == (tmp_path / "y.dcm").read_bytes()
    made = pydicom.dcmread(tmp_path / "x.dcm")
    out = tmp_path / "x.pdf"
    out.write_bytes(made.EncapsulatedDocument[: made.EncapsulatedDocumentLength])
    text = " ".join(page.extract_text() for page in pypdf.PdfReader(out).pages)
    assert "not a medical device" in text
    assert handover.paths[0].id in text
    for word in (*PATIENT.values(), *STUDY.values()):
        if len(word) > 3:  # "F" and "7" are in any text
            assert word not in text
    assert "Doe" not in text
