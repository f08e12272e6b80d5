"""What is wrong with a series is named, and what can be resolved is resolved by a stated rule."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from planner.errors import UnsuitableCtError
from planner.reading import inspect_ct, read_ct

from .dicom_series import Series, save, set_pixels, write


def refusal(path, **options) -> str:
    with pytest.raises(UnsuitableCtError) as caught:
        read_ct(path, **options)
    assert caught.value.exit_status == 3
    text = str(caught.value)
    assert "\n" not in text
    return text


def warned(path, words: str, **options):
    volume = read_ct(path, **options)
    assert any(words in warning for warning in volume.warnings), volume.warnings
    return volume


@pytest.mark.parametrize("lost", [1, 13, 24])
def test_a_missing_slice_is_refused_with_its_place(tmp_path, lost):
    series = Series()
    text = refusal(write(tmp_path, series, keep=[k for k in range(26) if k != lost]))
    assert "about 1 slice is missing" in text
    below, above = series.slice_origin(lost - 1), series.slice_origin(lost + 1)
    assert f"({below[0]:.2f}, {below[1]:.2f}, {below[2]:.2f})" in text
    assert f"{above[2]:.2f}) (ImagePositionPatient" in text
    assert "export the series again" in text


def test_uneven_spacing_is_refused(tmp_path):
    def stretch(ds, k):
        ds.ImagePositionPatient[2] += 0.02 * k + (0.4 if k > 17 else 0)

    assert "unevenly spaced" in refusal(write(tmp_path, Series(), stretch))


def test_rounded_positions_are_even(tmp_path):
    def blur(ds, k):
        ds.ImagePositionPatient[2] = round(ds.ImagePositionPatient[2] + 0.004 * (-1) ** k, 2)

    assert read_ct(write(tmp_path, Series(step=2.453), blur)).values.shape == (24, 20, 26)


def test_a_jump_of_the_table_is_refused(tmp_path):
    def jump(ds, k):
        ds.ImagePositionPatient[0] += 3.0 if k > 20 else 0.0

    assert "do not lie on a straight line" in refusal(write(tmp_path, Series(), jump))


def test_a_steep_shear_is_refused(tmp_path):
    assert "more than any gantry" in refusal(write(tmp_path, Series(travel=(0, 2.5, 2.5))))


def test_files_that_came_twice_are_used_once(tmp_path, assert_marker):
    series = Series()
    write(tmp_path / "a", series)
    plain = read_ct(tmp_path)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    volume = warned(tmp_path, "26 images of this series came twice")
    assert volume.source.sha256 == plain.source.sha256
    assert_marker(volume, series.marker_point)


def test_equal_pixels_at_one_position_are_used_once(tmp_path):
    def rename(ds, k):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{k}"

    series = Series()
    write(tmp_path / "a", series)
    write(tmp_path / "b", series, rename, keep=[4, 9])
    volume = warned(tmp_path, "2 slices repeat another one exactly")
    np.testing.assert_array_equal(volume.values, series.hu())


@pytest.mark.parametrize("same_instance", [True, False])
def test_other_pixels_at_one_position_are_refused(tmp_path, same_instance):
    def alter(ds, k):
        if not same_instance:
            ds.SOPInstanceUID = "1.2.3.4"
        set_pixels(ds, ds.pixel_array + 1)

    series = Series()
    write(tmp_path / "a", series)
    write(tmp_path / "b", series, alter, keep=[4])
    text = refusal(tmp_path)
    assert "share their position with another slice but not its pixels" in text
    assert f"{series.slice_origin(4)[2]:.2f}" in text


def four_d(tmp_path, keyword: str, slices: int = 26) -> Series:
    first = Series()
    second = Series(uid=first.uid, seed=1, slices=slices)
    write(tmp_path / "a", first, lambda ds, k: setattr(ds, keyword, 1))

    def later(ds, k):
        setattr(ds, keyword, 2)
        ds.SOPInstanceUID = f"1.2.3.{k}"

    write(tmp_path / "b", second, later)
    return first


@pytest.mark.parametrize("keyword", ["TemporalPositionIdentifier", "AcquisitionNumber"])
def test_4d_is_refused_until_one_time_is_named(tmp_path, keyword):
    first = four_d(tmp_path, keyword)
    text = refusal(tmp_path)
    assert "same place more than once" in text
    assert f"--series {first.uid}#1 or --series {first.uid}#2" in text
    assert "same place more than once" in refusal(tmp_path, series=first.uid)
    labels = {r.label for r in inspect_ct(tmp_path)}
    assert labels == {f"{first.uid}#1", f"{first.uid}#2"}
    volume = read_ct(tmp_path, series=f"{first.uid}#1")
    np.testing.assert_array_equal(volume.values, first.hu())
    assert not any(r.chosen for r in inspect_ct(tmp_path))


MARKS = {
    "AcquisitionNumber": (2, 3),
    "AcquisitionTime": ("101500.1", "101533.9"),
    "SliceThickness": (1.25, 2.5),
    "KVP": (100, 140),
    "ReconstructionDiameter": (350, 400),
    "ContrastBolusAgent": ("", "Iohexol"),
}


@pytest.mark.parametrize("keyword", MARKS)
def test_two_acquisitions_that_alternate_are_not_zipped(tmp_path, keyword):
    first = Series()
    second = Series(uid=first.uid, seed=1, origin=(-31.0, -142.5, 87.25 + 1.25))
    for n, series in enumerate((first, second)):

        def mark(ds, k, n=n):
            setattr(ds, keyword, MARKS[keyword][n])
            ds.SOPInstanceUID = f"1.2.{n}.{k}"

        write(tmp_path / str(n), series, mark)
    text = refusal(tmp_path)
    assert "same place more than once" in text
    assert f"--series {first.uid}#1 or --series {first.uid}#2" in text
    for n, series in enumerate((first, second), start=1):
        volume = read_ct(tmp_path, series=f"{first.uid}#{n}")
        np.testing.assert_array_equal(volume.values, series.hu())
    assert keyword not in "".join(volume.source.choice)


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("SliceThickness", ("2.5", "2.50", "2.501")),
        ("ReconstructionDiameter", ("350", "350.0001", "349.9")),
        ("KVP", ("120", "120.0", "119.7")),
        ("AcquisitionNumber", (1, None, 1)),
        ("AcquisitionTime", ("101500.25", "", "101500.25")),
    ],
)
def test_what_writers_round_or_leave_out_makes_no_second_acquisition(tmp_path, keyword, values):
    series = Series()
    write(tmp_path, series, lambda ds, k: setattr(ds, keyword, values[k % 3]))
    volume = read_ct(tmp_path)
    np.testing.assert_array_equal(volume.values, series.hu())
    assert "holds" not in "".join(volume.warnings)


def test_times_that_go_back_and_forth_are_refused(tmp_path):
    def time(ds, k):
        ds.AcquisitionTime = f"10{15 + 10 * (k % 2)}{k:02d}"

    text = refusal(write(tmp_path, Series(), time))
    assert "acquisition times go back and forth" in text
    plain = write(
        tmp_path / "b", Series(), lambda ds, k: setattr(ds, "AcquisitionTime", f"1015{k:02d}")
    )
    assert read_ct(plain).values.shape[2] == 26


@pytest.mark.parametrize(("jitter", "right"), [(2e-4, True), (1.5e-3, False)])
def test_orientations_that_alternate_are_rounding_or_refused(tmp_path, jitter, right):
    def turn(ds, k):
        ds.ImageOrientationPatient = [1, jitter * (k % 2), 0, -jitter * (k % 2), 1, 0]

    folder = write(tmp_path, Series(), turn)
    if right:
        volume = read_ct(folder)
        assert volume.values.shape[2] == 26 and "orientation" not in "".join(volume.warnings)
    else:
        text = refusal(folder)
        assert "alternate between orientations whose cosines differ by 1.5e-03" in text


def test_slices_numbered_as_acquisitions_stay_together(tmp_path):
    """A sequential scan numbers every rotation as an acquisition."""

    def number(ds, k):
        ds.AcquisitionNumber = k // 2

    assert read_ct(write(tmp_path, Series(), number)).values.shape[2] == 26


def test_mixed_kernels_become_stacks_of_their_own(tmp_path):
    soft = Series(kernel="Br40")
    write(tmp_path / "soft", soft)
    sharp = Series(kernel="Br64", uid=soft.uid, seed=2)
    write(tmp_path / "sharp", sharp, lambda ds, k: setattr(ds, "SOPInstanceUID", f"1.2.3.{k}"))
    volume = warned(tmp_path, "2 stacks that differ in kernel")
    np.testing.assert_array_equal(volume.values, soft.hu())
    assert "kernel Br40 (soft)" in volume.source.choice


@pytest.mark.parametrize(
    ("edit", "word"),
    [
        (lambda ds, k: setattr(ds, "ConvolutionKernel", "Br64"), "kernel"),
        (lambda ds, k: setattr(ds, "PixelSpacing", [1.0, 1.0]), "pixel spacing"),
        (lambda ds, k: set_pixels(ds, np.zeros((20, 22))), "matrix size"),
        (lambda ds, k: setattr(ds, "FrameOfReferenceUID", "1.2.9"), "frame of reference"),
        (
            lambda ds, k: setattr(ds, "ImageOrientationPatient", [1, 0, 0, 0, 0.9994, 0.0346]),
            "orientation",
        ),
    ],
)
def test_a_slice_of_another_kind_leaves_a_gap_that_is_refused(tmp_path, edit, word):
    series = Series()
    folder = write(tmp_path, series, lambda ds, k: edit(ds, k) if k == 11 else None)
    text = refusal(folder)
    assert "missing: there is none" in text
    assert f"differ in {word}" in text


def test_localizer_in_the_same_series_is_left_out(tmp_path, assert_marker):
    series = Series()

    def scout(ds, k):
        ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
        ds.SOPInstanceUID = "1.2.3"

    write(tmp_path, series)
    write(tmp_path, series, scout, keep=[0], name=lambda k: "scout")
    assert_marker(read_ct(tmp_path), series.marker_point)
    reports = inspect_ct(tmp_path)
    assert [r.usable for r in reports] == [True, False]
    assert any("localizer" in p for p in reports[1].problems)


@pytest.mark.parametrize(
    ("series", "edit", "words"),
    [
        (Series(), lambda ds, k: setattr(ds, "Modality", "MR"), "its modality is MR"),
        (
            Series(),
            lambda ds, k: setattr(ds, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.7"),
            "not stored as CT images",
        ),
        (Series(slices=18, step=3.45), None, "18 slices and at least 20"),
        (Series(step=3.6), None, "at most 3.5 mm"),
        (Series(pixel=(3.7, 3.7)), None, "at most 3.5 mm"),
        (Series(step=1.0), None, "26.0 mm tall and a sacrum needs at least 60 mm"),
        (Series(), lambda ds, k: ds.__delattr__("ImagePositionPatient"), "no position or orientat"),
        (Series(), lambda ds, k: ds.__delattr__("ImageOrientationPatient"), "left and right are"),
        (Series(), lambda ds, k: ds.__delattr__("PixelSpacing"), "no valid PixelSpacing"),
        (
            Series(),
            lambda ds, k: setattr(ds, "ImageOrientationPatient", [1, 0, 0, 0.5, 0.8, 0]),
            "perpendicular unit vectors",
        ),
        (Series(), lambda ds, k: ds.__delattr__("RescaleSlope"), "not in HU"),
        (Series(), lambda ds, k: setattr(ds, "RescaleType", "MGML"), "in MGML, not in HU"),
        (Series(image_type=("DERIVED", "SECONDARY", "MIP")), None, "it is a projection"),
        (Series(), lambda ds, k: ds.__delattr__("SeriesInstanceUID"), "name no series"),
    ],
)
def test_unsuitable_series_are_refused(tmp_path, series, edit, words, assert_private):
    write(tmp_path, series, edit)
    text = refusal(tmp_path)
    assert words in text
    assert_private(text)
    (report,) = inspect_ct(tmp_path)
    assert not report.usable
    assert not report.chosen
    assert any(words.split(" and ")[0] in problem for problem in report.problems)


def test_coarse_slices_are_read_with_a_warning(tmp_path):
    warned(write(tmp_path, Series(step=3.0)), "clearances may be wrong by 1.5 mm")


def test_thin_slices_far_apart_are_said(tmp_path):
    folder = write(tmp_path, Series(), lambda ds, k: setattr(ds, "SliceThickness", 1.25))
    warned(folder, "what is between them was not imaged")


def test_slices_of_two_patients_under_one_series_are_kept_apart(tmp_path):
    one = Series()
    other = Series(uid=one.uid, patient="PAT-2", seed=3)
    write(tmp_path / "a", one)
    write(tmp_path / "b", other, lambda ds, k: setattr(ds, "SOPInstanceUID", f"1.2.3.{k}"))
    text = refusal(tmp_path)
    assert "more than one patient" in text
    assert "PAT" not in text


def test_a_file_that_lost_its_end_spoils_its_series(tmp_path):
    """Cut before its geometry, an end slice would vanish without leaving a gap."""
    series = Series()
    write(tmp_path, series)
    ds = series.dataset(25, series.hu())
    for keyword in ("PixelSpacing", "PixelData", "RescaleSlope", "RescaleIntercept"):
        delattr(ds, keyword)
    save(ds, tmp_path / "IM0025")
    assert "1 of its files cannot be used, such as IM0025: the file ends" in refusal(tmp_path)
