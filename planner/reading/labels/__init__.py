"""Label maps from files: 3D Slicer's .seg.nrrd by names, NIfTI in TotalSegmentator's labels.

Segments are told apart by their names, never by the order of their values. The result lies on the
grid of its own file; whether that grid fits a CT is asked explicitly (`fit_to_volume`), and nothing
is re-stamped with another grid's geometry.
"""

from __future__ import annotations

from pathlib import Path

from planner.errors import UnsuitableCtError
from planner.reading.labels.fit import fit_to_volume
from planner.reading.labels.label_map import LabelMap
from planner.reading.labels.masks import read_mask
from planner.reading.labels.nifti import read_label_nifti
from planner.reading.labels.slicer import FRAME_KEY, read_segmentation_nrrd

__all__ = [
    "FRAME_KEY",
    "LabelMap",
    "fit_to_volume",
    "read_labels",
    "read_mask",
    "read_segmentation_nrrd",
]


def read_labels(path: Path) -> LabelMap:
    """Read a label map from .seg.nrrd, .nrrd with segment names, .nii or .nii.gz.

    Raises UnsuitableCtError naming the file and what is wrong with it.
    """
    path = Path(path)
    if not path.is_file():
        raise UnsuitableCtError(f"the label map {path} does not exist or is not a file.")
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        return read_label_nifti(path)
    if name.endswith((".nrrd", ".nhdr")):
        return read_segmentation_nrrd(path)
    raise UnsuitableCtError(
        f"the label map {path} is of no known kind; expected .seg.nrrd with segment names, or "
        ".nii.gz in TotalSegmentator's labels."
    )
