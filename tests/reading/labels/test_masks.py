from pathlib import Path

import nibabel
import numpy as np
import pytest
from export.toy import awkward_grids, toy_frame, toy_labels, toy_volume

from planner.errors import UnsuitableCtError
from planner.reading.labels import read_mask
from reading.labels.files import as_nifti

GRIDS = awkward_grids()


def test_masks_keep_their_own_grid(tmp_path: Path) -> None:
    volume = toy_volume(GRIDS["oblique"])
    path = as_nifti(
        toy_labels(GRIDS["permuted"], toy_frame()), GRIDS["permuted"], tmp_path / "m.nii"
    )
    mask, grid = read_mask(path, volume.grid)
    assert mask.dtype == bool
    assert grid.shape == GRIDS["permuted"].shape
    empty = nibabel.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4))
    nibabel.save(empty, tmp_path / "empty.nii")
    with pytest.raises(UnsuitableCtError, match="no voxel within the CT"):
        read_mask(tmp_path / "empty.nii", volume.grid)
