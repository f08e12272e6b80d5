"""nifti: the label map as NIfTI, with what its values mean in the two usual tables.

NIfTI's coordinates are RAS+, mm: x and y are those of LPS with the other sign. The voxels keep
their order; the affine says where they lie, once as sform and once as qform, both with the code of
scanner coordinates. The names are in the header, too, as the label table that this package and
TotalSegmentator's users read.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from xml.etree import ElementTree

import nibabel
import numpy as np
from nibabel.affines import apply_affine

from planner.errors import OutputError
from planner.exchange.handover import Handover
from planner.export.disclaimer import DISCLAIMER
from planner.export.terminology import COLOURS
from planner.model.anatomy import LABELS

FILE = "anatomy.nii.gz"
TABLE = "anatomy_dseg.tsv"
ITK_SNAP = "anatomy-itksnap.txt"

SCANNER = 1  # NIFTI_XFORM_SCANNER_ANAT
CARET = 30  # header extension with a label table
COMPRESSION = 4
RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
MISPLACED_MM = 0.05
"""A header is in single precision, and its qform cannot be askew; no voxel may be moved by more."""


def nifti(handover: Handover, path: Path) -> None:
    """Make the folder: the label map, a BIDS table of its values, and ITK-SNAP's.

    Raises OutputError where the grid does not fit into a NIfTI header.
    """
    anatomy = handover.opened.anatomy
    affine = RAS_FROM_LPS @ anatomy.grid.patient_from_ijk
    image = nibabel.Nifti1Image(np.asarray(anatomy.labels, np.uint8), affine)
    image.set_sform(affine, SCANNER)
    image.set_qform(affine, SCANNER)
    image.header.set_xyzt_units("mm")
    image.header.set_intent("label", name="anatomy")
    image.header["descrip"] = DISCLAIMER.encode("ascii")[:79]
    image.header["cal_max"] = max(LABELS.values())
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(CARET, _label_table()))
    corners = np.array([[(c >> a) & 1 for a in range(3)] for c in range(8)])
    corners = corners * (np.array(anatomy.grid.shape) - 1)
    here = apply_affine(affine, corners)
    for name in ("sform", "qform"):
        there = apply_affine(getattr(image, f"get_{name}")(), corners)
        wrong = float(np.linalg.norm(there - here, axis=1).max())
        if wrong > MISPLACED_MM:
            raise OutputError(
                f"the label map's grid does not fit into NIfTI: its {name} would displace voxels "
                f"by {wrong:.3f} mm, more than {MISPLACED_MM:g} mm. Use the .seg.nrrd instead."
            )
    path.mkdir()
    # Without a time in the gzip stream, so that the same labels give the same bytes.
    (path / FILE).write_bytes(gzip.compress(image.to_bytes(), COMPRESSION, mtime=0))
    (path / TABLE).write_text(_bids(), encoding="utf-8")
    (path / ITK_SNAP).write_text(_itk_snap(), encoding="utf-8")


def _rgb(name: str) -> tuple[int, int, int]:
    red, green, blue = (round(255 * part) for part in COLOURS[name])
    return red, green, blue


def _bids() -> str:
    rows = ["index\tname\tcolor"]
    for name, value in LABELS.items():
        red, green, blue = _rgb(name)
        rows.append(f"{value}\t{name}\t#{red:02x}{green:02x}{blue:02x}")
    return "\n".join(rows) + "\n"


def _itk_snap() -> str:
    """Name, colour, opacity and visibility per value, as ITK-SNAP's label editor imports them."""
    rows = ["# ITK-SNAP label description", f"# {DISCLAIMER}"]
    rows.append('    0     0    0    0        0  0  0    "Clear Label"')
    for name, value in LABELS.items():
        red, green, blue = _rgb(name)
        rows.append(f'{value:5d} {red:5d} {green:4d} {blue:4d}        1  1  1    "{name}"')
    return "\n".join(rows) + "\n"


def _label_table() -> bytes:
    root = ElementTree.Element("CaretExtension")
    table = ElementTree.SubElement(root, "VolumeInformation", Index="0")
    ElementTree.SubElement(table, "VolumeType").text = "Label"
    labels = ElementTree.SubElement(table, "LabelTable")
    for name, value in LABELS.items():
        red, green, blue = (f"{part:g}" for part in COLOURS[name])
        colours = {"Red": red, "Green": green, "Blue": blue, "Alpha": "1"}
        ElementTree.SubElement(labels, "Label", {"Key": str(value), **colours}).text = name
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))
