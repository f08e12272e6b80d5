"""DICOM segmentations: binary, fractional and label maps, of any writer.

A segment is told apart by its label, and where the label says nothing by its codes. A code that
contradicts the label is refused. Frames are
placed by their own plane positions (`planes`); highdicom opens the file and decodes the frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.sr.coding import Code

from planner.errors import UnsuitableCtError
from planner.model.anatomy import LABELS
from planner.reading.labels.codes import Coded, code_of
from planner.reading.labels.label_map import LabelMap, label_map
from planner.reading.labels.names import NAMES, Named, Painter, left_out
from planner.reading.labels.planes import Planes, place_frames
from planner.reading.quiet import quiet_pydicom
from planner.reading.values import first_line, legible

if TYPE_CHECKING:
    from highdicom.seg import Segmentation

SEG_SOP_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""Segmentation Storage and Label Map Segmentation Storage."""
OCCUPIED = 0.5
"""Share of its greatest value from which a voxel of a fractional segment counts."""
FRACTIONAL_NOTE = (
    f"the label map is fractional; a voxel counts from {OCCUPIED} of its greatest value."
)
HINT = NAMES + " Segments coded as SNOMED's sacrum, L5 or hip with a side are known as well."


def is_segmentation(path: Path) -> bool:
    """Tell whether a DICOM file is a segmentation, by its SOP class; raises OSError."""
    return _sop_class(path) in SEG_SOP_CLASSES


def read_segmentation_dicom(path: Path) -> LabelMap:
    """Read a DICOM segmentation; segments of other names and codes are left out.

    Raises UnsuitableCtError for other DICOM objects, geometry that is no even stack, and segments
    that contradict themselves or overlap.
    """
    image = _open(path)
    parts, remarks = _parts(path, image)
    frames = _frames(path, image)
    planes = _planes(path, image, len(frames))
    size = (int(image.Columns), int(image.Rows))
    uid = str(image.get("FrameOfReferenceUID", ""))
    grid, places, notes = place_frames(path, planes, size, uid)
    painter = Painter(path, grid.shape)
    for part in parts.values():
        painter.announce(part)
    seen: set[tuple[int, int]] = set()
    for number, (segment, k) in enumerate(zip(frames, places.tolist(), strict=True), 1):
        if segment is not None and segment not in parts:
            continue
        if (segment or 0, k) in seen:
            raise UnsuitableCtError(
                f"{path}: segment {parts.get(segment or 0, 'map')} has two frames in one plane."
            )
        seen.add((segment or 0, k))
        for part, mask in _masks(path, image, number, segment, parts):
            painter.paint(part, mask.T, (slice(None), slice(None), k))
    _check_solid(path, painter.labels)
    if _kind(image) == "FRACTIONAL":
        remarks = (*remarks, FRACTIONAL_NOTE)
    warnings = (*remarks, *notes, *painter.remarks())
    return label_map(path, painter.labels, grid, "provided", warnings, HINT)


def _sop_class(path: Path) -> str:
    try:
        with quiet_pydicom():
            header = pydicom.dcmread(path, specific_tags=["SOPClassUID"], stop_before_pixels=True)
    except OSError:
        raise
    except Exception:  # the parser raises a dozen unrelated types on broken input
        return ""
    return legible(header, "SOPClassUID")


def _open(path: Path) -> Segmentation:
    kind = _sop_class(path)
    if kind not in SEG_SOP_CLASSES:
        uid = pydicom.uid.UID(kind)
        name = uid.name if uid.is_valid else "an unknown kind"
        raise UnsuitableCtError(
            f"{path} is DICOM of {name}; a DICOM segmentation (SEG) is expected as a label map."
        )
    from highdicom.seg import segread

    try:
        with quiet_pydicom():
            image = segread(path)
    except Exception as error:  # the library raises many unrelated types on broken input
        raise _unreadable(path, error) from error
    if "TotalPixelMatrixRows" in image or "ImageOrientationSlide" in image:
        raise UnsuitableCtError(f"{path} is a segmentation of a slide, not of a CT.")
    return image


def _unreadable(path: Path, error: Exception) -> UnsuitableCtError:
    return UnsuitableCtError(
        f"{path} cannot be read as a DICOM segmentation ({first_line(error)}). Check that "
        " the file is complete, or export .seg.nrrd instead."
    )


def _parts(path: Path, image: Segmentation) -> tuple[dict[int, str], tuple[str, ...]]:
    """Map segment numbers to part names; remarks name what was not understood."""
    found = [
        (int(item.SegmentNumber), Named((str(item.get("SegmentLabel", "")),), _coded(item)))
        for item in image.SegmentSequence
    ]
    parts = {n: part for n, named in found if (part := named.part(path)) is not None}
    return parts, left_out(path, [named for _, named in found])


def _coded(item: Any) -> Coded:
    types = list(item.get("SegmentedPropertyTypeCodeSequence", ()))
    regions = list(item.get("AnatomicRegionSequence", ()))
    modifiers = (
        modifier
        for holder in (*types, *regions)
        for key in ("SegmentedPropertyTypeModifierCodeSequence", "AnatomicRegionModifierSequence")
        for modifier in holder.get(key, ())
    )
    return Coded(*(tuple(map(_code, items)) for items in (types, regions, modifiers)))


def _code(item: Any) -> Code:
    return code_of(str(item.get("CodeValue", "")), str(item.get("CodingSchemeDesignator", "")))


def _kind(image: Segmentation) -> str:
    """BINARY, FRACTIONAL or LABELMAP."""
    return str(image.get("SegmentationType", "")).upper()


def _frames(path: Path, image: Segmentation) -> list[int | None]:
    """Segment number of every frame; None in a label map, whose values are segment numbers."""
    groups = image.get("PerFrameFunctionalGroupsSequence", ())
    if len(groups) != int(image.get("NumberOfFrames", 1)):
        raise UnsuitableCtError(f"{path} describes {len(groups)} of {image.NumberOfFrames} frames.")
    if _kind(image) == "LABELMAP":
        return [None] * len(groups)
    numbers: list[int | None] = []
    for frame in range(len(groups)):
        item = _group(image, frame, "SegmentIdentificationSequence")
        if item is None or "ReferencedSegmentNumber" not in item:
            raise UnsuitableCtError(f"{path}: frame {frame + 1} does not say whose segment it is.")
        numbers.append(int(item.ReferencedSegmentNumber))
    return numbers


def _group(image: Segmentation, frame: int, name: str) -> Any:
    """Return a functional group of a frame, its own or the shared one; None where it lacks."""
    own = image.PerFrameFunctionalGroupsSequence[frame].get(name)
    if own:
        return own[0]
    shared = image.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()]
    found = shared[0].get(name)
    return found[0] if found else None


def _planes(path: Path, image: Segmentation, count: int) -> Planes:
    try:
        positions, orientations, spacings = (
            np.array([list(_group(image, n, group)[key].value) for n in range(count)], float)
            for group, key in (
                ("PlanePositionSequence", "ImagePositionPatient"),
                ("PlaneOrientationSequence", "ImageOrientationPatient"),
                ("PixelMeasuresSequence", "PixelSpacing"),
            )
        )
    except (TypeError, KeyError, ValueError) as error:
        raise UnsuitableCtError(
            f"{path} has frames without position, orientation or pixel spacing in the patient."
        ) from error
    if positions.shape != (count, 3) or orientations.shape != (count, 6):
        raise UnsuitableCtError(f"the frames of {path} have no usable position or orientation.")
    stated = _group(image, 0, "PixelMeasuresSequence").get("SpacingBetweenSlices")
    return Planes(positions, orientations, spacings, None if stated is None else float(stated))


def _masks(
    path: Path, image: Segmentation, number: int, segment: int | None, parts: dict[int, str]
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Decode one frame (counted from 1) into masks (rows, columns) of named parts."""
    try:
        with quiet_pydicom():
            values = np.asarray(image.get_stored_frame(number))
    except Exception as error:  # decoders raise many unrelated types on broken input
        raise _unreadable(path, error) from error
    if segment is None:
        for value in sorted(set(np.unique(values).tolist()) & set(parts)):
            yield parts[value], values == value
    elif _kind(image) == "FRACTIONAL":
        yield parts[segment], values >= OCCUPIED * float(image.MaximumFractionalValue)
    else:
        yield parts[segment], values != 0


def _check_solid(path: Path, labels: NDArray[np.uint8]) -> None:
    """Refuse a sacrum with empty planes in its midst: frames were lost, or only some drawn."""
    filled = np.flatnonzero((labels == LABELS["sacrum"]).any(axis=(0, 1)))
    if len(filled) and len(filled) < filled[-1] - filled[0] + 1:
        missing = int(filled[-1] - filled[0] + 1 - len(filled))
        raise UnsuitableCtError(
            f"the sacrum of {path} has no voxel in {missing} of the {filled[-1] - filled[0] + 1} "
            "planes between its ends: frames are missing, or not every slice was drawn."
        )
