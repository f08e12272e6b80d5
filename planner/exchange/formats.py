"""The table of formats: what each is called, which file it makes, what it needs.

A format is a function `(handover, path)` that writes a file, or a folder that it makes itself, at
path. It raises ConfigurationError for what it cannot write.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from planner.errors import ConfigurationError
from planner.exchange.handover import Handover

Write = Callable[[Handover, Path], None]


class Needs(StrEnum):
    """What a format cannot be written without."""

    NOTHING = ""
    CT = "the CT (--ct)"
    DICOM = "the CT as DICOM (--ct)"
    FRAME = "the CT as DICOM with a frame of reference (--ct)"


@dataclass(frozen=True)
class Format:
    """A format.

    file: what it is called in the export folder. says: what it is, in one line. place: module and
    function that write it. extra: what must be installed for it, with the module to look for.
    on_request: written only where it is named, never with "all".
    """

    name: str
    file: str
    says: str
    place: str
    needs: Needs = Needs.NOTHING
    extra: tuple[str, str] = ("", "")
    on_request: bool = False

    def write(self, handover: Handover, path: Path) -> None:
        """Write it; raises ConfigurationError for what is missing."""
        missing = self.missing(handover)
        if missing:
            raise ConfigurationError(f"the format {self.name} needs {missing}.")
        module, _, name = self.place.partition(":")
        write: Write = getattr(import_module(f"planner.exchange.{module}"), name)
        write(handover, path)

    @property
    def missing_extra(self) -> str:
        """Name of the extra that is not installed; empty where nothing is missing."""
        name, module = self.extra
        return name if module and find_spec(module) is None else ""

    def missing(self, handover: Handover) -> str:
        """Say what is missing to write it; empty where nothing is."""
        if self.missing_extra:
            name = self.missing_extra
            return f"the extra {name}; install it with: pip install 'planner[{name}]'"
        if self.needs is Needs.CT and handover.volume is None:
            return str(self.needs)
        if self.needs in (Needs.DICOM, Needs.FRAME) and not handover.headers:
            return str(self.needs)
        if self.needs is Needs.FRAME and not handover.headers[0].get("FrameOfReferenceUID"):
            return str(self.needs)
        return ""


_ALL = (
    Format("csv", "trajectories.csv", "one row per path, units in the column names", "table:csv"),
    Format("report", "report.html", "the report of the saved revision", "pages:report"),
    Format("json", "plan.json", "the plan itself, every figure", "table:json"),
    Format("slicer", "slicer", "scene, paths, label map and surfaces", "slicer:slicer"),
    Format("nifti", "nifti", "label map in RAS+ with tables of its names", "nifti:nifti"),
    Format("stl", "stl", "closed surfaces and needles in LPS mm", "stl:stl"),
    Format("ply", "ply", "closed surfaces and needles in LPS mm", "ply:ply"),
    Format("glb", "plan.glb", "all surfaces and needles in one file, metres, y up", "glb:glb"),
    Format(
        "dicom-seg",
        "anatomy.seg.dcm",
        "the bones and foramina as DICOM segmentation (binary)",
        "dicom_seg:dicom_seg",
        Needs.FRAME,
    ),
    Format(
        "dicom-sr",
        "measurements.sr.dcm",
        "the figures of every path as DICOM structured report (TID 1500)",
        "dicom_sr:dicom_sr",
        Needs.FRAME,
    ),
    Format(
        "dicom-pdf",
        "report.pdf.dcm",
        "the report as PDF, in the patient's study",
        "document:pdf",
        Needs.DICOM,
        extra=("pdf", "weasyprint"),
    ),
    Format(
        "dicom-sc",
        "pictures",
        "folder of pictures for any viewer: the overview, and slices along and across each path",
        "capture:pictures",
        Needs.DICOM,
    ),
    Format(
        "dicom-sc-ct",
        "ct-with-needles",
        "folder of the CT's own slices with every path drawn in at 3000 HU",
        "burning:ct_with_needles",
        Needs.FRAME,
        on_request=True,
    ),
    Format(
        "dicom-rtstruct",
        "plan.rtstruct.dcm",
        "RT structure set: outlines of the bones on the CT's slices, paths as lines",
        "rtstruct:rtstruct",
        Needs.FRAME,
    ),
)

FORMATS = MappingProxyType({item.name: item for item in _ALL})
"""Name to format, in the order of the table in the documentation."""
