"""Label maps from files: what the user brings instead of the built-in segmentation.

Segments are told apart by their names and codes, never by the order of their values. The result
lies on the grid of its own file; whether that grid fits a CT is asked explicitly (`fit_to_volume`),
and nothing is re-stamped with another grid's geometry.
"""

from __future__ import annotations

from pathlib import Path

from planner.errors import UnsuitableCtError
from planner.reading.headers import looks_like_dicom
from planner.reading.labels.dicom_seg import is_segmentation, read_segmentation_dicom
from planner.reading.labels.fit import fit_to_volume
from planner.reading.labels.folder import mask_files, read_mask_folder
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
    "read_mask_folder",
    "read_segmentation_nrrd",
]
KINDS = (
    ".seg.nrrd with segment names, a DICOM segmentation, a NIfTI in TotalSegmentator's labels, or "
    "a folder of masks such as sacrum.nii.gz"
)


def read_labels(path: Path) -> LabelMap:
    """Read a label map from a file or folder of the user's.

    path: .seg.nrrd or .nrrd with segment names; .nii or .nii.gz with a label table or in
    TotalSegmentator's labels; a DICOM segmentation by whatever name; a folder of masks in
    TotalSegmentator's file names, or with one DICOM segmentation.
    Raises UnsuitableCtError naming the file and what is wrong with it.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return _read_folder(path)
        if not path.is_file():
            raise UnsuitableCtError(f"the label map {path} does not exist.")
        return _read_file(path)
    except OSError as error:
        raise UnsuitableCtError(
            f"the label map {path} cannot be read: {error.strerror or type(error).__name__}."
        ) from error


def _read_file(path: Path) -> LabelMap:
    if looks_like_dicom(path):
        return read_segmentation_dicom(path)
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        return read_label_nifti(path)
    if name.endswith((".nrrd", ".nhdr")):
        return read_segmentation_nrrd(path)
    raise UnsuitableCtError(f"the label map {path} is of no known kind; expected {KINDS}.")


def _read_folder(folder: Path) -> LabelMap:
    masks = mask_files(folder)
    files = sorted(path for path in folder.iterdir() if path.is_file())
    found = [path for path in files if looks_like_dicom(path) and is_segmentation(path)]
    if len(found) > 1 or (found and masks):
        names = ", ".join(path.name for path in (*found, *masks.values()))
        raise UnsuitableCtError(
            f"the folder {folder} holds several label maps ({names}); name the one to use."
        )
    if found:
        return read_segmentation_dicom(found[0])
    if masks:
        return read_mask_folder(folder)
    raise UnsuitableCtError(f"the folder {folder} holds no label map; expected {KINDS}.")
