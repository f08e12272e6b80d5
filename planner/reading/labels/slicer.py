"""3D Slicer's .seg.nrrd: segments are told apart by their names, never by the order of values.

Where a name says nothing, the segment's identifier does, and then its terminology.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
from numpy.typing import NDArray

from planner.errors import UnsuitableCtError
from planner.geometry.grid import Grid
from planner.reading.labels.codes import coded_by_tags
from planner.reading.labels.label_map import LabelMap, file_grid, label_map
from planner.reading.labels.names import NAMES, Named, Painter, left_out
from planner.reading.values import first_line
from planner.reading.volume_files import check_volume_file

FRAME_KEY = "planner_frame_of_reference_uid"
"""Header key in which anatomy.seg.nrrd carries the DICOM frame of reference."""

SEGMENT_KEY = re.compile(r"Segment(\d+)_(?:ID|Name)")
TO_LPS = {
    "left-posterior-superior": np.diag([1.0, 1.0, 1.0]),
    "right-anterior-superior": np.diag([-1.0, -1.0, 1.0]),
    "left-anterior-superior": np.diag([1.0, -1.0, 1.0]),
}
SHORT_SPACES = {"LPS": "left-posterior-superior", "RAS": "right-anterior-superior"}
SHORT_SPACES["LAS"] = "left-anterior-superior"


def read_segmentation_nrrd(path: Path) -> LabelMap:
    """Read a segmentation in 3D Slicer's convention; what is not understood is left out, and said.

    Raises UnsuitableCtError for a name and a terminology that contradict each other, and where a
    segment speaks of S1 or of a hip and cannot be understood.
    """
    voxels, grid, header = read_nrrd(path)
    layers = voxels[np.newaxis] if voxels.ndim == 3 else voxels
    painter = Painter(path, layers.shape[1:], like=layers[0])
    parts, remarks = _segments(path, header, len(layers))
    for part, (layer, value) in parts.items():
        if not 0 <= layer < len(layers):
            raise UnsuitableCtError(f"{path}: segment {part} is in layer {layer}, which is absent.")
        painter.announce(part)
        painter.paint(part, layers[layer] == value)
    remarks = (*remarks, *painter.remarks())
    return label_map(path, painter.labels, grid, "provided", remarks, NAMES)


def read_nrrd(path: Path) -> tuple[NDArray[Any], Grid, dict[str, Any]]:
    """Read voxels (I, J, K), or (layer, I, J, K), their grid and the header."""
    check_volume_file(path, f"the label map {path}")
    try:
        voxels, header = nrrd.read(str(path))
    except (nrrd.NRRDError, OSError, ValueError, EOFError, zlib.error, KeyError) as error:
        raise UnsuitableCtError(
            f"the label map {path} cannot be read as NRRD: {first_line(error)}."
        ) from error
    if voxels.ndim not in (3, 4):
        raise UnsuitableCtError(f"the label map {path} has {voxels.ndim} axes; expected 3 or 4.")
    return voxels, _nrrd_grid(path, header, voxels.shape[-3:]), header


def _segments(
    path: Path, header: dict[str, Any], layers: int
) -> tuple[dict[str, tuple[int, int]], tuple[str, ...]]:
    """Map parts to (layer, value), and say which segments were left out."""
    found: dict[str, tuple[int, int]] = {}
    seen: list[Named] = []
    numbers = {int(match[1]) for key in header if (match := SEGMENT_KEY.fullmatch(key))}
    for number in sorted(numbers):
        key = f"Segment{number}_"
        texts = tuple(str(header[key + n]) for n in ("Name", "ID") if key + n in header)
        seen.append(Named(texts, coded_by_tags(str(header.get(key + "Tags", "")))))
        part = seen[-1].part(path)
        # Files of before layers were numbered hold one segment in each.
        layer = header.get(key + "Layer", number if layers > 1 else 0)
        try:
            place = int(layer), int(header.get(key + "LabelValue", 1))
        except ValueError as error:
            raise UnsuitableCtError(
                f"{path}: segment {texts[0]!r} has no whole label value."
            ) from error
        if part is None:
            continue
        if part in found:
            raise UnsuitableCtError(f"{path} has two segments named {part}; names must be unique.")
        found[part] = place
    return found, left_out(path, seen)


def _nrrd_grid(path: Path, header: dict[str, Any], shape: tuple[int, ...]) -> Grid:
    space = str(header.get("space", "")).strip()
    space = SHORT_SPACES.get(space.upper(), space.lower())
    if space not in TO_LPS or "space directions" not in header or "space origin" not in header:
        raise UnsuitableCtError(
            f"the label map {path} does not say where it lies (space {space or 'absent'!r}); "
            f"expected one of {', '.join(TO_LPS)} with directions and origin."
        )
    affine = np.eye(4)
    try:
        rows = np.asarray(header["space directions"], float)[-3:]
        affine[:3, :3] = TO_LPS[space] @ rows.T
        affine[:3, 3] = TO_LPS[space] @ np.asarray(header["space origin"], float)
    except (ValueError, TypeError) as error:
        raise UnsuitableCtError(
            f"the label map {path} has directions or an origin that are no numbers; save it again."
        ) from error
    return file_grid(path, shape, affine, str(header.get(FRAME_KEY, "")))
