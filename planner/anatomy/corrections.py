"""A person's corrections of a label map: a channel moved, a ball marked as bone or as none.

A correction is what a person saw, not what a program found: it is applied as it is given, and the
anatomy derived from the result passes every check that any other label map passes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.geometry.grid import Float, Grid
from planner.model.anatomy import CHANNELS, LABELS

Point = tuple[float, float, float]
LEAST_RADIUS_MM, MOST_RADIUS_MM = 1.0, 20.0
FARTHEST_MM = 30.0  # the next foramen is nearer than this: what is farther off is another one
LEAST_KEPT = 0.9  # rounding to voxels costs a few; more is a channel that was cut
SIDEWAYS_MM = 20.0  # half a sacral body: bone on both sides within it closes a hole


@dataclass(frozen=True)
class MoveChannel:
    """Shift a foramen's channel or the canal as a whole.

    segment: its name. by_mm: (x, y, z), patient LPS.
    """

    segment: str
    by_mm: Point

    def __post_init__(self) -> None:
        if self.segment not in CHANNELS:
            raise ValueError(
                f"only channels can be moved ({', '.join(CHANNELS)}), not {self.segment!r}"
            )
        far = float(np.linalg.norm(self.by_mm))
        if not far <= FARTHEST_MM:
            raise ValueError(f"a channel can be moved by up to {FARTHEST_MM:g} mm, not {far:g}")


@dataclass(frozen=True)
class MarkBall:
    """Say of a ball that what is in it is bone of the sacrum, or is not.

    centre_mm: patient LPS. bone: whether it is.
    """

    centre_mm: Point
    radius_mm: float
    bone: bool

    def __post_init__(self) -> None:
        if not LEAST_RADIUS_MM <= self.radius_mm <= MOST_RADIUS_MM:
            raise ValueError(
                f"a ball has a radius of {LEAST_RADIUS_MM:g} to {MOST_RADIUS_MM:g} mm, not "
                f"{self.radius_mm:g}"
            )


Correction = MoveChannel | MarkBall


def corrected(
    labels: NDArray[np.uint8], grid: Grid, corrections: Iterable[Correction], left: Float
) -> NDArray[np.uint8]:
    """Apply corrections to an (I, J, K) label map; returns a new one.

    Channels are moved first, all at once and each from where it was, then balls are marked in their
    order. left: (3,) the patient's left in the sacral frame, patient LPS. Raises ValueError for a
    channel that is moved twice, or into another structure or out of the map.
    """
    out = np.array(labels, np.uint8)
    given = list(corrections)
    moves = [each for each in given if isinstance(each, MoveChannel)]
    if len({move.segment for move in moves}) < len(moves):
        raise ValueError("a channel is moved once, from where it was")
    for move in moves:
        before = labels == LABELS[move.segment]
        out[before] = 0
    for move in moves:
        before = labels == LABELS[move.segment]
        out[before & _between_bone(out, grid, before, left)] = LABELS["sacrum"]
    for move in moves:
        _place(out, labels == LABELS[move.segment], grid, move)
    for each in given:
        if isinstance(each, MarkBall):
            _mark(out, grid, each)
    return out


def _place(
    labels: NDArray[np.uint8], before: NDArray[np.bool_], grid: Grid, move: MoveChannel
) -> None:
    """Put a channel that was taken out where it is moved to; before: where it was."""
    where = np.argwhere(before)
    if len(where) == 0:
        raise ValueError(f"{move.segment} is not in the label map")
    by_voxels = grid.ijk_from_patient[:3, :3] @ np.array(move.by_mm)
    low = np.floor(where.min(axis=0) + by_voxels).astype(int)
    high = np.ceil(where.max(axis=0) + by_voxels).astype(int) + 1
    low, high = np.clip(low, 0, grid.shape), np.clip(high, 0, grid.shape)
    # The new place takes the nearest voxel of the old one, so that nothing tears open.
    box = np.stack(
        np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij"), -1
    )
    source = np.rint(box - by_voxels).astype(int)
    inside = ((source >= 0) & (source < grid.shape)).all(axis=-1)
    after = np.zeros(labels.shape, bool)
    after[tuple(box[inside].T)] = before[tuple(source[inside].T)]
    free = (labels == 0) | (labels == LABELS["sacrum"])
    if (after & free).sum() < LEAST_KEPT * len(where):
        raise ValueError(
            f"{move.segment} would lie within another structure, or out of the scan, and be cut "
            "off there; move that one as well, or this one less far"
        )
    labels[after & free] = LABELS[move.segment]


def _between_bone(
    labels: NDArray[np.uint8], grid: Grid, where: NDArray[np.bool_], left: Float
) -> NDArray[np.bool_]:
    """Which voxels have the sacrum's bone on their left and on their right: a hole, not outside."""
    bone = labels == LABELS["sacrum"]
    points = np.argwhere(where)
    step_mm = float(grid.spacing_mm.min())
    by = grid.ijk_from_patient[:3, :3] @ (step_mm * np.asarray(left, float))
    found = np.ones(len(points), bool)
    for sign in (1, -1):
        hit = np.zeros(len(points), bool)
        for step in range(1, int(SIDEWAYS_MM / step_mm) + 1):
            place = np.rint(points + sign * step * by).astype(int)
            inside = ((place >= 0) & (place < grid.shape)).all(axis=1)
            hit[inside] |= bone[tuple(place[inside].T)]
        found &= hit
    out = np.zeros(labels.shape, bool)
    out[tuple(points[found].T)] = True
    return out


def _mark(labels: NDArray[np.uint8], grid: Grid, ball: MarkBall) -> None:
    middle = grid.to_ijk(np.array(ball.centre_mm))
    reach = ball.radius_mm / grid.spacing_mm + 1
    low = np.clip(np.floor(middle - reach), 0, grid.shape).astype(int)
    high = np.clip(np.ceil(middle + reach) + 1, 0, grid.shape).astype(int)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    index = np.stack(
        np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij"), -1
    )
    if index.size == 0:
        return
    off = np.linalg.norm(grid.to_patient(index) - np.array(ball.centre_mm), axis=-1)
    part = labels[box]
    inside = off <= ball.radius_mm
    if ball.bone:
        # Never over a nerve: a channel that is wrong is moved, not filled.
        part[inside & (part == 0)] = LABELS["sacrum"]
    else:
        part[inside & (part == LABELS["sacrum"])] = 0
