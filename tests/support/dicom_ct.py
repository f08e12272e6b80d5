"""A CT series of a toy volume, with a patient whose name must never leave the house unasked."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from planner.geometry.grid import Grid

PATIENT = {
    "PatientName": "Doe^Jane^Toy",
    "PatientID": "TOY-4711",
    "PatientBirthDate": "19480229",
    "PatientSex": "F",
    "PatientAge": "078Y",
    "PatientAddress": "12 Toy Lane",
    "OtherPatientNames": "Qsmithx^Jane",
}
STUDY = {
    "AccessionNumber": "ACC-0815",
    "StudyID": "ST-99",
    "StudyDate": "20260102",
    "StudyTime": "030405",
    "StudyDescription": "Pelvis for Jane Doe",
    "ReferringPhysicianName": "Qrefx^Qerringx",
    "InstitutionName": "Toy General",
    "StationName": "TOYCT1",
    "ConvolutionKernel": "Br40 for Qkernelx",
    "OperatorsName": "Qoperx^Qatorx",
}


def write_ct(values: NDArray[np.int16], grid: Grid, folder: Path) -> Path:
    """Write (I, J, K) HU on a grid as one CT file per k; returns the folder."""
    folder.mkdir(parents=True)
    study, series = (generate_uid(entropy_srcs=["toy", what]) for what in ("study", "series"))
    axes, spacing = grid.direction, grid.spacing_mm
    for k in range(grid.shape[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["toy", "plane", str(k)])
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        plane = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        plane.SOPClassUID, plane.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        for keyword, value in {**PATIENT, **STUDY}.items():
            setattr(plane, keyword, value)
        plane.Modality, plane.Manufacturer = "CT", "planner tests"
        plane.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        plane.SeriesDate, plane.SeriesTime = "20260102", "030500"
        plane.ContentDate, plane.ContentTime = "20260102", "030501"
        plane.AcquisitionDate, plane.AcquisitionTime = "20260102", "030500"
        plane.StudyInstanceUID, plane.SeriesInstanceUID = study, series
        plane.FrameOfReferenceUID = generate_uid(entropy_srcs=["toy", "frame"])
        plane.PositionReferenceIndicator = ""
        plane.SeriesNumber, plane.InstanceNumber, plane.AcquisitionNumber = 3, k + 1, 1
        plane.PatientPosition, plane.KVP, plane.ConvolutionKernel = "HFS", 120, "B30s"
        plane.ImagePositionPatient = [f"{x:.6f}" for x in grid.to_patient((0, 0, k))]
        plane.ImageOrientationPatient = [f"{x:.10f}" for x in (*axes[:, 0], *axes[:, 1])]
        plane.PixelSpacing = [f"{spacing[1]:.6f}", f"{spacing[0]:.6f}"]
        plane.SliceThickness = f"{spacing[2]:.6f}"
        plane.Rows, plane.Columns = grid.shape[1], grid.shape[0]
        plane.SamplesPerPixel, plane.PhotometricInterpretation = 1, "MONOCHROME2"
        plane.BitsAllocated, plane.BitsStored, plane.HighBit = 16, 16, 15
        plane.PixelRepresentation, plane.RescaleIntercept, plane.RescaleSlope = 1, "0", "1"
        plane.RescaleType = "HU"
        plane.InstanceCreationDate = datetime(2026, 1, 2, tzinfo=UTC).strftime("%Y%m%d")
        plane.PixelData = np.ascontiguousarray(values[:, :, k].T, "<i2").tobytes()
        pydicom.dcmwrite(folder / f"{k:04d}.dcm", plane, enforce_file_format=True)
    return folder
