from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from export.toy import awkward_grids, toy_frame, toy_labels

from planner.errors import UnsuitableCtError
from planner.geometry.grid import Grid
from planner.model.anatomy import LABELS
from planner.reading.labels import read_labels, read_mask_folder
from reading.labels.files import mask_folder, save_mask
from reading.labels.seg_files import Segment, save, segmentation

GRIDS = awkward_grids()
GRID = GRIDS["oblique"]
BONES = ("sacrum", "l5", "hip_left", "hip_right")


@pytest.fixture
def labels() -> np.ndarray:
    return toy_labels(GRID, toy_frame())


@pytest.mark.parametrize("name", ["oblique", "left_handed", "permuted"])
def test_masks_become_one_label_map(name: str, tmp_path: Path) -> None:
    grid = GRIDS[name]
    labels = toy_labels(grid, toy_frame())
    folder = mask_folder(tmp_path, labels, grid)
    save_mask(labels > 0, grid, folder / "urinary_bladder.nii.gz")
    (folder / "statistics.json").write_text("{}", encoding="utf-8")
    found = read_labels(folder)
    for bone in BONES:
        np.testing.assert_array_equal(
            found.labels == LABELS[bone], labels == LABELS[bone], err_msg=bone
        )
    np.testing.assert_allclose(found.grid.patient_from_ijk, grid.patient_from_ijk, atol=1e-3)
    assert found.names == set(BONES)
    assert (found.source, found.warnings) == ("provided", ())
    assert read_mask_folder(folder, "totalsegmentator").source == "totalsegmentator"


def test_a_sacrum_alone_is_enough(labels: np.ndarray, tmp_path: Path) -> None:
    save_mask(labels == LABELS["sacrum"], GRID, tmp_path / "Sacrum.nii")
    found = read_labels(tmp_path)
    assert found.names == {"sacrum"}
    assert found.warnings == ()


def test_a_missing_s1_is_said(labels: np.ndarray, tmp_path: Path) -> None:
    (mask_folder(tmp_path, labels, GRID) / "vertebrae_S1.nii.gz").unlink()
    assert "no vertebrae_S1: its sacrum was taken to hold S1" in read_labels(tmp_path).warnings[0]


def test_a_missing_or_empty_sacrum_is_refused(labels: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(UnsuitableCtError, match="holds no label map"):
        read_labels(tmp_path)
    folder = mask_folder(tmp_path, labels, GRID)
    (folder / "sacrum.nii.gz").unlink()
    with pytest.raises(UnsuitableCtError, match="holds no mask of the sacrum"):
        read_labels(folder)
    save_mask(np.zeros(GRID.shape), GRID, folder / "sacrum.nii.gz")
    save_mask(np.zeros(GRID.shape), GRID, folder / "vertebrae_S1.nii.gz")
    with pytest.raises(UnsuitableCtError, match="no voxel of a segment named sacrum"):
        read_labels(folder)


def test_grids_are_compared_in_full(labels: np.ndarray, tmp_path: Path) -> None:
    folder = mask_folder(tmp_path, labels, GRID)
    affine = GRID.patient_from_ijk.copy()
    affine[:3, 3] += 0.5 * GRID.direction[:, 1]  # the same shape and spacing, half a mm aside
    save_mask(labels == LABELS["l5"], Grid(GRID.shape, affine), folder / "vertebrae_L5.nii.gz")
    with pytest.raises(UnsuitableCtError, match=r"vertebrae_L5\.nii\.gz .*lie on different grids"):
        read_labels(folder)


def test_overlapping_bones_are_refused(labels: np.ndarray, tmp_path: Path) -> None:
    folder = mask_folder(tmp_path, labels, GRID)
    hip = labels == LABELS["hip_left"]
    hip.ravel()[np.flatnonzero(labels == LABELS["sacrum"])[:5]] = True
    save_mask(hip, GRID, folder / "hip_left.nii.gz")
    with pytest.raises(UnsuitableCtError, match=r"overlaps hip_left in \d voxels"):
        read_labels(folder)


def test_files_that_are_no_masks_are_refused(labels: np.ndarray, tmp_path: Path) -> None:
    save_mask(labels, GRID, tmp_path / "sacrum.nii.gz")
    with pytest.raises(UnsuitableCtError, match="is no mask: it holds the values 0, 1, 2, 3…"):
        read_labels(tmp_path)
    (tmp_path / "sacrum.nii.gz").write_bytes(b"rubbish")
    with pytest.raises(UnsuitableCtError, match="cannot be read as NIfTI"):
        read_labels(tmp_path)


def test_what_could_be_read_two_ways_is_refused(labels: np.ndarray, tmp_path: Path) -> None:
    bone = labels == LABELS["sacrum"]
    save_mask(bone, GRID, tmp_path / "sacrum.nii.gz")
    save(segmentation(GRID, [Segment("sacrum", bone)]), tmp_path / "a.dcm")
    with pytest.raises(UnsuitableCtError, match=r"several label maps \(a\.dcm, sacrum\.nii\.gz\)"):
        read_labels(tmp_path)
    (tmp_path / "a.dcm").unlink()
    save_mask(bone, GRID, tmp_path / "sacrum.nii")
    with pytest.raises(UnsuitableCtError, match="two masks of sacrum"):
        read_labels(tmp_path)
