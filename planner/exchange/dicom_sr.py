"""dicom-sr: the figures of every path as a DICOM structured report, TID 1500.

One measurement group per path that is handed over (`dicom_sr_path`). The report is observed by a
device, preliminary and unverified: the name that a reviewer typed proves nothing of who typed it,
and is no verification in DICOM's sense. Points are in the CT's frame of reference, patient LPS, mm.
"""

from __future__ import annotations

from pathlib import Path

from highdicom.sr import (
    CodeContentItem,
    Comprehensive3DSR,
    ContainerContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    ImageContentItem,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
    TextContentItem,
    UIDRefContentItem,
)
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

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
from planner.exchange.dicom_sr_path import COMMENT, path_group
from planner.exchange.handover import Handover
from planner.export.terminology import Code
from planner.reading.quiet import quiet_pydicom

FORMAT = "dicom-sr"
CT_STUDY: Code = ("LN", "25045-6", "CT unspecified body region")
DEVICE: Code = ("DCM", "121007", "Device")
LIBRARY: Code = ("DCM", "111028", "Image Library")
LIBRARY_GROUP: Code = ("DCM", "126200", "Image Library Group")
MODALITY: Code = ("DCM", "121139", "Modality")
CT: Code = ("DCM", "CT", "Computed Tomography")
FRAME: Code = ("DCM", "112227", "Frame of Reference UID")
SOURCE: Code = ("SCT", "260753009", "Source")


def dicom_sr(handover: Handover, path: Path) -> None:
    """Write the measurements as a Comprehensive 3D SR document.

    Raises ConfigurationError for a CT without a frame of reference or UIDs, and where no path is
    left to hand over.
    """
    if not handover.paths:
        raise ConfigurationError(
            f"no path is left for the format {FORMAT}: the plan has none, or all were rejected."
        )
    frame = str(frame_of_reference(handover).FrameOfReferenceUID)
    sources, series = source_images(handover), new_series(handover, FORMAT, "SR", "figures")
    with quiet_pydicom():
        report = MeasurementReport(
            observation_context=ObservationContext(observer_device_context=_observer(series)),
            procedure_reported=concept(CT_STUDY),
            imaging_measurements=[path_group(item, handover, frame) for item in handover.paths],
        )
        # The library's own image library wants spacing and thickness of every single plane.
        report[0].ContentSequence.insert(-1, _image_library(sources, frame))
        report[0].ContentSequence.append(_disclaimer(handover))
        made = Comprehensive3DSR(
            evidence=sources,
            content=report,
            series_instance_uid=series.SeriesInstanceUID,
            series_number=series.SeriesNumber,
            sop_instance_uid=series.SOPInstanceUID,
            instance_number=series.InstanceNumber,
            manufacturer=NAME,
            is_complete=True,
            is_final=False,
            is_verified=False,
        )
    claim(made, handover, series)
    made.CompletionFlagDescription = PLANNED
    save(made, path)


def _observer(series: Dataset) -> ObserverContext:
    """The program as the observer; nobody is named, as nobody observed."""
    return ObserverContext(
        concept(DEVICE),
        DeviceObserverIdentifyingAttributes(
            uid=generate_uid(entropy_srcs=[NAME, series.SoftwareVersions]),
            name=NAME,
            manufacturer_name=NAME,
            model_name=f"{NAME} {series.SoftwareVersions}",
        ),
    )


def _image_library(sources: list[Dataset], frame: str) -> ContainerContentItem:
    group = ContainerContentItem(concept(LIBRARY_GROUP), relationship_type="CONTAINS")
    group.ContentSequence = ContentSequence(
        [
            CodeContentItem(concept(MODALITY), concept(CT), "HAS ACQ CONTEXT"),
            UIDRefContentItem(concept(FRAME), frame, "HAS ACQ CONTEXT"),
            *(
                ImageContentItem(
                    concept(SOURCE),
                    image.SOPClassUID,
                    image.SOPInstanceUID,
                    relationship_type="CONTAINS",
                )
                for image in sources
            ),
        ]
    )
    library = ContainerContentItem(concept(LIBRARY), relationship_type="CONTAINS")
    library.ContentSequence = ContentSequence([group])
    return library


def _disclaimer(handover: Handover) -> TextContentItem:
    return TextContentItem(concept(COMMENT), handover.document.disclaimer, "CONTAINS")
