"""What a DICOM image says about itself, one frozen record per plane.

Classic single-frame images and the functional groups of enhanced multi-frame images are flattened
into the same `SliceHeader`; nothing after this module knows which of the two a plane came from.
Only the tags listed here are read, and no pixels. The identity of the patient is reduced to a
digest at once: it serves to tell two patients apart and appears in no message.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom

from planner.reading.bounded import BoundedStream, TooLargeError
from planner.reading.fragments import PixelSize, pixel_fault
from planner.reading.quiet import quiet_pydicom
from planner.reading.values import floats, number, number_of, pair, string, text_of, triple, words

CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2.1"
LEGACY_CONVERTED_CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2.2"
CT_SOP_CLASSES = (CT_STORAGE, ENHANCED_CT_STORAGE, LEGACY_CONVERTED_CT_STORAGE)
DICOMDIR_STORAGE = "1.2.840.10008.1.3.10"
DEFLATED = "1.2.840.10008.1.2.1.99"

PREAMBLE_BYTES = 132
# A file without the preamble is tried as DICOM only when it starts with an element of group 0002
# or 0008; the parser would otherwise make elements out of any junk.
BARE_STARTS = (b"\x02\x00", b"\x08\x00")

TAGS = [
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "SeriesDescription",
    "ImageType",
    "PatientID",
    "PatientName",
    "PatientPosition",
    "ConvolutionKernel",
    "SliceThickness",
    "GantryDetectorTilt",
    "AcquisitionNumber",
    "AcquisitionDateTime",
    "AcquisitionTime",
    "KVP",
    "ReconstructionDiameter",
    "ContrastBolusAgent",
    "InstanceNumber",
    "ImagesInAcquisition",
    "ConcatenationUID",
    "InConcatenationNumber",
    "InConcatenationTotalNumber",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "NominalPercentageOfCardiacPhase",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "FrameOfReferenceUID",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "PixelSpacing",
    "SamplesPerPixel",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "ModalityLUTSequence",
    "LossyImageCompression",
    "OverlayBitPosition",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]
TAGS_TO_READ: list[Any] = [*(t for t in TAGS if t != "OverlayBitPosition"), 0x60000102]
OVERLAY_BIT_POSITION = 0x60000102
# Where legacy converted images keep what has no functional group of its own.
CONVERTED = (
    "UnassignedPerFrameConvertedAttributesSequence",
    "UnassignedSharedConvertedAttributesSequence",
)
# A whole body at 0.5 mm takes 4000 frames; five times that leaves room for phases of time.
MOST_FRAMES = 20_000


@dataclass(frozen=True, slots=True)
class SliceHeader:
    """One plane: where it lies, how its stored values become HU, and where its pixels are.

    frame: 0-based frame within the file.
    position: centre of the first pixel, patient LPS, mm; None where the header has none.
    orientation: direction of a row, then of a column (six cosines, patient LPS).
    spacing_mm: between rows, then between columns, as DICOM orders them.
    marks: what tells acquisitions and reconstructions of one series apart, name and value.
    numbers: InstanceNumber, and ImagesInAcquisition; 0 where the header has none.
    concatenation: UID, number and total of the parts of one multi-frame image; empty where whole.
    temporal: whatever marks a time or cardiac phase or a stack of its own, in one string.
    tilt_deg: the nominal gantry tilt the scanner noted; the geometry is the authority.
    patient_key: digest that tells patients apart, nothing else.
    fault: why the pixels of this plane cannot be used, empty where they can.
    """

    path: Path
    frame: int
    frames: int
    sop_class: str
    sop_uid: str
    study_uid: str
    series_uid: str
    modality: str
    description: str
    image_type: tuple[str, ...]
    kernel: str
    patient_position: str
    frame_of_reference_uid: str
    acquisition: str
    marks: tuple[tuple[str, str], ...]
    numbers: tuple[int, int]
    concatenation: tuple[str, int, int]
    temporal: str
    rows: int
    columns: int
    spacing_mm: tuple[float, float] | None
    thickness_mm: float
    position: tuple[float, float, float] | None
    orientation: tuple[float, ...] | None
    slope: float | None
    intercept: float | None
    rescale_type: str
    lookup_table: bool
    samples: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    padding: int | None
    padding_limit: int | None
    overlay_in_pixels: bool
    lossy: bool
    transfer_syntax: str
    tilt_deg: float
    patient_key: str
    fault: str = ""


class UnreadableDicomError(Exception):
    """A file is DICOM, but its header does not parse; stays inside this stage."""


def looks_like_dicom(path: Path) -> bool:
    """Tell from the first bytes whether a file can be DICOM; raises OSError."""
    with path.open("rb") as stream:
        start = stream.read(PREAMBLE_BYTES)
    return start[128:] == b"DICM" or start[:2] in BARE_STARTS


def read_headers(path: Path) -> tuple[SliceHeader, ...]:
    """Read every plane of a file; empty where the file is not DICOM or holds no image.

    Raises UnreadableDicomError for a DICOM file that breaks off inside its header.
    """
    with path.open("rb") as file:
        preamble = file.read(PREAMBLE_BYTES)[128:] == b"DICM"
        file.seek(0)
        size = path.stat().st_size
        stream = BoundedStream(file)
        try:
            with quiet_pydicom():
                dataset = pydicom.dcmread(
                    stream, stop_before_pixels=True, force=not preamble, specific_tags=TAGS_TO_READ
                )
                syntax = str(dataset.file_meta.get("TransferSyntaxUID", ""))
                fault = "" if syntax == DEFLATED else _pixel_fault(dataset, syntax, stream, size)
                return _planes(path, dataset, syntax, fault)
        except UnreadableDicomError:
            raise
        except TooLargeError as error:
            raise UnreadableDicomError(str(error)) from error
        except Exception as error:  # the parser raises a dozen unrelated types on broken input
            if preamble:
                raise UnreadableDicomError(f"{type(error).__name__}: header does not parse") from (
                    error
                )
            return ()


def _planes(path: Path, dataset: Any, syntax: str, fault: str) -> tuple[SliceHeader, ...]:
    sop_class = text_of(dataset, "SOPClassUID")
    stated = text_of(dataset.file_meta, "MediaStorageSOPClassUID")
    if DICOMDIR_STORAGE in (sop_class, stated):
        return ()
    if not sop_class and not text_of(dataset, "Modality"):
        if _is_part10(dataset):
            raise UnreadableDicomError("the header breaks off before it says what the file is")
        return ()
    if "Rows" not in dataset or "Columns" not in dataset:
        if sop_class in CT_SOP_CLASSES or stated in CT_SOP_CLASSES:
            raise UnreadableDicomError("a CT image without Rows and Columns")
        return (_record(path, dataset, syntax, 0, 0, ""),)
    frames = _frames(dataset)
    return tuple(_record(path, dataset, syntax, frame, frames, fault) for frame in range(frames))


def _is_part10(dataset: Any) -> bool:
    return bool(getattr(dataset, "preamble", None)) or len(dataset.file_meta) > 0


def _pixel_fault(dataset: Any, syntax: str, stream: BoundedStream, size: int) -> str:
    """Tell whether the pixels end early; the stream stands at their element."""
    if "Rows" not in dataset or "Columns" not in dataset:
        return ""
    stated = PixelSize(
        int(dataset.Rows),
        int(dataset.Columns),
        _frames(dataset),
        int(dataset.get("SamplesPerPixel", 1) or 1),
        int(dataset.get("BitsAllocated", 16) or 16),
    )
    return pixel_fault(stream, size, syntax, stated)


def _frames(dataset: Any) -> int:
    """Count the frames that a header states; UnreadableDicomError where that is no count."""
    value = dataset.get("NumberOfFrames")
    if value in (None, ""):
        return 1
    frames = number(value)
    if frames is None or frames != int(frames) or not 0 <= frames <= MOST_FRAMES:
        raise UnreadableDicomError(f"NumberOfFrames is no whole number from 0 to {MOST_FRAMES}")
    return int(frames) or 1


def _record(
    path: Path, dataset: Any, syntax: str, frame: int, frames: int, fault: str
) -> SliceHeader:
    find = _finder(dataset, frame)
    image_type = find("ImageType", "CTImageFrameTypeSequence", "FrameType")
    bits = int(number_of(dataset, "BitsAllocated") or 16)
    stored = int(number_of(dataset, "BitsStored") or bits)
    return SliceHeader(
        path=path,
        frame=frame,
        frames=frames,
        sop_class=text_of(dataset, "SOPClassUID"),
        sop_uid=text_of(dataset, "SOPInstanceUID"),
        study_uid=text_of(dataset, "StudyInstanceUID"),
        series_uid=text_of(dataset, "SeriesInstanceUID"),
        modality=text_of(dataset, "Modality"),
        description=text_of(dataset, "SeriesDescription"),
        image_type=words(image_type),
        kernel="/".join(words(find("ConvolutionKernel", "CTReconstructionSequence"))),
        patient_position=text_of(dataset, "PatientPosition"),
        frame_of_reference_uid=text_of(dataset, "FrameOfReferenceUID"),
        acquisition=string(
            find("AcquisitionNumber", "FrameContentSequence", "FrameAcquisitionNumber")
        ),
        marks=_marks(find),
        numbers=(_count(dataset, "InstanceNumber"), _count(dataset, "ImagesInAcquisition")),
        concatenation=(
            text_of(dataset, "ConcatenationUID"),
            _count(dataset, "InConcatenationNumber"),
            _count(dataset, "InConcatenationTotalNumber"),
        ),
        temporal=_temporal(find),
        rows=int(number_of(dataset, "Rows") or 0),
        columns=int(number_of(dataset, "Columns") or 0),
        spacing_mm=pair(find("PixelSpacing", "PixelMeasuresSequence")),
        thickness_mm=(floats(find("SliceThickness", "PixelMeasuresSequence"), 1) or (0.0,))[0],
        position=triple(find("ImagePositionPatient", "PlanePositionSequence")),
        orientation=floats(find("ImageOrientationPatient", "PlaneOrientationSequence"), 6),
        slope=number(find("RescaleSlope", "PixelValueTransformationSequence")),
        intercept=number(find("RescaleIntercept", "PixelValueTransformationSequence")),
        rescale_type=string(find("RescaleType", "PixelValueTransformationSequence")).upper(),
        lookup_table=bool(dataset.get("ModalityLUTSequence")),
        samples=int(number_of(dataset, "SamplesPerPixel") or 1),
        bits_allocated=bits,
        bits_stored=stored,
        high_bit=int(number(dataset.get("HighBit")) or stored - 1),
        signed=bool(number_of(dataset, "PixelRepresentation") or 0),
        padding=_padding(dataset, "PixelPaddingValue"),
        padding_limit=_padding(dataset, "PixelPaddingRangeLimit"),
        overlay_in_pixels=_overlay_in_pixels(dataset),
        lossy=text_of(dataset, "LossyImageCompression") == "01",
        transfer_syntax=syntax,
        tilt_deg=number(find("GantryDetectorTilt", "CTAcquisitionDetailsSequence")) or 0.0,
        patient_key=_patient_key(dataset),
        fault=fault,
    )


Finder = Callable[..., Any]


def _finder(dataset: Any, frame: int) -> Finder:
    """Build the look-up of one frame: its own functional groups, the shared ones, the top level."""
    groups = []
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence")
    if per_frame:
        if frame >= len(per_frame):
            raise UnreadableDicomError(f"frame {frame + 1} has no functional groups")
        groups.append(per_frame[frame])
    shared = dataset.get("SharedFunctionalGroupsSequence")
    if shared:
        groups.append(shared[0])

    def find(keyword: str, sequence: str = "", inner: str = "") -> Any:
        for group in groups:
            for name in (sequence, *CONVERTED):
                items = group.get(name) if name else None
                word = inner or keyword if name == sequence else keyword
                if items and word in items[0]:
                    return items[0].get(word)
        return dataset.get(keyword)

    return find


def _temporal(find: Finder) -> str:
    parts = (
        ("position", find("TemporalPositionIdentifier")),
        ("position", find("TemporalPositionIndex", "FrameContentSequence")),
        (
            "phase",
            find("NominalPercentageOfCardiacPhase", "CardiacSynchronizationSequence"),
        ),
        ("stack", find("StackID", "FrameContentSequence")),
    )
    return ", ".join(f"{name} {string(value)}" for name, value in parts if string(value))


def _marks(find: Finder) -> tuple[tuple[str, str], ...]:
    parts = (
        ("acquisition time", find("FrameAcquisitionDateTime", "FrameContentSequence")),
        ("acquisition time", find("AcquisitionDateTime")),
        ("acquisition time", find("AcquisitionTime")),
        ("slice thickness", find("SliceThickness", "PixelMeasuresSequence")),
        ("tube voltage", find("KVP", "CTXRayDetailsSequence")),
        ("diameter", find("ReconstructionDiameter", "CTReconstructionSequence")),
        ("contrast agent", find("ContrastBolusAgent")),
    )
    return tuple((name, string(value)) for name, value in parts)


def _count(dataset: Any, keyword: str) -> int:
    value = number_of(dataset, keyword)
    return 0 if value is None else int(value)


def _patient_key(dataset: Any) -> str:
    identity = text_of(dataset, "PatientID") or text_of(dataset, "PatientName")
    return hashlib.sha256(identity.encode()).hexdigest()[:16] if identity else ""


def _overlay_in_pixels(dataset: Any) -> bool:
    position = dataset.get(OVERLAY_BIT_POSITION)
    return position is not None and bool(position.value)


def _padding(dataset: Any, keyword: str) -> int | None:
    value = number(dataset.get(keyword))
    return None if value is None else int(value)
