"""The choice among series follows the stated rules and never the names of files."""

from __future__ import annotations

import pytest

from planner.errors import UnsuitableCtError
from planner.reading import inspect_ct, read_ct
from planner.reading.choose import BONE, LUNG, SOFT, UNKNOWN, kernel_class

from .dicom_series import Series, write


def chosen(tmp_path, *series: Series) -> str:
    for number, one in enumerate(series):
        write(tmp_path / f"s{number}", one)
    volume = read_ct(tmp_path)
    reports = inspect_ct(tmp_path)
    assert reports[0].chosen
    assert sum(r.chosen for r in reports) == 1
    assert reports[0].uid == volume.source.series_instance_uid
    assert reports[0].why == volume.source.choice
    return volume.source.series_instance_uid


GOOD = Series(slices=44, step=3.3, uid="1.2.9")


@pytest.mark.parametrize(
    "worse",
    [
        Series(slices=30, step=3.3, uid="1.2.1"),
        Series(slices=43, step=3.4, uid="1.2.1"),
        Series(slices=44, step=3.3, uid="1.2.1", image_type=("DERIVED", "SECONDARY", "MPR")),
        Series(slices=44, step=3.3, uid="1.2.1", kernel="Br64"),
        Series(slices=44, step=3.3, uid="1.2.1", kernel="LUNG"),
        Series(slices=44, step=3.3, uid="1.2.1", pixel=(1.3, 1.3)),
    ],
    ids=["shorter", "thicker", "reformat", "bone kernel", "lung kernel", "larger pixels"],
)
def test_rules(tmp_path, worse):
    assert chosen(tmp_path, worse, GOOD) == "1.2.9"


def test_a_thin_bone_series_goes_before_a_thick_soft_one(tmp_path):
    thin = Series(slices=60, step=2.4, kernel="BONE", uid="1.2.8")
    assert chosen(tmp_path, GOOD, thin) == "1.2.8"


def test_ties_break_by_uid(tmp_path):
    assert chosen(tmp_path, GOOD, Series(slices=44, step=3.3, uid="1.2.5", seed=4)) == "1.2.5"


def test_the_user_may_name_a_series(tmp_path):
    write(tmp_path / "a", GOOD)
    write(tmp_path / "b", Series(step=3.0, uid="1.2.7"))
    volume = read_ct(tmp_path, series="1.2.7")
    assert volume.source.series_instance_uid == "1.2.7"
    assert "named by the user" in volume.source.choice
    with pytest.raises(
        UnsuitableCtError, match="series 9.9 is not among those found: 1.2.7, 1.2.9"
    ):
        read_ct(tmp_path, series="9.9")


def test_a_better_series_that_is_broken_is_said(tmp_path):
    write(tmp_path / "a", GOOD)
    broken = Series(slices=60, step=2.4, uid="1.2.8")
    write(tmp_path / "b", broken, keep=[k for k in range(60) if k != 30])
    volume = read_ct(tmp_path)
    assert volume.source.series_instance_uid == "1.2.9"
    assert any("1.2.8 would have come first" in w and "missing" in w for w in volume.warnings)
    with pytest.raises(UnsuitableCtError, match="missing: there is none"):
        read_ct(tmp_path, series="1.2.8")


def test_two_patients_are_not_chosen_between(tmp_path, assert_private):
    write(tmp_path / "a", GOOD)
    write(tmp_path / "b", Series(uid="1.2.7", patient="PAT-4712"))
    with pytest.raises(UnsuitableCtError, match="more than one patient") as caught:
        read_ct(tmp_path)
    assert_private(str(caught.value))
    assert read_ct(tmp_path, series="1.2.7").source.series_instance_uid == "1.2.7"


def test_two_studies_are_said(tmp_path):
    write(tmp_path / "a", GOOD)
    write(tmp_path / "b", Series(uid="1.2.7", study="1.2.840.5"))
    assert any("more than one study" in w for w in read_ct(tmp_path).warnings)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Br40d/3", SOFT), ("B30f", SOFT), ("B60s", BONE), ("B80s", LUNG), ("Hr60", BONE),
        ("STANDARD", SOFT), ("BONEPLUS", BONE), ("LUNG", LUNG), ("FC08", SOFT), ("FC30", BONE),
        ("FC86", LUNG), ("B", SOFT), ("YB", BONE), ("", UNKNOWN), ("xyz", UNKNOWN),
    ],
)  # fmt: skip
def test_kernels(name, kind):
    assert kernel_class(name) == kind
