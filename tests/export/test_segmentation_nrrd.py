from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicerio

from planner.export.disclaimer import DISCLAIMER
from planner.export.segmentation_nrrd import read_segmentation, write_segmentation
from planner.geometry.grid import Grid
from planner.model.anatomy import LABELS

from .toy import awkward_grids, toy_frame, toy_labels

GRIDS = awkward_grids()


@pytest.fixture(params=GRIDS)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[np.ndarray, Grid, Path]:
    grid = GRIDS[request.param]
    labels = toy_labels(grid, toy_frame())
    path = tmp_path / "anatomy.seg.nrrd"
    write_segmentation(labels, grid, path)
    return labels, grid, path


def test_reading_back_gives_the_same_grid_and_voxels(case: tuple) -> None:
    labels, grid, path = case
    found = read_segmentation(path)
    np.testing.assert_array_equal(found.labels, labels)
    np.testing.assert_array_equal(found.grid.patient_from_ijk, grid.patient_from_ijk)
    assert found.grid.frame_of_reference_uid == grid.frame_of_reference_uid
    present = {name for name, value in LABELS.items() if (labels == value).any()}
    assert found.names == present


def test_simpleitk_puts_every_voxel_in_the_same_place(case: tuple) -> None:
    labels, grid, path = case
    image = sitk.ReadImage(str(path))
    assert image.GetSize() == grid.shape
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).T, labels)
    rng = np.random.default_rng(1)
    for ijk in rng.integers(0, grid.shape, (20, 3)).tolist():
        place = image.TransformIndexToPhysicalPoint(ijk)
        np.testing.assert_allclose(place, grid.to_patient(ijk), atol=1e-6)


def test_slicerio_finds_segments_and_geometry(case: tuple) -> None:
    labels, grid, path = case
    found = slicerio.read_segmentation(str(path))
    np.testing.assert_array_equal(found["voxels"], labels)
    np.testing.assert_allclose(found["ijkToLPS"], grid.patient_from_ijk, atol=1e-12)
    assert found["masterRepresentation"] == "Binary labelmap"
    for segment in found["segments"]:
        assert segment["labelValue"] == LABELS[segment["name"]]
        assert segment["layer"] == 0
        assert segment["extent"] == [0, 39, 0, 43, 0, 47]
        assert len(segment["color"]) == 3
    sacrum = slicerio.segment_from_name(found, "sacrum")
    assert sacrum["terminology"]["type"] == ["SCT", "54735007", "Sacrum"]
    hip = slicerio.segment_from_name(found, "hip_left")
    assert hip["terminology"]["typeModifier"] == ["SCT", "7771000", "Left"]


def test_the_header_carries_the_disclaimer(case: tuple) -> None:
    assert DISCLAIMER.encode() in case[2].read_bytes()[:4000]


def test_same_labels_give_the_same_bytes(case: tuple, tmp_path: Path) -> None:
    labels, grid, path = case
    write_segmentation(labels, grid, tmp_path / "again.seg.nrrd")
    assert (tmp_path / "again.seg.nrrd").read_bytes() == path.read_bytes()


def test_absent_segments_are_not_written(tmp_path: Path) -> None:
    grid = GRIDS["permuted"]
    labels = np.zeros(grid.shape, np.uint8)
    labels[3:9, 4:8, 5:7] = LABELS["sacrum"]
    write_segmentation(labels, grid, tmp_path / "a.seg.nrrd")
    names = [
        s["name"] for s in slicerio.read_segmentation(str(tmp_path / "a.seg.nrrd"))["segments"]
    ]
    assert names == ["sacrum"]


def test_labels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    grid = GRIDS["oblique"]
    with pytest.raises(ValueError, match="do not fit the grid"):
        write_segmentation(np.zeros((2, 2, 2), np.uint8), grid, tmp_path / "a.seg.nrrd")
    with pytest.raises(ValueError, match=r"\[200\] have no name"):
        write_segmentation(np.full(grid.shape, 200, np.uint8), grid, tmp_path / "a.seg.nrrd")
