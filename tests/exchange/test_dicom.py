"""What DICOM exports share: the patient and study of the CT, and times without a guess."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import SegmentationStorage

from planner.errors import ConfigurationError
from planner.exchange import FORMATS, Handover
from planner.exchange.dicom import (
    REQUIRED,
    SERIES_NUMBERS,
    about_study,
    day_and_time,
    frame_of_reference,
    new_series,
    save,
)
from tests.support.dicom_ct import PATIENT, STUDY


def changed(handover: Handover, **values: str) -> Handover:
    """The handover with other values in the first header; empty ones are left out of it."""
    header = Dataset()
    header.update(deepcopy(handover.headers[0]))
    for keyword, value in values.items():
        if keyword in header:
            del header[keyword]
        if value:
            setattr(header, keyword, value)
    return replace(handover, headers=(header, *handover.headers[1:]))


def test_patient_and_study_are_those_of_the_ct(handover: Handover) -> None:
    made, source = about_study(handover), handover.headers[0]
    for keyword in REQUIRED:
        assert str(made[keyword].value) == {**PATIENT, **STUDY}[keyword]
    assert made.StudyInstanceUID == source.StudyInstanceUID
    assert made.PatientAge == "078Y"
    for keyword in ("PatientAddress", "OtherPatientNames", "InstitutionName", "OperatorsName"):
        assert keyword in source
        assert keyword not in made


def test_what_the_ct_lacks_is_there_and_empty(handover: Handover) -> None:
    made = about_study(changed(handover, AccessionNumber="", StudyID="", PatientAge=""))
    assert made["AccessionNumber"].is_empty
    assert made["StudyID"].is_empty
    assert "PatientAge" not in made


@pytest.mark.parametrize(
    ("keyword", "make"),
    [("StudyInstanceUID", about_study), ("FrameOfReferenceUID", frame_of_reference)],
)
def test_a_ct_without_its_uid_is_refused(handover: Handover, keyword: str, make) -> None:
    with pytest.raises(ConfigurationError, match=keyword):
        make(changed(handover, **{keyword: ""}))


def test_formats_that_place_something_say_so_before_they_are_asked(handover: Handover) -> None:
    lost = changed(handover, FrameOfReferenceUID="")
    for name in ("dicom-seg", "dicom-sr"):
        assert FORMATS[name].missing(handover) == ""
        assert "with a frame of reference" in FORMATS[name].missing(lost)


def test_names_in_other_alphabets_survive(handover: Handover, tmp_path: Path) -> None:
    source = changed(handover).headers[0]
    source.SpecificCharacterSet = "ISO_IR 100"
    source.PatientName = "Müller^Jörg"
    path = tmp_path / "latin.dcm"
    source.save_as(path, implicit_vr=True, little_endian=True)
    assert "Müller".encode("latin-1") in path.read_bytes()
    latin = pydicom.dcmread(path, force=True)
    made = new_series(replace(handover, headers=(latin,)), "dicom-seg", "SEG", "x")
    made.SOPClassUID = SegmentationStorage
    save(made, tmp_path / "made.dcm")
    assert str(pydicom.dcmread(tmp_path / "made.dcm").PatientName) == "Müller^Jörg"
    assert "Müller".encode() in (tmp_path / "made.dcm").read_bytes()


def test_a_series_of_its_own_says_what_it_is_not(handover: Handover) -> None:
    made = {name: new_series(handover, name, "SEG", "anatomy") for name in SERIES_NUMBERS}
    series = {item.SeriesInstanceUID for item in made.values()}
    assert len(series | {handover.headers[0].SeriesInstanceUID}) == len(SERIES_NUMBERS) + 1
    assert len({item.SOPInstanceUID for item in made.values()}) == len(SERIES_NUMBERS)
    first = made["dicom-seg"]
    assert first.SeriesDescription == "planner anatomy: planned, not for clinical use"
    assert first.Manufacturer == "planner"
    assert new_series(handover, "dicom-seg", "SEG", "anatomy") == first
    with pytest.raises(ValueError, match="64 characters"):
        new_series(handover, "dicom-seg", "SEG", "a" * 40)


def test_times_are_told_in_the_zone_of_the_ct(handover: Handover) -> None:
    late = replace(handover, moment=datetime(2026, 3, 31, 23, 30, tzinfo=UTC))
    assert day_and_time(late) == ("20260331", "233000")
    east = changed(late, TimezoneOffsetFromUTC="+0200")
    assert day_and_time(east) == ("20260401", "013000")
    assert new_series(east, "dicom-sr", "SR", "x").TimezoneOffsetFromUTC == "+0200"
    assert "TimezoneOffsetFromUTC" not in new_series(late, "dicom-sr", "SR", "x")
