"""dicom-sc-ct: the CT's own planes with the needles drawn into the voxels, as a derived series.

For stations that show nothing but images. Whoever sees such a slice without its header cannot tell
a drawn needle from metal, hence only on request, and said in every tag that viewers show.

Planes keep their geometry, also under a tilted gantry. Voxels outside the needles are the HU that
the plan was made on (whole HU, not below -1024), stored as they are: slope 1, intercept 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import CTImageStorage
from pydicom.valuerep import DSfloat

from planner.exchange.contours import to_patient, to_pixels
from planner.exchange.dicom import (
    BODY_PART,
    PLANNED,
    day_and_time,
    frame_of_reference,
    new_series,
    refer,
    save,
)
from planner.exchange.handover import Handover
from planner.exchange.surfaces import path_start
from planner.export.disclaimer import DISCLAIMER
from planner.geometry.grid import Float
from planner.reading import SliceHeader

NAME = "dicom-sc-ct"
NEEDLE_HU = 3000
"""Brighter than bone, and within the 12 bits of a CT whose intercept is -1024."""
# Points on a needle's axis, per voxel edge: dense enough to miss no voxel that it passes by much.
PER_VOXEL = 8
WORDS = (
    f"Needle paths of a plan drawn into the CT at {NEEDLE_HU} HU, from the skin, or from the bone "
    "where the CT does not show the skin, to the tip: voxels whose centre lies inside a needle, "
    f"and those nearest to its axis; {PLANNED}"
)
SOURCE = Code("121322", "DCM", "Source image for image processing operation")
# What a viewer or a workstation wants of a CT plane, where the source has it; Type 2 first.
TYPE_2 = ("KVP", "AcquisitionNumber", "PatientPosition")
COPIED = (
    "AcquisitionDate",
    "AcquisitionTime",
    "ConvolutionKernel",
    "GantryDetectorTilt",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
    "SpacingBetweenSlices",
    "WindowCenter",
    "WindowWidth",
)


def ct_with_needles(handover: Handover, path: Path) -> None:
    """Make a folder of one file per plane, in the order of k.

    Raises ConfigurationError where the CT states no frame of reference, and UnsuitableCtError for
    pixels that cannot be decoded.
    """
    series = new_series(handover, NAME, "CT", "CT with needles")
    series.update(frame_of_reference(handover))
    needles = [
        (path_start(item), np.array(item.tip_mm), item.needle.outer_diameter_mm / 2)
        for item in handover.paths
    ]
    half_mm = plane_distance_mm(handover.planes) / 2
    headers = {str(each.get("SOPInstanceUID", "")): each for each in handover.headers}
    path.mkdir()
    for k, (plane, hu) in enumerate(handover.hu()):
        values = hu.copy()
        for start, end, radius_mm in needles:
            draw_needle(values, plane, half_mm, start, end, radius_mm)
        header = headers.get(plane.sop_uid, handover.headers[0])
        made = _image(series, handover, plane, header)
        made.Rows, made.Columns = values.shape
        made.PixelData = np.ascontiguousarray(values, "<i2").tobytes()
        made.SOPInstanceUID = handover.uid(NAME, "instance", str(k))
        made.InstanceNumber = k + 1
        save(made, path / f"{k + 1:04d}.dcm")


def plane_distance_mm(planes: Sequence[SliceHeader]) -> float:
    """Distance between neighbouring planes along their normal, mm; planes are evenly spaced."""
    first, last = planes[0], planes[-1]
    if len(planes) == 1 or first.position is None or last.position is None:
        return first.thickness_mm
    away = np.asarray(last.position) - np.asarray(first.position)
    return float(abs(away @ _normal(first))) / (len(planes) - 1)


def draw_needle(
    values: NDArray[np.int16],
    plane: SliceHeader,
    half_mm: float,
    start: Float,
    end: Float,
    radius_mm: float,
) -> None:
    """Set the voxels of a needle on a (rows, columns) plane to NEEDLE_HU.

    A voxel belongs to it whose centre lies within radius_mm of the axis between start and end,
    (3,) patient LPS, mm: the end is flat, nothing is drawn beyond a tip but the voxel that holds
    it. half_mm: half the distance to the next plane. A needle thinner than a voxel, or between two
    planes, still sets the voxel nearest to each point of its axis.
    """
    length = float(np.linalg.norm(end - start))
    along = (end - start) / length
    spacing = min(half_mm * 2, *(plane.spacing_mm or (1.0, 1.0)))
    steps = int(np.ceil(length / spacing * PER_VOXEL)) + 1
    axis = start + np.linspace(0.0, length, steps)[:, None] * along
    height = np.abs((axis - to_patient(plane, np.zeros(2))) @ _normal(plane))
    near = axis[height <= half_mm]
    pixels = np.rint(to_pixels(plane, near)).astype(int)
    shape = np.array(values.shape[::-1])
    pixels = pixels[((pixels >= 0) & (pixels < shape)).all(axis=1)]
    values[pixels[:, 1], pixels[:, 0]] = NEEDLE_HU
    reach = axis[height <= radius_mm + spacing]
    if not len(reach):
        return
    places = to_pixels(plane, reach)
    margin = np.ceil(radius_mm / np.array(plane.spacing_mm)[::-1]) + 1
    low = np.clip(np.floor(places.min(axis=0) - margin), 0, shape).astype(int)
    high = np.clip(np.ceil(places.max(axis=0) + margin) + 1, 0, shape).astype(int)
    columns, rows = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]))
    from_start = to_patient(plane, np.stack([columns, rows], axis=-1)) - start
    depth = from_start @ along
    away = np.linalg.norm(from_start - depth[..., None] * along, axis=-1)
    inside = (away <= radius_mm) & (depth >= 0) & (depth <= length)
    values[rows[inside], columns[inside]] = NEEDLE_HU


def _image(series: Dataset, handover: Handover, plane: SliceHeader, header: Dataset) -> Dataset:
    made = deepcopy(series)
    made.SOPClassUID = CTImageStorage
    made.ImageType = ["DERIVED", "SECONDARY", "AXIAL", "NEEDLES"]
    made.ContentDate, made.ContentTime = day_and_time(handover)
    made.DerivationDescription = WORDS
    made.ImageComments = f"{WORDS}. {DISCLAIMER}"
    source = refer(plane)
    source.SpatialLocationsPreserved = "YES"
    source.PurposeOfReferenceCodeSequence = [_coded(SOURCE)]
    made.SourceImageSequence = [source]
    # By its definition: no words are drawn in, and nothing that tells who the patient is.
    made.BurnedInAnnotation = "NO"
    made.BodyPartExamined = BODY_PART
    for keyword in TYPE_2:
        setattr(made, keyword, header.get(keyword))
    for keyword in COPIED:
        if header.get(keyword) not in (None, ""):
            setattr(made, keyword, header.get(keyword))
    made.LossyImageCompression = "01" if plane.lossy else "00"
    made.SliceThickness = _decimal(plane.thickness_mm) if plane.thickness_mm > 0 else None
    made.ImagePositionPatient = [_decimal(x) for x in plane.position or ()]
    made.ImageOrientationPatient = [_decimal(x) for x in plane.orientation or ()]
    made.PixelSpacing = [_decimal(x) for x in plane.spacing_mm or ()]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, 16, 15
    made.PixelRepresentation = 1
    made.RescaleIntercept, made.RescaleSlope, made.RescaleType = 0, 1, "HU"
    return made


def _coded(code: Code) -> Dataset:
    made = Dataset()
    made.CodeValue, made.CodingSchemeDesignator, made.CodeMeaning = code[:3]
    return made


def _decimal(value: float) -> DSfloat:
    """Write a number within the 16 characters that DICOM allows it."""
    return DSfloat(value, auto_format=True)


def _normal(plane: SliceHeader) -> Float:
    cosines = np.asarray(plane.orientation, float)
    return np.asarray(np.cross(cosines[:3], cosines[3:]))
