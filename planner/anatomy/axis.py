"""The two curves of the sacrum: the canal's centreline and the axis through the bodies.

Both run from cranial to caudal. The canal's centreline follows the canal label and ends with it
(at the hiatus, about S4); the axis goes on through bone to the tail.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from planner.anatomy.curve import resample_curve, smooth_curve, station
from planner.anatomy.material import Material
from planner.anatomy.midplane import Midplane
from planner.errors import UntrustedAnatomyError
from planner.geometry.grid import Float
from planner.geometry.sampling import sample
from planner.model.anatomy import LABELS, SacralFrame

STEP_MM = 2.0
CANAL_SMOOTH_MM = 6.0
AXIS_SMOOTH_MM = 8.0
STRIP_MM = 6.0
"""Half width of the strip of the canal that is followed; lower canals are 13 mm wide."""
SLIVER = 0.3
"""Ends of the canal with less than this part of the usual points per step are not followed."""
PIECE = 0.1
"""Pieces of the canal label smaller than this part of its largest are specks."""
SHORTEST_CANAL_MM = 25.0
"""A canal label shorter than one segment (28 mm at S1) says nothing of the sacrum's course."""
BODY_OFFSETS_MM = np.array([-6.0, -3.0, 0.0, 3.0, 6.0])
"""Lateral places at which a body's depth is probed; S4 bodies are barely 20 mm wide."""
DEPTH_MM = np.arange(-30.0, 30.01, 0.5)
LARGEST_GAP_MM = 5.0
"""Bridged without bone (a disc remnant); a wider gap is the end of the sacrum."""
TURN = 0.25
"""Part of a step's change of direction that is followed at once; keeps single rows from
steering."""


def canal_centreline(material: Material, midplane: Midplane, cranial_point: Float) -> Float:
    """(N, 3) centreline of the canal label from its cranial to its caudal end, patient LPS, mm.

    Its middle strip is followed in the midplane, the lateral place is the strip's own.
    cranial_point: (3,) any point nearer to the cranial than to the caudal end.
    Raises UntrustedAnatomyError for a canal too short to have a direction.
    """
    box = material.box(("sacral_canal",), 0.0)
    if box is None:
        raise ValueError("canal_centreline needs a sacral_canal label")
    grid, where = material.cut(box)
    parts, _ = ndimage.label(
        material.labels[where] == LABELS["sacral_canal"], ndimage.generate_binary_structure(3, 3)
    )
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    # an interrupted label still has one course; which piece is the longest says nothing of it
    whole = sizes >= PIECE * sizes.max()
    points = grid.to_patient(np.argwhere(whole[parts]))
    points = points[np.abs(midplane.lateral(points)) < STRIP_MM]
    length = 0.0
    if len(points) >= 10:
        centre = points.mean(axis=0)
        direction = np.linalg.eigh(np.cov((points - centre).T))[1][:, -1]
        if (cranial_point - centre) @ direction > 0:
            direction = -direction
        low, high = np.percentile((points - centre) @ direction, [1.0, 99.0])
        length = float(high - low)
    if length < SHORTEST_CANAL_MM:
        raise UntrustedAnatomyError(
            f"the sacral_canal label is {length:.0f} mm long near the midplane, at least "
            f"{SHORTEST_CANAL_MM:.0f} mm are needed to follow the sacrum. Check the segmentation."
        )
    curve = np.stack([centre + low * direction, centre + high * direction])
    for _ in range(3):
        curve = _recentred(points, curve)
    return curve


def _recentred(points: Float, curve: Float) -> Float:
    """Move a curve to the centroids of the points beside it; ends with a sliver of points go."""
    even = resample_curve(curve, STEP_MM)
    bins = np.floor(station(even, points) / STEP_MM).astype(int)
    first = int(bins.min())
    count = np.bincount(bins - first)
    full = np.flatnonzero(count >= SLIVER * np.median(count[count > 0]))
    centroids = [points[bins - first == n].mean(axis=0) for n in full]
    even = resample_curve(np.array(centroids), STEP_MM)
    return smooth_curve(even, STEP_MM, CANAL_SMOOTH_MM)


def sacral_axis(material: Material, frame: SacralFrame, canal_axis: Float) -> Float:
    """(N, 3) curve through the vertebral bodies from the S1 endplate to the tail, patient LPS, mm.

    Marches down the midplane: at every step the body's depth is probed across the direction of
    travel, from its anterior cortex to the canal (or to the dorsal surface below the hiatus).
    """
    canal = (material.labels == LABELS["sacral_canal"]).astype(np.float32)
    here, heading = np.zeros(2), np.array([0.0, -1.0])
    found, missed = [here.copy()], 0.0
    for _ in range(120):
        here = here + STEP_MM * heading
        across = np.array([-heading[1], heading[0]])
        middle = _body_middle(material, canal, frame, here, across)
        if middle is None:
            missed += STEP_MM
            if missed > LARGEST_GAP_MM:
                break
            continue
        missed = 0.0
        here = here + 0.6 * middle * across
        step = here - found[-1]
        heading = (1 - TURN) * heading + TURN * step / np.linalg.norm(step)
        heading /= np.linalg.norm(heading)
        found.append(here.copy())
    flat = np.array(found)
    points = frame.to_patient(np.column_stack([np.zeros(len(flat)), flat]))
    return smooth_curve(resample_curve(points, STEP_MM), STEP_MM, AXIS_SMOOTH_MM)


def _body_middle(
    material: Material,
    canal: NDArray[np.float32],
    frame: SacralFrame,
    here: Float,
    across: Float,
) -> float | None:
    """Offset (mm, posterior positive) of the middle of the body at a point of the midplane."""
    probe = here + DEPTH_MM[:, None] * across
    lines = np.zeros((len(BODY_OFFSETS_MM), len(DEPTH_MM), 3))
    lines[..., 0] = BODY_OFFSETS_MM[:, None]
    lines[..., 1:] = probe
    where = frame.to_patient(lines)
    solid = sample(material.field, material.grid, where, 9.0) < 0
    hollow = sample(canal, material.grid, where, 0.0) > 0.3
    middles = []
    for row_solid, row_hollow in zip(solid, hollow, strict=True):
        run = _nearest_run(row_solid & ~row_hollow)
        if run is not None:
            middles.append(0.5 * (DEPTH_MM[run[0]] + DEPTH_MM[run[1]]))
    return float(np.median(middles)) if middles else None


def _nearest_run(solid: NDArray[np.bool_]) -> tuple[int, int] | None:
    """First and last index of the run of True nearest to the middle of a row."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], solid.astype(int), [0]])))
    if len(edges) == 0:
        return None
    runs = edges.reshape(-1, 2) - np.array([0, 1])
    middle = len(solid) // 2
    far = np.maximum(np.maximum(runs[:, 0] - middle, middle - runs[:, 1]), 0)
    pick = int(far.argmin())
    if far[pick] * 0.5 > 8.0:
        return None
    return int(runs[pick, 0]), int(runs[pick, 1])
