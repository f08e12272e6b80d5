"""dicom-sc-ct: needles in the voxels that they meet, on planes that stay where they are."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from planner.exchange import Handover, Settings, export_plan
from planner.exchange.burning import NEEDLE_HU, ct_with_needles, draw_needle, plane_distance_mm
from planner.exchange.contours import to_patient
from planner.exchange.surfaces import path_start
from planner.reading import SliceHeader, read_ct
from tests.support.dicom_tools import errors


@pytest.fixture(scope="module")
def written(handover: Handover, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("burning") / "ct-with-needles"
    ct_with_needles(handover, path)
    return path


@pytest.fixture(scope="module")
def made(written: Path) -> list[Dataset]:
    return [pydicom.dcmread(each) for each in sorted(written.iterdir())]


def distances(points: NDArray[np.float64], start: object, end: object) -> NDArray[np.float64]:
    """Distance of (..., 3) points to a line between two points, mm."""
    a, b = np.asarray(start, float), np.asarray(end, float)
    part = np.clip((points - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
    return np.asarray(np.linalg.norm(points - a - part[..., None] * (b - a), axis=-1))


def test_the_planes_are_those_of_the_source(made: list[Dataset], handover: Handover) -> None:
    assert len(made) == len(handover.headers)
    uids = {item.SOPInstanceUID for item in made}
    assert len(uids) == len(made)
    assert uids.isdisjoint(header.SOPInstanceUID for header in handover.headers)
    assert len({item.SeriesInstanceUID for item in made}) == 1
    for k, (item, header) in enumerate(zip(made, handover.headers, strict=True)):
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
            assert [float(x) for x in item[keyword].value] == pytest.approx(
                [float(x) for x in header[keyword].value], abs=1e-6
            )
        for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientPosition"):
            assert item[keyword].value == header[keyword].value
        assert item.SeriesInstanceUID != header.SeriesInstanceUID
        assert item.SourceImageSequence[0].ReferencedSOPInstanceUID == header.SOPInstanceUID
        assert item.InstanceNumber == k + 1


def test_every_plane_says_that_it_is_no_acquired_image(made: list[Dataset]) -> None:
    for item in made:
        assert list(item.ImageType[:3]) == ["DERIVED", "SECONDARY", "AXIAL"]
        assert "not for clinical use" in item.SeriesDescription
        assert "not for clinical use" in item.DerivationDescription
        assert "not a medical device" in item.ImageComments
        assert item.BurnedInAnnotation == "NO"


def test_the_voxels_of_needles_are_bright_and_no_others_change(
    written: Path, handover: Handover
) -> None:
    """Read back as any CT, voxel by voxel against a plain count of distances."""
    assert handover.volume is not None
    volume = read_ct(written)
    before, grid = handover.volume.values, handover.volume.grid
    assert volume.grid.same_as(grid)
    changed = volume.values != before
    assert (volume.values[changed] == NEEDLE_HU).all()
    points = grid.to_patient(np.moveaxis(np.indices(grid.shape), 0, -1))
    half_voxel = np.linalg.norm(grid.spacing_mm) / 2
    expected, allowed = np.zeros_like(changed), np.zeros_like(changed)
    for item in handover.paths:
        skin, tip = path_start(item), np.array(item.tip_mm)
        away = distances(points, skin, tip)
        along = (points - skin) @ (tip - skin) / np.linalg.norm(tip - skin)
        between = (along >= 0) & (along <= np.linalg.norm(tip - skin))
        radius = item.needle.outer_diameter_mm / 2
        expected |= between & (away <= radius)
        allowed |= (between & (away <= radius)) | (away <= half_voxel)
        assert changed[tuple(np.rint(grid.to_ijk(tip)).astype(int))]
    assert expected.sum() > 100
    assert not (expected & ~changed).any()
    assert not (changed & ~allowed).any()
    sides = {item.side: np.array(item.tip_mm) for item in handover.paths}
    assert sides["left"][0] > sides["right"][0]


def tilted(handover: Handover) -> list[SliceHeader]:
    """The planes of the toy, 4 mm apart and each 1.3 mm further to the patient's left and back."""
    planes = []
    for k in range(12):
        first = handover.planes[0]
        assert first.position is not None
        x, y, z = first.position
        planes.append(replace(first, position=(x + 1.3 * k, y + 1.3 * k, z + 4.0 * k)))
    return planes


def test_a_needle_on_tilted_planes_is_drawn_where_it_is(handover: Handover) -> None:
    planes = tilted(handover)
    half_mm = plane_distance_mm(planes) / 2
    assert half_mm == pytest.approx(2.0)
    middle = to_patient(planes[5], np.array([60.0, 50.0]))
    start, end = middle - (18.0, -6.0, 14.0), middle + (15.0, 4.0, 13.0)
    for plane in planes:
        values = np.zeros((plane.rows, plane.columns), np.int16)
        draw_needle(values, plane, half_mm, start, end, 1.5)
        rows, columns = np.indices(values.shape)
        points = to_patient(plane, np.stack([columns, rows], axis=-1))
        away = distances(points, start, end)
        along = (points - start) @ (end - start)
        inside = (away <= 1.5) & (along >= 0) & (along <= (end - start) @ (end - start))
        assert (values[inside] == NEEDLE_HU).all()
        assert (away[values > 0] <= np.hypot(2.0, 1.2)).all()


def test_a_needle_thinner_than_a_voxel_leaves_no_gap(handover: Handover) -> None:
    planes = tilted(handover)
    half_mm = plane_distance_mm(planes) / 2
    middle = to_patient(planes[5], np.array([60.3, 50.4])) + (0, 0, 1.1)  # between two planes
    start, end = middle - (9.0, 5.0, 7.0), middle + (8.0, 6.0, 9.0)
    drawn = []
    for plane in planes:
        values = np.zeros((plane.rows, plane.columns), np.int16)
        draw_needle(values, plane, half_mm, start, end, 0.01)
        rows, columns = np.nonzero(values)
        drawn.append(to_patient(plane, np.stack([columns, rows], axis=-1)))
    found = np.concatenate(drawn)
    assert distances(found, start, end).max() <= np.linalg.norm((0.6, 0.6, 2.0)) + 1e-6
    for part in np.linspace(0, 1, 200):
        point = start + part * (end - start)
        assert np.linalg.norm(found - point, axis=1).min() <= np.linalg.norm((0.6, 0.6, 2.0)) + 1e-6


def test_nothing_is_drawn_beyond_the_planes(handover: Handover) -> None:
    plane = handover.planes[0]
    values = np.zeros((plane.rows, plane.columns), np.int16)
    above = to_patient(plane, np.array([20.0, 20.0])) - (0, 0, 10.0)
    draw_needle(values, plane, 0.75, above, above + (10.0, 0, 5.0), 1.5)
    assert not values.any()
    outside = to_patient(plane, np.array([-9.0, 20.0]))
    draw_needle(values, plane, 0.75, outside, outside + (12.0, 0, 0), 1.0)
    assert (np.argwhere(values)[:, 1] <= 2).all()
    assert values.any()


def test_all_leaves_it_out_and_the_same_plan_gives_the_same_bytes(
    dicom_plan: tuple[Path, Path], written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, ct = dicom_plan
    table = {"csv": "trajectories.csv", "dicom-sc-ct": "ct-with-needles"}
    formats = {name: item for name, item in _formats().items() if name in table}
    monkeypatch.setattr("planner.exchange.export.FORMATS", formats)
    out, fixed = tmp_path / "out", Settings(reproducible=True)
    files, said = export_plan(plan, ["all"], ct=ct, output=out, settings=fixed)
    assert [each.name for each in files] == ["trajectories.csv"]
    assert said == ["dicom-sc-ct was left out: it is written only where it is named"]
    shutil.rmtree(out)
    files, said = export_plan(plan, ["all", "dicom-sc-ct"], ct=ct, output=out, settings=fixed)
    assert [each.name for each in files] == ["trajectories.csv", "ct-with-needles"]
    assert said == []
    for each in sorted(written.iterdir()):
        assert (out / "ct-with-needles" / each.name).read_bytes() == each.read_bytes()


def _formats() -> dict[str, object]:
    from planner.exchange import FORMATS

    return dict(FORMATS)


def test_dciodvfy_finds_no_error(written: Path) -> None:
    for name in ("0001.dcm", "0040.dcm"):
        assert errors(written / name) == []
