"""Whether a label map belongs to a CT: frames of reference, place, and resolution."""

from __future__ import annotations

import numpy as np

from planner.errors import UnsuitableCtError
from planner.geometry.grid import Float, Grid
from planner.geometry.sampling import resample
from planner.model.anatomy import LABELS, LEVELS
from planner.model.volume import Volume
from planner.reading.labels.label_map import LabelMap

# A sacrum of which less than this lies in the CT is not the sacrum of this CT.
LEAST_INSIDE = 0.95
PAIRED = ("hip", "facet", *(f"foramen_{level.lower()}" for level in LEVELS))


def fit_to_volume(labels: LabelMap, volume: Volume) -> LabelMap:
    """Check that a label map belongs to a CT, and resample it where its grid is coarser.

    Raises UnsuitableCtError for another frame of reference, a sacrum outside the CT, and sides
    that lie the wrong way round.
    """
    frames = {labels.grid.frame_of_reference_uid, volume.grid.frame_of_reference_uid} - {""}
    if len(frames) == 2:
        raise UnsuitableCtError(
            "the label map is in another frame of reference than the CT "
            f"({labels.grid.frame_of_reference_uid} against {volume.grid.frame_of_reference_uid}); "
            "give one that was made on this CT."
        )
    check_sides(labels)
    inside = _inside(labels, volume.grid)
    if inside < LEAST_INSIDE:
        raise UnsuitableCtError(
            f"only {inside:.0%} of the label map's sacrum lies within the CT, expected at least "
            f"{LEAST_INSIDE:.0%}. Check that it was made on this CT and in the same coordinates."
        )
    grid = _with_frame(labels.grid, volume.grid.frame_of_reference_uid)
    spacing_mm = _along(labels.grid, volume.grid)
    if (spacing_mm <= volume.grid.spacing_mm * 1.01).all() or grid.same_as(volume.grid):
        return LabelMap(labels.labels, grid, labels.names, labels.source, labels.warnings)
    moved = resample(labels.labels, grid, volume.grid, outside=0, nearest=True)
    spacing = " x ".join(f"{s:.2f}" for s in spacing_mm)
    note = (
        f"the label map has voxels of {spacing} mm, coarser than the CT; it was resampled onto the "
        "CT's grid, and its borders are as coarse as before."
    )
    return LabelMap(
        moved.astype(np.uint8), volume.grid, labels.names, labels.source, (*labels.warnings, note)
    )


def _along(grid: Grid, other: Grid) -> Float:
    """Spacings of a grid (mm) in the order of another's axes, which they follow most closely."""
    return np.asarray(grid.spacing_mm[np.abs(grid.direction.T @ other.direction).argmax(axis=0)])


def check_sides(labels: LabelMap) -> None:
    """Refuse what is named left and lies to the right of its fellow (UnsuitableCtError).

    Patient LPS stays the patient's own however the patient lies, so that a label map that was
    mirrored, or whose names were swapped, shows.
    """
    for name in PAIRED:
        left, right = f"{name}_left", f"{name}_right"
        if not {left, right} <= labels.names:
            continue
        apart = _middle(labels, left)[0] - _middle(labels, right)[0]
        if apart <= 0:
            raise UnsuitableCtError(
                f"in the label map {left} lies {-apart:.0f} mm to the right of {right}: the file "
                "is mirrored or its names are swapped. Check how it was converted."
            )


def _middle(labels: LabelMap, name: str) -> Float:
    """(3,) mean of a segment's voxels, patient LPS, mm."""
    voxels = np.argwhere(labels.labels == LABELS[name])
    return labels.grid.to_patient(voxels.mean(axis=0))


def _inside(labels: LabelMap, grid: Grid) -> float:
    voxels = np.argwhere(labels.labels == LABELS["sacrum"])
    return float(grid.contains(labels.grid.to_patient(voxels)).mean())


def _with_frame(grid: Grid, frame: str) -> Grid:
    return Grid(grid.shape, grid.patient_from_ijk, grid.frame_of_reference_uid or frame)
