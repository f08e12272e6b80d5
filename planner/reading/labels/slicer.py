"""3D Slicer's .seg.nrrd: segments are told apart by their names, never by the order of values."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
from numpy.typing import NDArray

from planner.errors import UnsuitableCtError
from planner.geometry.grid import Grid
from planner.reading.labels.label_map import LabelMap, file_grid, label_map
from planner.reading.labels.names import NAMES, Painter, plain, segment_of
from planner.reading.volume_files import check_volume_file

FRAME_KEY = "planner_frame_of_reference_uid"
"""Header key in which anatomy.seg.nrrd carries the DICOM frame of reference."""

TO_LPS = {
    "left-posterior-superior": np.diag([1.0, 1.0, 1.0]),
    "right-anterior-superior": np.diag([-1.0, -1.0, 1.0]),
    "left-anterior-superior": np.diag([1.0, -1.0, 1.0]),
}
SHORT_SPACES = {"LPS": "left-posterior-superior", "RAS": "right-anterior-superior"}
SHORT_SPACES["LAS"] = "left-anterior-superior"


def read_segmentation_nrrd(path: Path) -> LabelMap:
    """Read a segmentation in 3D Slicer's convention; segments of other names are left out."""
    voxels, grid, header = read_nrrd(path)
    layers = voxels[np.newaxis] if voxels.ndim == 3 else voxels
    painter = Painter(path, layers.shape[1:], like=layers[0])
    for part, (layer, value) in _segments(path, header).items():
        if not 0 <= layer < len(layers):
            raise UnsuitableCtError(f"{path}: segment {part} is in layer {layer}, which is absent.")
        painter.announce(part)
        painter.paint(part, layers[layer] == value)
    return label_map(path, painter.labels, grid, "provided", painter.remarks(), NAMES)


def read_nrrd(path: Path) -> tuple[NDArray[Any], Grid, dict[str, Any]]:
    """Read voxels (I, J, K), or (layer, I, J, K), their grid and the header."""
    check_volume_file(path, f"the label map {path}")
    try:
        voxels, header = nrrd.read(str(path))
    except (nrrd.NRRDError, OSError, ValueError, EOFError, zlib.error, KeyError) as error:
        raise UnsuitableCtError(f"the label map {path} cannot be read as NRRD: {error}.") from error
    if voxels.ndim not in (3, 4):
        raise UnsuitableCtError(f"the label map {path} has {voxels.ndim} axes; expected 3 or 4.")
    return voxels, _nrrd_grid(path, header, voxels.shape[-3:]), header


def _segments(path: Path, header: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Map known segment names to (layer, value)."""
    found: dict[str, tuple[int, int]] = {}
    number = 0
    while f"Segment{number}_ID" in header or f"Segment{number}_Name" in header:
        key = f"Segment{number}_"
        name = plain(header.get(key + "Name", header.get(key + "ID")))
        try:
            place = int(header.get(key + "Layer", 0)), int(header.get(key + "LabelValue", 1))
        except ValueError as error:
            raise UnsuitableCtError(f"{path}: segment {name} has no whole label value.") from error
        number += 1
        if segment_of(name) is None:
            continue
        if name in found:
            raise UnsuitableCtError(f"{path} has two segments named {name}; names must be unique.")
        found[name] = place
    return found


def _nrrd_grid(path: Path, header: dict[str, Any], shape: tuple[int, ...]) -> Grid:
    space = str(header.get("space", "")).strip()
    space = SHORT_SPACES.get(space.upper(), space.lower())
    if space not in TO_LPS or "space directions" not in header or "space origin" not in header:
        raise UnsuitableCtError(
            f"the label map {path} does not say where it lies (space {space or 'absent'!r}); "
            f"expected one of {', '.join(TO_LPS)} with directions and origin."
        )
    rows = np.asarray(header["space directions"], float)[-3:]
    affine = np.eye(4)
    affine[:3, :3] = TO_LPS[space] @ rows.T
    affine[:3, 3] = TO_LPS[space] @ np.asarray(header["space origin"], float)
    return file_grid(path, shape, affine, str(header.get(FRAME_KEY, "")))
