"""Write a scanned stack as a DICOM CT Image Storage series.

ImageType says ORIGINAL\\PRIMARY\\AXIAL, because readers set derived series aside; that nothing here
was ever acquired is said by QualityControlImage, the descriptions, the comments and the patient's
name (SyntheticData is too new for the validators in use). All identifiers follow from the
parameters and the pixels, file names from the identifiers: names carry no order, and the same
phantom gives the same bytes.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from openjpeg.utils import encode_pixel_data
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
    generate_uid,
)
from pydicom.valuerep import format_number_as_ds

from planner.phantom.ct import HU_MIN, Stack
from planner.phantom.parameters import PhantomParameters

Compression = Literal["none", "rle", "jpeg2000"]

SYNTAXES = {
    "none": ExplicitVRLittleEndian,
    "rle": RLELossless,
    "jpeg2000": JPEG2000Lossless,
}
NOTICE = "PHANTOM, not a patient"
# A fixed moment, so that the same phantom gives the same bytes.
DATE, TIME = "20260101", "120000"
BITS_STORED = 12


def uid(*entropy: str) -> str:
    """Return the identifier that belongs to some text, always the same."""
    return str(generate_uid(entropy_srcs=["planner.phantom", *entropy]))


def frame_of_reference_uid(parameters: PhantomParameters) -> str:
    """Return the frame of reference that every series of a phantom shares."""
    return uid(parameters.digest, "frame of reference")


def series_uid(parameters: PhantomParameters, pixels: NDArray[np.int16]) -> str:
    """Return the identifier of the series that holds these HU (columns, rows, slices)."""
    return uid(parameters.digest, "series", hashlib.sha256(pixels.tobytes()).hexdigest())


def write_series(
    pixels: NDArray[np.int16],
    stack: Stack,
    parameters: PhantomParameters,
    folder: Path,
    compression: Compression = "jpeg2000",
) -> list[Path]:
    """Write HU (columns, rows, slices) into an existing folder; returns paths in slice order."""
    if compression not in SYNTAXES:
        raise ValueError(f"compression is {compression!r}, allowed {', '.join(SYNTAXES)}")
    if pixels.shape != stack.shape:
        raise ValueError(f"pixels {pixels.shape} do not fit the stack {stack.shape}")
    series = series_uid(parameters, pixels)
    paths = []
    for k in range(stack.shape[2]):
        item = _instance(pixels[:, :, k], stack, k, parameters, series)
        _set_pixels(item, pixels[:, :, k], compression)
        name = hashlib.sha256(str(item.SOPInstanceUID).encode()).hexdigest()[:12]
        path = folder / f"{name}.dcm"
        item.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _instance(
    pixels: NDArray[np.int16], stack: Stack, k: int, parameters: PhantomParameters, series: str
) -> Any:
    """Return the data set of slice k without its pixels."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = uid(series, str(k))
    meta.ImplementationClassUID = uid("implementation")
    meta.ImplementationVersionName = "PLANNER_PHANTOM"
    item: Any = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    _patient_and_study(item, parameters)
    _series_and_equipment(item, parameters, series)
    item.SOPClassUID = CTImageStorage
    item.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    item.InstanceNumber = k + 1
    item.ContentDate, item.ContentTime = DATE, TIME
    item.AcquisitionDate, item.AcquisitionTime = DATE, TIME
    _plane(item, stack, k)
    _image(item, stack, parameters)
    return item


def _patient_and_study(item: Any, parameters: PhantomParameters) -> None:
    item.PatientName = "PHANTOM^SACRUM"
    item.PatientID = f"PHANTOM-{parameters.digest[:10].upper()}"
    item.PatientBirthDate = ""
    item.PatientSex = ""
    item.PatientComments = NOTICE
    item.StudyInstanceUID = uid(parameters.digest, "study")
    item.StudyDate, item.StudyTime = DATE, TIME
    item.StudyDescription = NOTICE
    item.StudyID = "1"
    item.AccessionNumber = ""
    item.ReferringPhysicianName = ""


def _series_and_equipment(item: Any, parameters: PhantomParameters, series: str) -> None:
    item.Modality = "CT"
    item.SeriesInstanceUID = series
    item.SeriesNumber = 1
    item.SeriesDate, item.SeriesTime = DATE, TIME
    item.SeriesDescription = f"{NOTICE}: pelvis {parameters.slice_thickness_mm:g} mm"
    item.BodyPartExamined = "PELVIS"
    item.PatientPosition = "HFS" if parameters.patient_position == "supine" else "HFP"
    item.FrameOfReferenceUID = frame_of_reference_uid(parameters)
    item.PositionReferenceIndicator = ""
    item.Manufacturer = "planner"
    item.ManufacturerModelName = "parametric phantom"


def _plane(item: Any, stack: Stack, k: int) -> None:
    """Set position, orientation and spacing of slice k."""
    position = stack.position(k)
    item.ImagePositionPatient = [_ds(x) for x in position]
    item.ImageOrientationPatient = [_ds(x) for x in (*stack.row, *stack.column)]
    item.PixelSpacing = [_ds(stack.spacing_mm)] * 2
    item.SliceThickness = _ds(stack.thickness_mm)
    item.SliceLocation = _ds(float(position[2]))
    item.GantryDetectorTilt = _ds(stack.tilt_deg)


def _image(item: Any, stack: Stack, parameters: PhantomParameters) -> None:
    """Set what describes the pixels and how they would have been made."""
    item.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    item.ImageComments = f"{NOTICE}. Synthetic image, made by planner.phantom."
    item.QualityControlImage = "YES"
    item.BurnedInAnnotation = "NO"
    item.LossyImageCompression = "00"
    item.AcquisitionNumber = 1
    item.KVP = "120"
    item.ConvolutionKernel = f"PSF{parameters.psf_mm:g}"
    item.Columns, item.Rows = stack.shape[0], stack.shape[1]
    item.SamplesPerPixel = 1
    item.PhotometricInterpretation = "MONOCHROME2"
    item.BitsAllocated, item.BitsStored, item.HighBit = 16, BITS_STORED, BITS_STORED - 1
    item.PixelRepresentation = 0
    item.RescaleIntercept, item.RescaleSlope, item.RescaleType = str(HU_MIN), "1", "HU"
    item.WindowCenter, item.WindowWidth = "300", "1500"


def _set_pixels(item: Any, hu: NDArray[np.int16], compression: Compression) -> None:
    """Store HU (columns, rows) as unsigned pixels in the wanted transfer syntax."""
    frame = np.ascontiguousarray((hu.T.astype(np.int32) - HU_MIN).astype("<u2"))
    item.file_meta.TransferSyntaxUID = SYNTAXES[compression]
    if compression == "jpeg2000":
        code = encode_pixel_data(
            frame.tobytes(),
            rows=item.Rows,
            columns=item.Columns,
            samples_per_pixel=1,
            bits_stored=BITS_STORED,
            pixel_representation=0,
            photometric_interpretation="MONOCHROME2",
        )
        item.PixelData = encapsulate([bytes(code)])
        item["PixelData"].VR = "OB"
        item["PixelData"].is_undefined_length = True
        return
    item.PixelData = frame.tobytes()
    item["PixelData"].VR = "OW"
    if compression == "rle":
        item.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        item.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)


def _ds(value: float) -> str:
    """Format a number for a decimal string: at most 16 characters."""
    return str(format_number_as_ds(float(value) + 0.0))
