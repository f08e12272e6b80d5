"""What every DICOM object that is exported shares: patient, study, series, equipment and times.

The patient and the study are the CT's, so that an archive files the object beside it; nothing of
the CT that is not needed for that is copied. Times are those of the CT's own zone where it names
one, else local, as DICOM reads a time without a zone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from copy import deepcopy
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from highdicom.sr import CodedConcept
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, UID, ExplicitVRLittleEndian

from planner.errors import ConfigurationError
from planner.exchange.handover import Handover
from planner.export.terminology import PRIVATE, Code
from planner.reading import SliceHeader
from planner.reading.quiet import quiet_pydicom

NAME = "planner"
PLANNED = "planned, not for clinical use"
LONGEST = 64
"""Characters of a DICOM long string (LO)."""
OFFSET = re.compile(r"[+-](?:0\d|1[0-4])[0-5]\d")
BODY_PART = "PELVIS"
"""Named in every image: DICOM asks for its side where it is not, and this has both."""
SERIES_NUMBERS = {
    "dicom-seg": 7301,
    "dicom-sr": 7302,
    "dicom-pdf": 7303,
    "dicom-sc": 7304,
    "dicom-rtstruct": 7305,
    "dicom-sc-ct": 7306,
}
"""Far above those of scanners, so that a list sorted by number shows ours last."""
NO_IMAGE_UID = (
    "the CT has images without a SOPInstanceUID, which DICOM objects must refer to. Choose formats "
    "that need no DICOM."
)

# What places a CT image and names it; of a multi-frame file the functional groups do.
PLACED = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)
# Type 2: present in every object, empty where the CT has no value.
REQUIRED = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
)
# What tells patients and studies apart in an archive or a trial, and whether they were made
# anonymous; of the rest (addresses, other names, history) an object of ours has no need.
OPTIONAL = (
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "LongitudinalTemporalInformationModified",
    "StudyDescription",
    "IssuerOfAccessionNumberSequence",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID",
    "ClinicalTrialSiteName",
    "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
    "ClinicalTrialTimePointID",
    "ClinicalTrialTimePointDescription",
)


def about_study(handover: Handover) -> Dataset:
    """Copy the patient and the study of the CT.

    Raises ConfigurationError where the CT does not name its study.
    """
    source, made = handover.headers[0], Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    if not source.get("StudyInstanceUID"):
        raise ConfigurationError(
            "the CT has no StudyInstanceUID, so that no DICOM object can be made of its study. "
            "Choose formats that need no DICOM."
        )
    made.StudyInstanceUID = source.StudyInstanceUID
    with quiet_pydicom():
        for keyword in REQUIRED:
            made[keyword] = _copied(source, keyword)
        for keyword in OPTIONAL:
            if source.get(keyword) not in (None, "", []):
                made[keyword] = _copied(source, keyword)
    return made


def new_series(handover: Handover, name: str, modality: str, description: str) -> Dataset:
    """Begin an object of a series of its own: study, series, equipment, UIDs and times.

    name: of the format. description: what is in it; that it is only planned is added. Raises
    ConfigurationError as about_study does.
    """
    made = about_study(handover)
    made.SeriesInstanceUID = handover.uid(name, "series")
    made.SOPInstanceUID = handover.uid(name, "instance")
    made.SeriesNumber, made.InstanceNumber = SERIES_NUMBERS[name], 1
    made.Modality = modality
    told = f"{NAME} {description}: {PLANNED}"
    if len(told) > LONGEST:
        raise ValueError(f"a series description has {LONGEST} characters at most: {told!r}")
    made.SeriesDescription = told
    made.Manufacturer, made.ManufacturerModelName = NAME, NAME
    made.SoftwareVersions = metadata.version(NAME)
    made.DeviceSerialNumber = "none"
    made.SeriesDate, made.SeriesTime = day_and_time(handover)
    made.InstanceCreationDate, made.InstanceCreationTime = day_and_time(handover)
    offset = str(handover.headers[0].get("TimezoneOffsetFromUTC", "") or "")
    if OFFSET.fullmatch(offset):
        made.TimezoneOffsetFromUTC = offset
    return made


def frame_of_reference(handover: Handover) -> Dataset:
    """Copy the frame of reference of the CT, which every point and voxel of ours is in.

    Raises ConfigurationError where the CT states none: a UID of our own would place nothing.
    """
    source, made = handover.headers[0], Dataset()
    if not source.get("FrameOfReferenceUID"):
        raise ConfigurationError(
            "the CT states no frame of reference (FrameOfReferenceUID), so that nothing can be "
            "placed in it by DICOM. Choose formats that carry their own coordinates."
        )
    made.FrameOfReferenceUID = source.FrameOfReferenceUID
    made.PositionReferenceIndicator = source.get("PositionReferenceIndicator", "")
    return made


def source_images(handover: Handover) -> list[Dataset]:
    """Return what highdicom must know of the CT images, in the order of k: no patient, no pixels.

    It refuses values of patient and study that it does not like and copies those it does; both
    are our own (`about_study`). Raises ConfigurationError for images that have no UID to be
    referred to by.
    """
    made = []
    for header in handover.headers:
        if not header.get("SOPInstanceUID") or not header.get("SOPClassUID"):
            raise ConfigurationError(NO_IMAGE_UID)
        image = Dataset()
        for keyword in PLACED:
            if keyword in header:
                image.add(header[keyword])
        for keyword in REQUIRED:
            setattr(image, keyword, "")
        made.append(image)
    return made


def claim(made: Dataset, handover: Handover, *ours: Dataset) -> None:
    """Put our elements into an object that highdicom made, and our moment for its clock's."""
    for part in ours:
        made.update(part)
    made.ContentDate, made.ContentTime = day_and_time(handover)
    for item in made.get("ContributingEquipmentSequence", ()):
        item.ContributionDateTime = made.ContentDate + made.ContentTime
    made.CodingSchemeIdentificationSequence = [_private_scheme()]


def concept(code: Code) -> CodedConcept:
    """Turn a code of ours into highdicom's."""
    scheme, value, meaning = code
    return CodedConcept(value, scheme, meaning)


def day_and_time(handover: Handover) -> tuple[str, str]:
    """Write the moment of the handover as DICOM's date and time (DA, TM)."""
    moment = _in_zone(handover)
    return moment.strftime("%Y%m%d"), moment.strftime("%H%M%S")


def burned_in(handover: Handover) -> str:
    """Tell whether words drawn into an object may name somebody (BurnedInAnnotation).

    Ours never do; but a site may have named the CT's series after a patient, and a reviewer writes
    what they like. Both are emptied where it is made anonymous.
    """
    return "NO" if handover.settings.anonymize else "YES"


def save(dataset: Dataset, path: Path, syntax: UID = ExplicitVRLittleEndian) -> None:
    """Write an object as a DICOM file; the bytes hang on it alone. syntax: of the transfer."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    meta.ImplementationVersionName = "PLANNER"
    dataset.file_meta = meta
    dataset.preamble = b"\0" * 128
    with quiet_pydicom():
        dataset.save_as(path, enforce_file_format=True)


def refer(plane: SliceHeader, frame: bool = True) -> Dataset:
    """Refer to a plane of the CT; frame: to its frame, where the file holds several.

    Raises ConfigurationError for an image that has no UID to be referred to by.
    """
    if not plane.sop_uid or not plane.sop_class:
        raise ConfigurationError(NO_IMAGE_UID)
    made = Dataset()
    made.ReferencedSOPClassUID = plane.sop_class
    made.ReferencedSOPInstanceUID = plane.sop_uid
    if frame and plane.frames > 1:
        made.ReferencedFrameNumber = plane.frame + 1
    return made


def refer_to_images(planes: Iterable[SliceHeader]) -> list[Dataset]:
    """Refer to the images of planes, a multi-frame one once; raises as refer does."""
    images = {plane.sop_uid: plane for plane in planes}
    return [refer(plane, frame=False) for plane in images.values()]


def _copied(source: Dataset, keyword: str) -> DataElement:
    """Copy an element; text is decoded, as ours is UTF-8 whatever the CT's is."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError(f"{keyword} is no keyword of DICOM")
    value = deepcopy(source.get(keyword))
    if dictionary_VR(tag) == "SQ":
        for item in value:
            item.decode()
    return DataElement(tag, dictionary_VR(tag), value)


def _private_scheme() -> Dataset:
    """Say whose the private codes are, as DICOM wants wherever one stands."""
    item = Dataset()
    item.CodingSchemeDesignator = PRIVATE
    item.CodingSchemeName = "planner: sacral foramina and needle paths"
    item.CodingSchemeResponsibleOrganization = "planner, research software"
    return item


def _in_zone(handover: Handover) -> datetime:
    if handover.settings.anonymize:
        return handover.moment  # a zone tells where the CT was taken
    offset = str(handover.headers[0].get("TimezoneOffsetFromUTC", "") or "")
    if OFFSET.fullmatch(offset):
        zone = datetime.strptime(offset, "%z").tzinfo
        return handover.moment.astimezone(zone)
    # The zone of the computer is no part of the plan, and would change reproducible bytes.
    return handover.moment.astimezone(UTC if handover.settings.reproducible else None)
