"""Label maps from files: 3D Slicer's .seg.nrrd by names, NIfTI in TotalSegmentator's labels.

Segments are told apart by their names, never by the order of their values. The result lies on the
grid of its own file; whether that grid fits a CT is asked explicitly (`fit_to_volume`), and nothing
is re-stamped with another grid's geometry.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
from numpy.typing import NDArray

from planner.errors import UnsuitableCtError
from planner.geometry.grid import Float, Grid
from planner.geometry.sampling import resample
from planner.model.anatomy import LABELS
from planner.model.volume import Volume

FRAME_KEY = "planner_frame_of_reference_uid"
"""Header key in which anatomy.seg.nrrd carries the DICOM frame of reference."""

# TotalSegmentator, task "total": some of its tasks split S1 from the sacrum.
TOTALSEGMENTATOR = {
    25: "sacrum",
    26: "sacrum",
    27: "l5",
    77: "hip_left",
    78: "hip_right",
}
TO_LPS = {
    "left-posterior-superior": np.diag([1.0, 1.0, 1.0]),
    "right-anterior-superior": np.diag([-1.0, -1.0, 1.0]),
    "left-anterior-superior": np.diag([1.0, -1.0, 1.0]),
}
SHORT_SPACES = {"LPS": "left-posterior-superior", "RAS": "right-anterior-superior"}
SHORT_SPACES["LAS"] = "left-anterior-superior"

# A sacrum of which less than this lies in the CT is not the sacrum of this CT.
LEAST_INSIDE = 0.95


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Segments on a grid, as read from a file.

    labels: (I, J, K) uint8, values of LABELS. names: the segments that have voxels.
    source: provided or totalsegmentator.
    """

    labels: NDArray[np.uint8]
    grid: Grid
    names: frozenset[str]
    source: str
    warnings: tuple[str, ...] = ()


def read_labels(path: Path) -> LabelMap:
    """Read a label map from .seg.nrrd, .nrrd with segment names, .nii or .nii.gz.

    Raises UnsuitableCtError naming the file and what is wrong with it.
    """
    path = Path(path)
    if not path.is_file():
        raise UnsuitableCtError(f"the label map {path} does not exist or is not a file.")
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        return _read_totalsegmentator(path)
    if name.endswith((".nrrd", ".nhdr")):
        return read_segmentation_nrrd(path)
    raise UnsuitableCtError(
        f"the label map {path} is of no known kind; expected .seg.nrrd with segment names, or "
        ".nii.gz in TotalSegmentator's labels."
    )


def read_segmentation_nrrd(path: Path) -> LabelMap:
    """Read a segmentation in 3D Slicer's convention; segments of other names are left out."""
    voxels, grid, header = _nrrd(path)
    layers = voxels[np.newaxis] if voxels.ndim == 3 else voxels
    labels = np.zeros(layers.shape[1:], np.uint8)
    for name, (layer, value) in _segments(path, header).items():
        if not 0 <= layer < len(layers):
            raise UnsuitableCtError(f"{path}: segment {name} is in layer {layer}, which is absent.")
        where = layers[layer] == value
        if (labels[where] != 0).any():
            raise UnsuitableCtError(
                f"{path}: segment {name} overlaps another one; every voxel may belong to one only."
            )
        labels[where] = LABELS[name]
    return _label_map(path, labels, grid, "provided")


def fit_to_volume(labels: LabelMap, volume: Volume) -> LabelMap:
    """Check that a label map belongs to a CT, and resample it where its grid is coarser.

    Raises UnsuitableCtError for another frame of reference or a sacrum outside the CT.
    """
    frames = {labels.grid.frame_of_reference_uid, volume.grid.frame_of_reference_uid} - {""}
    if len(frames) == 2:
        raise UnsuitableCtError(
            "the label map is in another frame of reference than the CT "
            f"({labels.grid.frame_of_reference_uid} against {volume.grid.frame_of_reference_uid}); "
            "give one that was made on this CT."
        )
    inside = _inside(labels, volume.grid)
    if inside < LEAST_INSIDE:
        raise UnsuitableCtError(
            f"only {inside:.0%} of the label map's sacrum lies within the CT, expected at least "
            f"{LEAST_INSIDE:.0%}. Check that it was made on this CT and in the same coordinates."
        )
    grid = _with_frame(labels.grid, volume.grid.frame_of_reference_uid)
    if (labels.grid.spacing_mm <= volume.grid.spacing_mm * 1.01).all() or grid.same_as(volume.grid):
        return LabelMap(labels.labels, grid, labels.names, labels.source, labels.warnings)
    moved = resample(labels.labels, grid, volume.grid, outside=0, nearest=True)
    spacing = " x ".join(f"{s:.2f}" for s in labels.grid.spacing_mm)
    note = (
        f"the label map has voxels of {spacing} mm, coarser than the CT; it was resampled onto the "
        "CT's grid, and its borders are as coarse as before."
    )
    return LabelMap(
        moved.astype(np.uint8), volume.grid, labels.names, labels.source, (*labels.warnings, note)
    )


def read_mask(path: Path, grid: Grid) -> tuple[NDArray[np.bool_], Grid]:
    """Read a mask (every voxel that is not 0) on its own grid.

    grid: of the CT. Raises UnsuitableCtError where the mask lies elsewhere or is empty.
    """
    path = Path(path)
    if not path.is_file():
        raise UnsuitableCtError(f"the mask {path} does not exist or is not a file.")
    if path.name.lower().endswith((".nii", ".nii.gz")):
        voxels, own = _nifti(path)
    else:
        voxels, own, _ = _nrrd(path)
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


def _nifti(path: Path) -> tuple[NDArray[Any], Grid]:
    try:
        image = nibabel.load(path)
        voxels = np.asanyarray(image.dataobj)
        affine = np.asarray(image.affine, float)
    except (OSError, ValueError, EOFError, zlib.error, nibabel.filebasedimages.ImageFileError) as e:
        raise UnsuitableCtError(f"the label map {path} cannot be read as NIfTI: {e}.") from e
    if voxels.ndim != 3:
        raise UnsuitableCtError(f"the label map {path} has {voxels.ndim} axes; expected 3.")
    return voxels, _grid(path, voxels.shape, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)


def _nrrd(path: Path) -> tuple[NDArray[Any], Grid, dict[str, Any]]:
    try:
        voxels, header = nrrd.read(str(path))
    except (nrrd.NRRDError, OSError, ValueError, EOFError, zlib.error, KeyError) as error:
        raise UnsuitableCtError(f"the label map {path} cannot be read as NRRD: {error}.") from error
    if voxels.ndim not in (3, 4):
        raise UnsuitableCtError(f"the label map {path} has {voxels.ndim} axes; expected 3 or 4.")
    return voxels, _nrrd_grid(path, header, voxels.shape[-3:]), header


def _read_totalsegmentator(path: Path) -> LabelMap:
    voxels, grid = _nifti(path)
    labels = np.zeros(voxels.shape, np.uint8)
    for value, name in TOTALSEGMENTATOR.items():
        labels[voxels == value] = LABELS[name]
    return _label_map(path, labels, grid, "totalsegmentator")


def _label_map(path: Path, labels: NDArray[np.uint8], grid: Grid, source: str) -> LabelMap:
    present = set(np.unique(labels).tolist())
    names = frozenset(name for name, value in LABELS.items() if value in present)
    if "sacrum" not in names:
        raise UnsuitableCtError(
            f"the label map {path} has no voxel of a segment named sacrum. Names are "
            f"{', '.join(LABELS)}; in NIfTI the values are TotalSegmentator's (25 and 26)."
        )
    labels.setflags(write=False)
    return LabelMap(labels, grid, names, source)


def _segments(path: Path, header: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Map known segment names to (layer, value)."""
    found: dict[str, tuple[int, int]] = {}
    number = 0
    while f"Segment{number}_ID" in header or f"Segment{number}_Name" in header:
        key = f"Segment{number}_"
        name = str(header.get(key + "Name", header.get(key + "ID"))).strip().lower()
        try:
            place = int(header.get(key + "Layer", 0)), int(header.get(key + "LabelValue", 1))
        except ValueError as error:
            raise UnsuitableCtError(f"{path}: segment {name} has no whole label value.") from error
        number += 1
        if name not in LABELS:
            continue
        if name in found:
            raise UnsuitableCtError(f"{path} has two segments named {name}; names must be unique.")
        found[name] = place
    return found


def _nrrd_grid(path: Path, header: dict[str, Any], shape: tuple[int, ...]) -> Grid:
    space = str(header.get("space", "")).strip()
    space = SHORT_SPACES.get(space.upper(), space.lower())
    if space not in TO_LPS or "space directions" not in header or "space origin" not in header:
        raise UnsuitableCtError(
            f"the label map {path} does not say where it lies (space {space or 'absent'!r}); "
            f"expected one of {', '.join(TO_LPS)} with directions and origin."
        )
    rows = np.asarray(header["space directions"], float)[-3:]
    affine = np.eye(4)
    affine[:3, :3] = TO_LPS[space] @ rows.T
    affine[:3, 3] = TO_LPS[space] @ np.asarray(header["space origin"], float)
    return _grid(path, shape, affine, str(header.get(FRAME_KEY, "")))


def _grid(path: Path, shape: tuple[int, ...], affine: Float, frame: str = "") -> Grid:
    try:
        return Grid((shape[0], shape[1], shape[2]), affine, frame)
    except ValueError as error:
        raise UnsuitableCtError(
            f"the geometry of the label map {path} is not usable: {error}."
        ) from error


def _inside(labels: LabelMap, grid: Grid) -> float:
    voxels = np.argwhere(labels.labels == LABELS["sacrum"])
    return float(grid.contains(labels.grid.to_patient(voxels)).mean())


def _with_frame(grid: Grid, frame: str) -> Grid:
    return Grid(grid.shape, grid.patient_from_ijk, grid.frame_of_reference_uid or frame)
