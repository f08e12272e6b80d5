"""A mask of any shape in the CT: a fracture or lesion to reach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from planner.errors import UnsuitableCtError
from planner.geometry.grid import Grid
from planner.reading.labels.nifti import read_nifti
from planner.reading.labels.slicer import read_nrrd


def read_mask(path: Path, grid: Grid) -> tuple[NDArray[np.bool_], Grid]:
    """Read a mask (every voxel that is not 0) on its own grid.

    grid: of the CT. Raises UnsuitableCtError where the mask lies elsewhere or is empty.
    """
    path = Path(path)
    if not path.is_file():
        raise UnsuitableCtError(f"the mask {path} does not exist or is not a file.")
    if path.name.lower().endswith((".nii", ".nii.gz")):
        voxels, own = read_nifti(path)
    else:
        voxels, own, _ = read_nrrd(path)
    mask = (voxels != 0).any(axis=0) if voxels.ndim == 4 else voxels != 0
    frames = {own.frame_of_reference_uid, grid.frame_of_reference_uid} - {""}
    if len(frames) == 2:
        raise UnsuitableCtError(f"the mask {path} is in another frame of reference than the CT.")
    points = own.to_patient(np.argwhere(mask))
    if not len(points) or not grid.contains(points).any():
        raise UnsuitableCtError(
            f"the mask {path} has no voxel within the CT. Check that it was made on this CT and in "
            "the same coordinates."
        )
    return np.asarray(mask, bool), own
