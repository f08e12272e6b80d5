"""The marker must come out where DICOM says it is, whatever way the patient lay."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from planner.reading import inspect_ct, read_ct

from .dicom_series import Series, clutter, enhanced, save, write

AWKWARD = {
    "supine": Series(),
    "prone": Series(row=(-1, 0, 0), column=(0, -1, 0), position="HFP"),
    "feet first": Series(row=(-1, 0, 0), column=(0, 1, 0), position="FFS"),
    "feet first prone": Series(row=(1, 0, 0), column=(0, -1, 0), position="FFP"),
    "decubitus": Series(row=(0, 1, 0), column=(-1, 0, 0), position="HFDL"),
    "rows upside down": Series(column=(0, -1, 0)),
    "columns mirrored": Series(row=(-1, 0, 0)),
    "against the normal": Series(travel=(0, 0, -2.5)),
    "coronal": Series(
        row=(1, 0, 0), column=(0, 0, -1), rows=60, image_type=("DERIVED", "SECONDARY", "MPR")
    ),
    "sagittal": Series(
        row=(0, 1, 0), column=(0, 0, -1), rows=60, image_type=("DERIVED", "SECONDARY", "MPR")
    ),
}


def oblique(angles: tuple[float, float, float]) -> Series:
    matrix = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    row, column = (tuple(float(x) for x in matrix[:, n]) for n in (0, 1))
    return Series(row=row, column=column)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", AWKWARD)
def test_marker_lies_where_the_headers_put_it(tmp_path, name, assert_marker):
    series = AWKWARD[name]
    volume = read_ct(write(tmp_path / "ct", series))
    assert_marker(volume, series.marker_point)
    assert volume.source.patient_position == series.position
    assert volume.grid.frame_of_reference_uid == series.frame
    assert np.linalg.det(volume.grid.direction) == pytest.approx(1.0)


@pytest.mark.parametrize("angles", [(0.3, 0, 0), (-20, 11, 7), (4, -24, -15)])
def test_every_voxel_of_an_oblique_series_keeps_its_place(tmp_path, angles):
    series = oblique(angles)
    volume = read_ct(write(tmp_path, series))
    np.testing.assert_array_equal(volume.values, series.hu())
    for ijk in ((0, 0, 0), (23, 0, 0), (0, 19, 0), (0, 0, 25), (23, 19, 25)):
        np.testing.assert_allclose(volume.grid.to_patient(ijk), series.point(*ijk), atol=0.01)


@pytest.mark.parametrize("name", ["supine", "prone", "feet first", "columns mirrored"])
def test_agrees_with_simpleitk_on_plain_series(tmp_path, name):
    series = AWKWARD[name]
    folder = write(tmp_path / "ct", series)
    files = [str(folder / f"IM{k:04d}") for k in range(series.slices)]
    oracle = sitk.ReadImage(files)
    volume = read_ct(folder)
    np.testing.assert_array_equal(volume.values, sitk.GetArrayFromImage(oracle).T)
    for ijk in ((0, 0, 0), (5, 7, 11), (23, 19, 25)):
        there = oracle.TransformIndexToPhysicalPoint(ijk)
        np.testing.assert_allclose(volume.grid.to_patient(ijk), there, atol=1e-3)


def test_names_order_and_folders_change_nothing(tmp_path, assert_marker):
    series = Series()
    plain = read_ct(write(tmp_path / "plain", series))
    order = np.random.default_rng(3).permutation(series.slices)
    messy = tmp_path / "messy"
    write(messy / "a" / "b", series, keep=range(0, 26, 2), name=lambda k: f"x{order[k]:03d}.bin")
    write(messy / "c", series, keep=range(1, 26, 2), name=lambda k: f"{order[k]}")
    clutter(messy, series)
    clutter(messy / "a", series)
    volume = read_ct(messy)
    assert volume.source.sha256 == plain.source.sha256
    assert_marker(volume, series.marker_point)


def test_header_order_is_not_trusted(tmp_path, assert_marker):
    """Instance numbers and slice locations may run any way; positions decide."""
    series = Series()

    def shuffle(ds, k):
        ds.InstanceNumber = (7 * k) % 26
        ds.SliceLocation = -k

    assert_marker(read_ct(write(tmp_path, series, shuffle)), series.marker_point)


@pytest.mark.parametrize("degrees", [-18.0, 6.5, 20.0])
def test_gantry_tilt_is_taken_out(tmp_path, degrees):
    tilt = np.radians(degrees)
    series = Series(
        rows=40,
        slices=30,
        row=(1, 0, 0),
        column=(0, float(np.cos(tilt)), float(np.sin(tilt))),
        travel=(0, 0, 2.5),
        marker=(17, 20, 21),
    )
    # On an even ground a marker keeps its centre of mass when it is shifted by parts of a pixel.
    hu = series.hu()
    hu[12:23, 14:27, 21] = 0
    hu[16:19, 19:22, 21] = 1500
    series.hu = lambda: hu  # type: ignore[method-assign]
    volume = read_ct(
        write(tmp_path, series, lambda ds, k: ds.__setattr__("GantryDetectorTilt", f"{degrees}"))
    )
    near = np.rint(volume.grid.to_ijk(series.marker_point)).astype(int)
    box = near + np.stack(np.meshgrid(range(-3, 4), range(-3, 4), [0]), -1).reshape(-1, 3)
    weights = volume.values[tuple(box.T)].astype(float)
    centre = (volume.grid.to_patient(box) * weights[:, None]).sum(axis=0) / weights.sum()
    np.testing.assert_allclose(centre, series.marker_point, atol=0.01)
    assert near[2] == 21
    assert any("gantry tilt" in w and "shifted" in w for w in volume.warnings)
    assert volume.grid.spacing_mm[2] == pytest.approx(2.5 * np.cos(tilt))
    (report,) = inspect_ct(tmp_path)
    assert report.tilt_deg == pytest.approx(abs(degrees), abs=0.01)
    assert report.size == volume.grid.shape


def test_a_tilt_by_whole_pixels_moves_values_unchanged(tmp_path, assert_marker):
    series = Series(travel=(0.0, 1.1, 2.5), marker=(17, 5, 21))
    hu = series.hu()
    hu[9:15, 10] = 700
    series.hu = lambda: hu  # type: ignore[method-assign]
    volume = read_ct(write(tmp_path, series))
    assert_marker(volume, series.marker_point)
    for k in (0, 13, 25):
        start = np.rint(volume.grid.to_ijk(series.point(0, 0, k))).astype(int)
        block = volume.values[start[0] : start[0] + 24, start[1] : start[1] + 20, k]
        np.testing.assert_array_equal(block, hu[:, :, k])
        assert (volume.values[:, : start[1], k] == -1024).all()


def test_a_noted_tilt_without_a_geometric_one_is_refused(tmp_path):
    def note(ds, k):
        ds.GantryDetectorTilt = "12.5"

    folder = write(tmp_path / "original", Series(), note)
    assert "12.5 degrees but the positions" in inspect_ct(folder)[0].problems[0]
    derived = Series(image_type=("DERIVED", "PRIMARY", "AXIAL"))
    volume = read_ct(write(tmp_path / "derived", derived, note))
    assert any("taken as removed" in w for w in volume.warnings)


@pytest.mark.parametrize(
    "order", [range(26), range(25, -1, -1), [*range(1, 26, 2), *range(0, 26, 2)]]
)
def test_enhanced_multi_frame_file(tmp_path, order, assert_marker):
    series = Series(row=(-1, 0, 0), column=(0, -1, 0))
    path = tmp_path / "enhanced.dcm"
    save(enhanced(series, order), path)
    volume = read_ct(path)
    assert_marker(volume, series.marker_point)
    # Half of the frames is stored in steps of 2 HU.
    assert np.abs(volume.values - series.hu()).max() <= 1
    assert volume.source.convolution_kernel == "Br40"
