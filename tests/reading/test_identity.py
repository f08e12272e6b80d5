"""Who a CT belongs to: read where asked for, from the series that was planned on."""

from pathlib import Path

import pytest

from planner.errors import ConfigurationError
from planner.reading import read_identity
from tests.reading import dicom_series
from tests.reading.dicom_series import Series, write


def test_it_is_that_of_the_series_planned_on(tmp_path: Path) -> None:
    mine, other = Series(slices=3, patient="MINE-1"), Series(slices=3, patient="OTHER-2")
    write(tmp_path / "a", mine)
    write(tmp_path / "b", other)
    found = read_identity(tmp_path, mine.uid)
    assert found["Patient ID"] == "MINE-1"
    assert found["Patient"] == dicom_series.SECRET.replace("^", " ")
    assert found["Born"] == "19440229"
    assert "Accession number" not in found
    assert read_identity(tmp_path, other.uid)["Patient ID"] == "OTHER-2"


def test_another_ct_is_refused(tmp_path: Path) -> None:
    write(tmp_path, Series(slices=3))
    with pytest.raises(ConfigurationError, match=r"holds no series 1\.2\.3"):
        read_identity(tmp_path, "1.2.3")


def test_a_ct_without_names_says_so(tmp_path: Path) -> None:
    series = Series(slices=3, patient="")

    def strip(ds, k) -> None:
        ds.PatientName, ds.PatientBirthDate = "", ""

    write(tmp_path, series, strip)
    assert read_identity(tmp_path, series.uid) == {"Patient": "the CT names nobody"}
