"""dicom-pdf: the report as an Encapsulated PDF in the patient's study."""

from __future__ import annotations

from pathlib import Path

from pydicom.uid import EncapsulatedPDFStorage

from planner.exchange.dicom import (
    PLANNED,
    burned_in,
    day_and_time,
    new_series,
    refer_to_images,
    save,
)
from planner.exchange.handover import Handover
from planner.export.report import FILE_NAME, PRINTED_NAME, write_report
from planner.export.report.pdf import weasyprint
from planner.scratch import scratch_folder

NAME = "dicom-pdf"
TITLE = f"Sacroplasty needle plan: {PLANNED}"


def pdf(handover: Handover, path: Path) -> None:
    """Print the report, paths that a reviewer rejected left out, and wrap it.

    Raises ConfigurationError where WeasyPrint cannot be loaded.
    """
    weasyprint()  # a refusal comes before the work, not after it
    plan, document = handover.kept
    with scratch_folder() as folder:
        printed = folder / PRINTED_NAME
        write_report(
            plan,
            handover.opened.ground,
            folder / FILE_NAME,
            document=document,
            grey_values=handover.volume is not None,
            pdf=printed,
        )
        wrap(handover, printed.read_bytes(), path)


def wrap(handover: Handover, data: bytes, path: Path) -> None:
    """Write a PDF's bytes as an Encapsulated PDF object.

    DICOM pads the document to an even length; EncapsulatedDocumentLength tells where it ends, and
    readers that heed it get the same bytes back.
    """
    made = new_series(handover, NAME, "DOC", "report")
    made.SOPClassUID = EncapsulatedPDFStorage
    made.ConversionType = "WSD"
    made.ContentDate, made.ContentTime = day_and_time(handover)
    made.AcquisitionDateTime = ""
    made.BurnedInAnnotation = burned_in(handover)
    made.VerificationFlag = "UNVERIFIED"
    made.SourceInstanceSequence = refer_to_images(handover.planes)
    made.DocumentTitle = TITLE
    made.ConceptNameCodeSequence = []
    made.MIMETypeOfEncapsulatedDocument = "application/pdf"
    made.EncapsulatedDocumentLength = len(data)
    made.EncapsulatedDocument = data + b"\0" * (len(data) % 2)
    save(made, path)
