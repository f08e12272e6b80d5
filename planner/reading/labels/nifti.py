"""NIfTI in TotalSegmentator's labels."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from planner.errors import UnsuitableCtError
from planner.geometry.grid import Grid
from planner.model.anatomy import LABELS
from planner.reading.labels.label_map import LabelMap, file_grid, label_map

# TotalSegmentator, task "total": some of its tasks split S1 from the sacrum.
TOTALSEGMENTATOR = {
    25: "sacrum",
    26: "sacrum",
    27: "l5",
    77: "hip_left",
    78: "hip_right",
}
HINT = "In NIfTI the values are TotalSegmentator's (25 and 26)."


def read_label_nifti(path: Path) -> LabelMap:
    """Read a multi-label NIfTI in TotalSegmentator's labels."""
    voxels, grid = read_nifti(path)
    labels = np.zeros(voxels.shape, np.uint8)
    for value, name in TOTALSEGMENTATOR.items():
        labels[voxels == value] = LABELS[name]
    return label_map(path, labels, grid, "totalsegmentator", hint=HINT)


def read_nifti(path: Path) -> tuple[NDArray[Any], Grid]:
    """Read voxels (I, J, K) and their grid; UnsuitableCtError for anything else."""
    try:
        image = nibabel.load(path)
        voxels = np.asanyarray(image.dataobj)
        affine = np.asarray(image.affine, float)
    except (OSError, ValueError, EOFError, zlib.error, nibabel.filebasedimages.ImageFileError) as e:
        raise UnsuitableCtError(f"the label map {path} cannot be read as NIfTI: {e}.") from e
    if voxels.ndim != 3:
        raise UnsuitableCtError(f"the label map {path} has {voxels.ndim} axes; expected 3.")
    return voxels, file_grid(path, voxels.shape, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)
