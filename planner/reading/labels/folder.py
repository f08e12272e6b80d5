"""A folder of masks, one file per bone, in TotalSegmentator's file names or those of LABELS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from planner.errors import UnsuitableCtError
from planner.geometry.grid import Grid
from planner.reading.labels.label_map import LabelMap, label_map
from planner.reading.labels.names import Painter, part_of
from planner.reading.labels.nifti import read_nifti

ENDINGS = (".nii.gz", ".nii")
HINT = "It is expected in sacrum.nii.gz, and S1 in vertebrae_S1.nii.gz where it is apart."


def mask_files(folder: Path) -> dict[str, Path]:
    """Map parts to their files in a folder, not below it; files of other names are ignored.

    Raises UnsuitableCtError where two files are of one part, and OSError.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        ending = next((e for e in ENDINGS if path.name.lower().endswith(e)), "")
        part = part_of(path.name[: -len(ending)]) if ending else None
        if part is None or not path.is_file():
            continue
        if part in found:
            raise UnsuitableCtError(
                f"{folder} has two masks of {part}: {found[part].name} and {path.name}. Keep one."
            )
        found[part] = path
    return found


def read_mask_folder(folder: Path, source: str = "provided") -> LabelMap:
    """Read a folder of masks on one grid; the sacrum is sacrum and vertebrae_S1 together.

    source: provided or totalsegmentator. Masks of different bones that overlap are refused, as in
    every other format. Raises UnsuitableCtError naming the file and what is wrong with it.
    """
    painter: Painter | None = None
    grid: Grid | None = None
    first = folder
    for part, path in mask_files(folder).items():
        mask, own = _read(path)
        if painter is None or grid is None:
            painter, grid, first = Painter(folder, own.shape, like=mask), own, path
        elif not own.same_as(grid):
            raise UnsuitableCtError(
                f"the masks {first.name} and {path.name} in {folder} lie on different grids "
                f"({_tell(grid)} against {_tell(own)}); one grid for all is expected. Resample "
                "them onto the CT's grid."
            )
        painter.announce(part)
        painter.paint(part, mask)
    if painter is None or grid is None or "sacrum" not in painter.parts:
        raise UnsuitableCtError(f"the folder {folder} holds no mask of the sacrum. {HINT}")
    return label_map(folder, painter.labels, grid, source, painter.remarks(), HINT)


def _read(path: Path) -> tuple[NDArray[np.bool_], Grid]:
    voxels, grid = read_nifti(path)
    values = np.unique(voxels)
    if len(values) > 2 or not np.isfinite(values).all() or (len(values) == 2 and 0 not in values):
        some = ", ".join(f"{v:g}" for v in values[:4])
        raise UnsuitableCtError(
            f"{path} is no mask: it holds the values {some}{'…' if len(values) > 4 else ''}; 0 and "
            "one other are expected."
        )
    return voxels != 0, grid


def _tell(grid: Grid) -> str:
    size = " x ".join(str(n) for n in grid.shape)
    spacing = " x ".join(f"{s:.2f}" for s in grid.spacing_mm)
    origin = ", ".join(f"{x:.1f}" for x in grid.origin)
    return f"{size} voxels of {spacing} mm from {origin}"
