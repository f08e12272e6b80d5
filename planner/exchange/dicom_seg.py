"""dicom-seg: the bones as a DICOM segmentation, which archives keep beside the CT.

The label map is written on its own grid, never resampled: it may be finer than the CT, or oblique,
and is placed by the CT's frame of reference. Planes without a voxel of a segment are left out, as
most writers do: every reader must expect that, and the file is a tenth as long. Segments do not
overlap, and are numbered without gaps in the order of LABELS.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from highdicom import AlgorithmIdentificationSequence, Volume
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from planner.errors import ConfigurationError
from planner.exchange.dicom import (
    NAME,
    PLANNED,
    claim,
    concept,
    frame_of_reference,
    new_series,
    save,
    source_images,
)
from planner.exchange.handover import Handover
from planner.export.terminology import ANATOMICAL, CODES, COLOURS, NOTHING, Code
from planner.geometry.grid import Grid
from planner.model.anatomy import LABELS
from planner.reading.quiet import quiet_pydicom

FORMAT = "dicom-seg"
LARGEST = 65535
"""Rows or Columns of a DICOM image."""
DEFORMED: Code = ("DCM", "123111", "Deformable Models")
MORPHOLOGY: Code = ("DCM", "123104", "Morphological Operations")
LEARNT: Code = ("DCM", "123110", "Artificial Intelligence")
# Source of the anatomy to type, name and family of what made it. How bones were made that the user
# gave is not known; that the gaps in them were filled here makes them half-automatic at least.
METHODS = {
    "builtin": ("AUTOMATIC", "planner built-in segmentation", DEFORMED),
    "provided": ("SEMIAUTOMATIC", "bones given to planner, completed by it", MORPHOLOGY),
    "totalsegmentator": ("AUTOMATIC", "TotalSegmentator, completed by planner", LEARNT),
}


def dicom_seg(handover: Handover, path: Path) -> None:
    """Write the anatomy as DICOM Segmentation Storage (binary).

    Raises ConfigurationError for a CT without a frame of reference or UIDs, and for an anatomy in
    another frame.
    """
    frame = frame_of_reference(handover)
    anatomy = handover.plan.anatomy
    grid = _straight(anatomy.grid, str(frame.FrameOfReferenceUID))
    labels = _padded(anatomy.labels, handover.settings.multiple_of)
    numbers, names = _numbered(labels)
    series = new_series(handover, FORMAT, "SEG", "anatomy")
    series.SOPInstanceUID = handover.uid(FORMAT, "instance", _digest(numbers, grid))
    sources = source_images(handover)
    several = "NumberOfFrames" in sources[0]
    # Arrays of highdicom run slice, row, column: k, j, i.
    affine = grid.patient_from_ijk[:, [2, 1, 0, 3]]
    volume = Volume(
        np.ascontiguousarray(numbers.transpose(2, 1, 0)),
        affine,
        "PATIENT",
        frame_of_reference_uid=frame.FrameOfReferenceUID,
    )
    with quiet_pydicom():
        made = Segmentation(
            sources[:1] if several else sources,
            volume,
            "BINARY",
            [_segment(handover, number, name) for number, name in enumerate(names, 1)],
            series_instance_uid=series.SeriesInstanceUID,
            series_number=series.SeriesNumber,
            sop_instance_uid=series.SOPInstanceUID,
            instance_number=series.InstanceNumber,
            manufacturer=NAME,
            manufacturer_model_name=NAME,
            software_versions=series.SoftwareVersions,
            device_serial_number=series.DeviceSerialNumber,
            content_description=PLANNED,
            content_label="PLANNER",
            omit_empty_frames=True,
            further_source_images=sources[1:] if several else None,
        )
    claim(made, handover, series, frame)
    made.ContentCreatorName = ""
    _name_dimensions(made, handover)
    save(made, path)


def _straight(grid: Grid, frame: str) -> Grid:
    """Return the grid with axes at exact right angles, which DICOM's two cosines can hold."""
    if grid.frame_of_reference_uid not in ("", frame):
        raise ConfigurationError(
            f"the anatomy of the plan is in the frame of reference {grid.frame_of_reference_uid}, "
            f"the CT in {frame}; they cannot stand in one study. Plan on this CT again."
        )
    row, column, slices = grid.direction.T
    column = column - row * (row @ column)
    column /= np.linalg.norm(column)
    normal = np.cross(row, column)
    normal *= np.sign(normal @ slices)
    axes = np.column_stack([row, column, normal])
    straight = Grid.from_axes(grid.shape, grid.origin, grid.spacing_mm, axes, frame)
    if not straight.same_as(grid):
        off = float(np.abs(straight.corners() - grid.corners()).max())
        raise ConfigurationError(
            f"the axes of the anatomy's grid are off right angles: its corners would move by "
            f"{off:.3f} mm in DICOM. Give the anatomy on a straight grid, or choose other formats."
        )
    return straight


def _padded(labels: NDArray[np.uint8], multiple: int) -> NDArray[np.uint8]:
    """Fill columns (i) and rows (j) up to a multiple with background, beyond their last voxels."""
    columns, rows = (-size % multiple for size in labels.shape[:2])
    if max(labels.shape[0] + columns, labels.shape[1] + rows) > LARGEST:
        raise ConfigurationError(f"DICOM images have at most {LARGEST} rows and columns.")
    return np.pad(labels, ((0, columns), (0, rows), (0, 0)))


def _numbered(labels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], list[str]]:
    """Number the segments that have voxels from 1 without gaps; returns the map and their names."""
    there = set(np.unique(labels).tolist())
    names = [name for name, value in LABELS.items() if value in there]
    table = np.zeros(256, np.uint8)
    for number, name in enumerate(names, 1):
        table[LABELS[name]] = number
    return table[labels], names


def _digest(numbers: NDArray[np.uint8], grid: Grid) -> str:
    """Digest of voxels and their places: other pixels are another instance, whatever the plan."""
    content = hashlib.sha256(np.ascontiguousarray(numbers).tobytes())
    content.update(repr((numbers.shape, grid.patient_from_ijk.tolist())).encode())
    return content.hexdigest()


def _segment(handover: Handover, number: int, name: str) -> SegmentDescription:
    kind, method, family = METHODS[handover.document.anatomy.source]
    coded = CODES[name]
    what = concept(coded.kind)
    if coded.side != NOTHING:
        what.SegmentedPropertyTypeModifierCodeSequence = [concept(coded.side)]
    version = handover.document.provenance.version
    return SegmentDescription(
        number,
        name,
        concept(ANATOMICAL),
        what,
        kind,
        AlgorithmIdentificationSequence(method, concept(family), version, NAME),
        anatomic_regions=None if coded.region == NOTHING else [concept(coded.region)],
        display_color=CIELabColor.from_rgb(*(round(255 * part) for part in COLOURS[name])),
    )


def _name_dimensions(made: Dataset, handover: Handover) -> None:
    """Name the dimensions by a UID of ours: the library's is new every time."""
    uid = handover.uid(FORMAT, "dimensions")
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid
