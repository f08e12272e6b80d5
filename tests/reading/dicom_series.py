"""Synthetic DICOM for the tests: small series with a marker at a known patient position.

Nothing here uses the package under test: positions are computed from the header values alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CT = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
SECRET = "Mustermann^Erika"
SECRET_ID = "PAT-4711"
MARKER_HU = 1500

Edit = Callable[[Dataset, int], None]


@dataclass
class Series:
    """Header values of a series; the voxels are air, a soft body and one bright marker."""

    columns: int = 24
    rows: int = 20
    slices: int = 26
    pixel: tuple[float, float] = (1.1, 0.9)  # between rows, between columns
    step: float = 2.5
    row: tuple[float, float, float] = (1.0, 0.0, 0.0)
    column: tuple[float, float, float] = (0.0, 1.0, 0.0)
    origin: tuple[float, float, float] = (-31.0, -142.5, 87.25)
    travel: tuple[float, float, float] | None = None  # from slice to slice; None: along the normal
    marker: tuple[int, int, int] = (17, 5, 21)
    description: str = "PELVIS"
    kernel: str = "Br40"
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "AXIAL")
    position: str = "HFS"
    patient: str = SECRET_ID
    uid: str = field(default_factory=lambda: generate_uid()[:56])
    study: str = "1.2.826.0.1.3680043.8.498.1"
    frame: str = "1.2.826.0.1.3680043.8.498.2"
    seed: int = 0

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.row, self.column)

    def slice_origin(self, k: int) -> np.ndarray:
        travel = self.normal * self.step if self.travel is None else np.array(self.travel)
        return np.array(self.origin) + k * travel

    def point(self, i: float, j: float, k: float) -> np.ndarray:
        """Patient position of a voxel, from the DICOM equation (PS3.3 C.7.6.2.1.1)."""
        between_rows, between_columns = self.pixel
        return (
            self.slice_origin(k)  # type: ignore[arg-type]
            + np.array(self.row) * between_columns * i
            + np.array(self.column) * between_rows * j
        )

    @property
    def marker_point(self) -> np.ndarray:
        return self.point(*self.marker)

    def hu(self) -> np.ndarray:
        """(columns, rows, slices) HU: noise over soft tissue, a rim of air, bone and the marker."""
        rng = np.random.default_rng(self.seed)
        hu = rng.integers(-60, 90, (self.columns, self.rows, self.slices))
        hu[:2] = hu[-2:] = -1000
        hu[:, :2] = hu[:, -2:] = -1000
        hu[8:12, 8:12] = 400
        if self.marker[2] < self.slices:
            hu[self.marker] = MARKER_HU
        return hu

    def dataset(self, k: int, hu: np.ndarray) -> Dataset:
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPClassUID = CT
        ds.SOPInstanceUID = f"{self.uid}.{k + 1}"
        ds.file_meta.MediaStorageSOPClassUID = CT
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        self.identify(ds)
        ds.InstanceNumber = k + 1
        ds.AcquisitionNumber = 1
        ds.ImageType = list(self.image_type)
        ds.ConvolutionKernel = self.kernel
        ds.SliceThickness = f"{self.step:.6g}"
        ds.ImagePositionPatient = [f"{x:.10g}" for x in self.slice_origin(k)]
        ds.ImageOrientationPatient = [f"{x:.10f}" for x in (*self.row, *self.column)]
        ds.PixelSpacing = [f"{x:.6g}" for x in self.pixel]
        ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, -1024, "HU"
        set_pixels(ds, hu[:, :, k].T + 1024)
        return ds

    def identify(self, ds: Dataset) -> None:
        ds.PatientName, ds.PatientID, ds.PatientBirthDate = SECRET, self.patient, "19440229"
        ds.StudyInstanceUID, ds.SeriesInstanceUID = self.study, self.uid
        ds.FrameOfReferenceUID = self.frame
        ds.Modality, ds.SeriesDescription, ds.PatientPosition = (
            "CT",
            self.description,
            self.position,
        )


def set_pixels(ds: Dataset, stored: np.ndarray, bits: int = 12, signed: bool = False) -> None:
    """Put (rows, columns) or (frames, rows, columns) stored values into a dataset."""
    ds.Rows, ds.Columns = stored.shape[-2:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, bits, bits - 1
    ds.PixelRepresentation = int(signed)
    ds.PixelData = stored.astype("<i2" if signed else "<u2").tobytes()
    ds["PixelData"].VR = "OW"


def write(
    folder: Path,
    series: Series,
    edit: Edit | None = None,
    keep: Iterable[int] | None = None,
    name: Callable[[int], str] = lambda k: f"IM{k:04d}",
) -> Path:
    """Write the slices of a series as files; `edit` changes each dataset before it is saved."""
    folder.mkdir(parents=True, exist_ok=True)
    hu = series.hu()
    for k in range(series.slices) if keep is None else keep:
        ds = series.dataset(k, hu)
        if edit is not None:
            edit(ds, k)
        save(ds, folder / name(k))
    return folder


def save(ds: Dataset, path: Path) -> None:
    ds.save_as(path, enforce_file_format=True)


def enhanced(series: Series, order: Iterable[int] | None = None) -> Dataset:
    """Build one enhanced multi-frame CT of a series, frames in the given order."""
    hu = series.hu()
    frames = list(range(series.slices) if order is None else order)
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = ENHANCED_CT
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{series.uid}.9"
    series.identify(ds)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    ds.NumberOfFrames = len(frames)
    shared = Dataset()
    shared.PlaneOrientationSequence = _item(ImageOrientationPatient=[*series.row, *series.column])
    shared.PixelMeasuresSequence = _item(
        PixelSpacing=list(series.pixel), SliceThickness=series.step
    )
    shared.CTReconstructionSequence = _item(ConvolutionKernel=series.kernel)
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    per_frame = []
    for number, k in enumerate(frames):
        group = Dataset()
        group.PlanePositionSequence = _item(
            ImagePositionPatient=[float(x) for x in series.slice_origin(k)]
        )
        group.FrameContentSequence = _item(
            StackID="1", InStackPositionNumber=number + 1, FrameAcquisitionNumber=1
        )
        # A rescale of its own per frame: even slices are stored with another slope.
        slope, intercept = _rescale(k)
        group.PixelValueTransformationSequence = _item(
            RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="HU"
        )
        group.CTImageFrameTypeSequence = _item(FrameType=list(series.image_type))
        per_frame.append(group)
    ds.PerFrameFunctionalGroupsSequence = Sequence(per_frame)
    stored = [(hu[:, :, k].T - _rescale(k)[1]) / _rescale(k)[0] for k in frames]
    set_pixels(ds, np.rint(np.stack(stored)))
    return ds


def _rescale(k: int) -> tuple[float, float]:
    return (1.0, -1024.0) if k % 2 else (2.0, -2000.0)


def _item(**values: Any) -> Sequence:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return Sequence([ds])


def transcode(path: Path, syntax: int) -> None:
    """Compress a file in place by GDCM; syntax: a gdcm.TransferSyntax constant."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


def clutter(folder: Path, series: Series) -> None:
    """Put what lies beside a CT on a real disc into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, sop_class, modality in (
        ("RS.dcm", "1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT"),
        ("SR.dcm", "1.2.840.10008.5.1.4.1.1.88.22", "SR"),
        ("DICOMDIR", "1.2.840.10008.1.3.10", ""),
    ):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = sop_class
        ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        if modality:
            ds.SOPClassUID, ds.SOPInstanceUID = sop_class, generate_uid()
            ds.Modality, ds.SeriesInstanceUID = modality, generate_uid()
            ds.StudyInstanceUID, ds.PatientID = series.study, series.patient
        save(ds, folder / name)
    (folder / "README.txt").write_text("read me")
    (folder / "viewer.exe").write_bytes(bytes(range(256)) * 4)
    (folder / "empty").write_bytes(b"")
    (folder / ".DS_Store").write_bytes(b"\x00\x00\x00\x01Bud1")
