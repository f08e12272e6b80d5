"""Multi-label NIfTI: by the names in its label table, else in TotalSegmentator's labels.

NIfTI itself does not say what a value means. TotalSegmentator writes a table of names into a header
extension (the Caret label table, XML); where it is there it decides, since the values of its tasks
and versions differ. Without it, values are those of TotalSegmentator's task "total".
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nibabel
import numpy as np
from numpy.typing import NDArray

from planner.errors import UnsuitableCtError
from planner.geometry.grid import Grid
from planner.reading.labels.label_map import LabelMap, file_grid, label_map
from planner.reading.labels.names import CLASSES, NAMES, Painter, plain, segment_of
from planner.reading.volume_files import check_volume_file

# TotalSegmentator, task "total" of version 2.
TOTAL = {
    25: "sacrum",
    26: "vertebrae_s1",
    27: "vertebrae_l5",
    77: "hip_left",
    78: "hip_right",
}
READ_ERRORS = (
    OSError,
    ValueError,
    OverflowError,
    MemoryError,
    EOFError,
    zlib.error,
    nibabel.filebasedimages.ImageFileError,
    nibabel.spatialimages.HeaderDataError,
)
TABLE_MARK = b"<LabelTable"
HINT = (
    "Without a table of names in its header, the values of a NIfTI are TotalSegmentator's: 25 and "
    "26 are the sacrum. A mask of one bone goes into a folder, as sacrum.nii.gz."
)


def read_label_nifti(path: Path) -> LabelMap:
    """Read a multi-label NIfTI by its label table, or in TotalSegmentator's labels."""
    voxels, grid = read_nifti(path)
    table = _label_table(path)
    painter = Painter(path, voxels.shape, like=voxels)
    present = set(np.unique(voxels).tolist())
    for value, part in (TOTAL if table is None else table).items():
        if segment_of(part) is None or value not in present:
            continue
        painter.announce(part)
        painter.paint(part, voxels == value)
    named = table is not None and not set(CLASSES) & set(table.values())
    source = "provided" if named else "totalsegmentator"
    hint = HINT if table is None else f"Its header has a table of names. {NAMES}"
    return label_map(path, painter.labels, grid, source, painter.remarks(), hint)


def read_nifti(path: Path) -> tuple[NDArray[Any], Grid]:
    """Read voxels (I, J, K) and their grid; UnsuitableCtError for anything else."""
    check_volume_file(path, f"the label map {path}")
    try:
        image = nibabel.load(path)
        voxels = np.asanyarray(image.dataobj)
        affine = np.asarray(image.affine, float)
    except READ_ERRORS as e:
        raise UnsuitableCtError(f"the label map {path} cannot be read as NIfTI: {e}.") from e
    if voxels.ndim != 3:
        raise UnsuitableCtError(f"the label map {path} has {voxels.ndim} axes; expected 3.")
    return voxels, file_grid(path, voxels.shape, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)


def _label_table(path: Path) -> dict[int, str] | None:
    """Map values to plain names by the label table in the header; None where there is none."""
    for extension in nibabel.load(path).header.extensions:
        content = bytes(extension.content)
        if TABLE_MARK not in content:
            continue
        try:
            labels = ElementTree.fromstring(content.strip(b"\0 \r\n\t")).iter("Label")
            return {int(label.attrib["Key"]): plain(label.text) for label in labels}
        except (ElementTree.ParseError, KeyError, ValueError) as error:
            raise UnsuitableCtError(
                f"the table of names in the header of {path} cannot be read: {error}."
            ) from error
    return None
