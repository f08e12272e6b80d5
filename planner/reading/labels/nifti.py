"""Multi-label NIfTI: by the names in its label table, else in TotalSegmentator's labels.

NIfTI itself does not say what a value means. TotalSegmentator writes a table of names into a header
extension (the Caret label table, XML); where it is there it decides, since the values of its tasks
and versions differ. Without it, values are those of TotalSegmentator's task "total".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nibabel
import numpy as np
from numpy.typing import NDArray

from planner.errors import UnsuitableCtError
from planner.geometry.grid import Grid
from planner.reading.images import load_image
from planner.reading.labels.label_map import LabelMap, label_map
from planner.reading.labels.names import CLASSES, NAMES, Painter, part_of, plain
from planner.reading.values import first_line

# TotalSegmentator, task "total" of version 2.
TOTAL = {
    25: "sacrum",
    26: "vertebrae_s1",
    27: "vertebrae_l5",
    77: "hip_left",
    78: "hip_right",
}
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
    for value, text in (TOTAL if table is None else table).items():
        part = part_of(text)
        if part is None or value not in present:
            continue
        painter.announce(part)
        painter.paint(part, voxels == value)
    named = table is not None and not set(CLASSES) & set(table.values())
    source = "provided" if named else "totalsegmentator"
    hint = HINT if table is None else f"Its header has a table of names. {NAMES}"
    return label_map(path, painter.labels, grid, source, painter.remarks(), hint)


def read_nifti(path: Path) -> tuple[NDArray[Any], Grid]:
    """Read voxels (I, J, K) and their grid by the rules for a CT; UnsuitableCtError otherwise."""
    image = load_image(path, f"the label map {path}")
    if image.slope == 1.0 and image.intercept == 0.0:
        return image.stored, image.grid
    return image.stored * image.slope + image.intercept, image.grid


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
                f"the table of names in the header of {path} cannot be read: {first_line(error)}."
            ) from error
    return None
