"""DICOM segmentations of a label map, written by highdicom for the tests of the reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from planner.geometry.grid import Grid

CT = "1.2.840.10008.5.1.4.1.1.2"
STRUCTURE = Code("123037004", "SCT", "Anatomical Structure")
SACRUM = Code("54735007", "SCT", "Sacrum")
S1 = Code("65985001", "SCT", "S1 vertebra")
L5 = Code("49668003", "SCT", "L5 vertebra")
HIP = Code("29836001", "SCT", "Hip")
LEFT, RIGHT = Code("7771000", "SCT", "Left"), Code("24028007", "SCT", "Right")
TUMOUR = Code("108369006", "SCT", "Neoplasm")
OTHER = Code("85756007", "SCT", "Tissue")


@dataclass(frozen=True)
class Segment:
    """One segment: its label, its mask (I, J, K) and how it is coded."""

    label: str
    mask: np.ndarray
    kind: Code = OTHER
    side: Code | None = None
    region: Code | None = None


def ct_datasets(grid: Grid) -> list[Dataset]:
    """Headers of the CT slices of a grid, without pixels."""
    row, column = grid.direction[:, 0], grid.direction[:, 1]
    study, series = generate_uid(), generate_uid()
    out = []
    for k in range(grid.shape[2]):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPClassUID, ds.SOPInstanceUID = CT, generate_uid()
        ds.PatientID = ds.PatientName = ds.PatientBirthDate = ds.PatientSex = ""
        ds.StudyID = ds.AccessionNumber = ds.StudyDate = ds.StudyTime = ""
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = study, series, "CT"
        ds.FrameOfReferenceUID, ds.InstanceNumber = grid.frame_of_reference_uid, k + 1
        ds.Columns, ds.Rows = grid.shape[0], grid.shape[1]
        ds.PixelSpacing = [float(grid.spacing_mm[1]), float(grid.spacing_mm[0])]
        ds.SliceThickness = float(grid.spacing_mm[2])
        ds.ImageOrientationPatient = [round(float(x), 10) for x in (*row, *column)]
        ds.ImagePositionPatient = [round(float(x), 8) for x in grid.to_patient((0, 0, k))]
        out.append(ds)
    return out


def segmentation(
    grid: Grid,
    segments: Sequence[Segment],
    kind: str = "BINARY",
    source: Sequence[Dataset] | None = None,
    values: np.ndarray | None = None,
) -> hd.seg.Segmentation:
    """Build a segmentation; frames that are empty are left out, as is usual.

    values: (K, J, I, segments) 0 to 1 for a fractional one, in place of the masks.
    """
    pixels = np.stack([s.mask.transpose(2, 1, 0) for s in segments], axis=-1).astype(np.uint8)
    made = hd.seg.Segmentation(
        source_images=list(source or ct_datasets(grid)),
        pixel_array=pixels if values is None else values,
        segmentation_type=kind,
        segment_descriptions=[_description(n, s) for n, s in enumerate(segments, 1)],
        series_instance_uid=generate_uid(),
        series_number=7,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="Test",
        manufacturer_model_name="Test",
        software_versions="1",
        device_serial_number="1",
        fractional_type="PROBABILITY",
        omit_empty_frames=True,
    )
    for item in made.SegmentSequence:
        side = segments[item.SegmentNumber - 1].side if item.SegmentNumber else None
        if side is not None:
            modifier = hd.sr.CodedConcept.from_code(side)
            holder = item.SegmentedPropertyTypeCodeSequence[0]
            holder.SegmentedPropertyTypeModifierCodeSequence = [modifier]
    return made


def save(made: hd.seg.Segmentation, path: Path) -> Path:
    made.save_as(path)
    return path


def _description(number: int, segment: Segment) -> hd.seg.SegmentDescription:
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment.label,
        segmented_property_category=STRUCTURE,
        segmented_property_type=segment.kind,
        algorithm_type="MANUAL",
        anatomic_regions=None if segment.region is None else [segment.region],
    )
