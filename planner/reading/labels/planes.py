"""Frames of a multi-frame label image on one lattice, each placed by its own plane position.

Writers leave out frames that are empty, so planes may be missing anywhere; what remains must lie at
whole multiples of one step along the common normal. Everything else is refused: frames that turn,
that lie off the step, or that are displaced within their planes (a gantry tilt that was not taken
out). Positions are patient LPS, mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from planner.errors import UnsuitableCtError
from planner.geometry.grid import Float, Grid
from planner.reading.checks import COSINE_TOLERANCE, EVEN_TOLERANCE_MM, SAME_POSITION_MM
from planner.reading.labels.label_map import file_grid
from planner.reading.stacks import ORIENTATION_TOLERANCE, PIXEL_SPACING_TOLERANCE_MM

MOST_PLANES = 5000
"""No CT of a pelvis has more (assumed); a smaller step is rounding noise taken for a step."""
STEP_TOLERANCE = 0.02
"""A stated spacing between slices that differs by a smaller share agrees (assumed)."""


@dataclass(frozen=True, eq=False)
class Planes:
    """Where the frames of an image lie.

    positions: (N, 3) centre of the first voxel, mm. orientations: (N, 6) cosines along a row and
    down a column. spacings: (N, 2) between rows and between columns, mm. stated_step_mm: what the
    header says of the spacing between slices; None where it says nothing.
    """

    positions: Float
    orientations: Float
    spacings: Float
    stated_step_mm: float | None = None


def place_frames(
    path: Path, planes: Planes, size: tuple[int, int], frame_of_reference_uid: str
) -> tuple[Grid, NDArray[np.int64], tuple[str, ...]]:
    """Find the lattice of all frames.

    size: columns and rows. Returns the grid, (N,) the index k of every frame, and warnings.
    Raises UnsuitableCtError where the frames lie on no even, straight stack.
    """
    direction = _direction(path, planes)
    local = planes.positions @ direction
    off = float(np.abs(local[:, :2] - local[0, :2]).max())
    if off > EVEN_TOLERANCE_MM:
        raise UnsuitableCtError(
            f"the frames of {path} are displaced within their planes by up to {off:.2f} mm, at "
            f"most {EVEN_TOLERANCE_MM} mm expected: drawn on a tilted gantry, or of several "
            "stacks. Resample the segmentation onto a straight grid, or export .seg.nrrd."
        )
    step = _step(path, local[:, 2])
    index = np.rint((local[:, 2] - local[:, 2].min()) / step).astype(np.int64)
    uneven = float(np.abs(local[:, 2] - local[:, 2].min() - index * step).max())
    if uneven > EVEN_TOLERANCE_MM:
        raise UnsuitableCtError(
            f"the planes of {path} lie up to {uneven:.2f} mm off an even spacing of {step:.3f} mm, "
            f"at most {EVEN_TOLERANCE_MM} mm expected. Export it on the grid of one CT series."
        )
    warnings = _compare_step(path, step, planes.stated_step_mm)
    affine = np.eye(4)
    affine[:3, :3] = direction * (planes.spacings[0, 1], planes.spacings[0, 0], step)
    affine[:3, 3] = direction @ [*local[0, :2], local[:, 2].min()]
    shape = (*size, int(index.max()) + 1)
    return file_grid(path, shape, affine, frame_of_reference_uid), index, warnings


def _direction(path: Path, planes: Planes) -> Float:
    """Unit vectors of i, j and k as columns; rounding of the header is taken out."""
    numbers = np.hstack([planes.positions, planes.orientations, planes.spacings])
    if not np.isfinite(numbers).all() or planes.spacings.min() <= 0:
        raise UnsuitableCtError(f"the frames of {path} have no usable position or pixel spacing.")
    turned = np.abs(planes.orientations - planes.orientations[0]).max() > ORIENTATION_TOLERANCE
    scaled = np.abs(planes.spacings - planes.spacings[0]).max() > PIXEL_SPACING_TOLERANCE_MM
    if turned or scaled:
        raise UnsuitableCtError(
            f"the frames of {path} differ in {'orientation' if turned else 'pixel spacing'}; one "
            "grid for all is expected. Export it on the grid of one CT series."
        )
    row, column = planes.orientations[0, :3], planes.orientations[0, 3:]
    off = max(abs(row @ row - 1), abs(column @ column - 1), abs(row @ column))
    if off > COSINE_TOLERANCE:
        raise UnsuitableCtError(
            f"the orientation {planes.orientations[0].tolist()} of {path} is not a pair of unit "
            "vectors at right angles."
        )
    row = row / np.linalg.norm(row)
    column = column - row * (row @ column)
    column = column / np.linalg.norm(column)
    return np.column_stack([row, column, np.cross(row, column)])


def _step(path: Path, places: Float) -> float:
    """Distance between neighbouring planes: the smallest gaps, refined over the whole stack."""
    gaps = np.diff(np.sort(places))
    gaps = gaps[gaps > SAME_POSITION_MM]
    if not len(gaps):
        raise UnsuitableCtError(f"all frames of {path} lie in one plane; a volume is expected.")
    # The median keeps the rounding of one position from adding up over a long stretch left out.
    usual = float(np.median(gaps[gaps < 1.5 * gaps.min()]))
    steps = np.rint(gaps / usual).sum()
    if steps > MOST_PLANES:
        raise UnsuitableCtError(
            f"the planes of {path} lie {gaps.min():.3f} to {gaps.max():.1f} mm apart, on no even "
            "spacing. Export it on the grid of one CT series."
        )
    return float(gaps.sum() / steps)


def _compare_step(path: Path, step: float, stated: float | None) -> tuple[str, ...]:
    """Compare the step with what the header says of it; the positions are the authority."""
    if stated is None or stated <= 0 or abs(stated - step) <= STEP_TOLERANCE * step:
        return ()
    parts = round(step / stated)
    if parts >= 2 and abs(stated * parts - step) <= STEP_TOLERANCE * step:
        raise UnsuitableCtError(
            f"the planes of {path} lie {step:.2f} mm apart and its header states {stated:.2f} mm: "
            f"only one plane in {parts} was drawn or kept. Fill the planes between."
        )
    return (
        f"the label map's header states {stated:.2f} mm between slices and its planes lie "
        f"{step:.2f} mm apart; the positions of the planes were used.",
    )
