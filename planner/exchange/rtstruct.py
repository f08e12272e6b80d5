"""dicom-rtstruct: bones and needles as an RT Structure Set on the CT's own planes.

Bones are closed contours on every plane that they meet (`planner.exchange.contours`). Needles are
open contours of skin (where the CT shows it), bone entry and tip, which no plane holds
(OPEN_NONPLANAR). Points are patient LPS, mm, to a micrometre, in the CT's frame of reference.

The file is Implicit VR Little Endian: an element of explicit VR holds 65534 bytes at most, which
the outline of a bone on a fine CT exceeds, and a writer would then hide it behind an unknown VR.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage

from planner.exchange.contours import outlines, to_patient
from planner.exchange.dicom import (
    LONGEST,
    PLANNED,
    day_and_time,
    frame_of_reference,
    new_series,
    refer,
    refer_to_images,
    save,
)
from planner.exchange.file_names import title
from planner.exchange.handover import Handover
from planner.exchange.surfaces import path_start
from planner.export.disclaimer import DISCLAIMER
from planner.export.flat import skin_shown
from planner.export.plan_document import TrajectoryObject
from planner.export.terminology import COLOURS, NEEDLE, Colour
from planner.geometry.grid import Float
from planner.model.anatomy import LABELS
from planner.reading import SliceHeader

NAME = "dicom-rtstruct"
# What the study is called where a structure set refers to it; retired, and the only legal value.
DETACHED_STUDY = "1.2.840.10008.3.1.2.3.1"
LABEL = "planned only"
DECIMALS = 3
# Skin and bone entry that are nearer to each other than this are one point.
SAME_MM = 1e-3
NO_PLANE = "no plane of the CT meets it; "
# How a reviewer's hand in a path is told.
ORIGINS = {"planned": "AUTOMATIC", "changed": "SEMIAUTOMATIC", "added": "MANUAL"}


def rtstruct(handover: Handover, path: Path) -> None:
    """Write the structure set.

    Raises ConfigurationError where the CT states no frame of reference.
    """
    made = new_series(handover, NAME, "RTSTRUCT", "structures")
    made.SOPClassUID = RTStructureSetStorage
    made.update(frame_of_reference(handover))
    made.OperatorsName = ""
    made.StructureSetLabel = LABEL
    made.StructureSetName = f"planner: {PLANNED}"
    made.StructureSetDescription = DISCLAIMER
    made.StructureSetDate, made.StructureSetTime = day_and_time(handover)
    made.ApprovalStatus = "UNAPPROVED"
    made.ReferencedFrameOfReferenceSequence = [_referenced(made, handover.planes)]
    made.StructureSetROISequence = []
    made.ROIContourSequence = []
    made.RTROIObservationsSequence = []
    _add_bones(made, handover)
    for item in handover.paths:
        _add_needle(made, item)
    save(made, path, ImplicitVRLittleEndian)


def _add_bones(made: Dataset, handover: Handover) -> None:
    """Add every segment of the label map, also one that slips between the planes."""
    anatomy = handover.opened.anatomy
    present = set(np.unique(anatomy.labels).tolist())
    names = [name for name, value in LABELS.items() if value in present]
    contours: dict[str, list[Dataset]] = {name: [] for name in names}
    for plane in handover.planes:
        for name, polygon in outlines(anatomy.labels, anatomy.grid, plane):
            contour = _contour("CLOSED_PLANAR", to_patient(plane, polygon))
            contour.ContourImageSequence = [refer(plane)]
            contours[name].append(contour)
    # Who drew bones that were handed to the planner is not known.
    drawn = "" if anatomy.source == "provided" else "AUTOMATIC"
    for name, found in contours.items():
        words = PLANNED if found else NO_PLANE + PLANNED
        _add(made, (name, words), drawn, COLOURS[name], "ORGAN", found)


def _add_needle(made: Dataset, item: TrajectoryObject) -> None:
    points = np.array([path_start(item), item.bone_entry_mm, item.tip_mm])
    if np.linalg.norm(points[1] - points[0]) < SAME_MM:
        points = points[1:]
    start = "skin, bone entry" if skin_shown(item) else "bone entry (skin not in view)"
    words = f"needle {item.needle.gauge}, {start}, tip; {PLANNED}"
    origin = ORIGINS["planned" if item.review is None else item.review.origin]
    contours = [_contour("OPEN_NONPLANAR", points)]
    # One value of a long string: a backslash would part it.
    name = title(item).replace("\\", "_")[:LONGEST]
    _add(made, (name, words), origin, NEEDLE, "MARKER", contours)


def _add(
    made: Dataset,
    words: tuple[str, str],
    drawn: str,
    colour: Colour,
    kind: str,
    contours: Sequence[Dataset],
) -> None:
    """Add a region with its contours and what it stands for; words: name and description."""
    number = len(made.StructureSetROISequence) + 1
    region, outline, observed = Dataset(), Dataset(), Dataset()
    region.ROINumber = number
    region.ReferencedFrameOfReferenceUID = made.FrameOfReferenceUID
    region.ROIName, region.ROIDescription = words
    region.ROIGenerationAlgorithm = drawn
    outline.ReferencedROINumber = number
    outline.ROIDisplayColor = [round(255 * part) for part in colour]
    for place, contour in enumerate(contours, 1):
        contour.ContourNumber = place
    if contours:
        outline.ContourSequence = list(contours)
    observed.ObservationNumber = observed.ReferencedROINumber = number
    observed.RTROIInterpretedType, observed.ROIInterpreter = kind, ""
    made.StructureSetROISequence.append(region)
    made.ROIContourSequence.append(outline)
    made.RTROIObservationsSequence.append(observed)


def _contour(kind: str, points: Float) -> Dataset:
    """Make a contour of (N, 3) points, patient LPS, mm."""
    made = Dataset()
    made.ContourGeometricType = kind
    made.NumberOfContourPoints = len(points)
    # Zero is added so that what rounds to nothing is written without a sign.
    rounded = np.round(points, DECIMALS) + 0.0
    made.ContourData = [f"{value:.{DECIMALS}f}" for value in rounded.ravel()]
    return made


def _referenced(made: Dataset, planes: Sequence[SliceHeader]) -> Dataset:
    """Refer to the frame, the study, the series and all images of the CT."""
    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = planes[0].series_uid
    series.ContourImageSequence = refer_to_images(planes)
    study.ReferencedSOPClassUID = DETACHED_STUDY
    study.ReferencedSOPInstanceUID = made.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID = made.FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    return frame
