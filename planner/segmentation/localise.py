"""Find sacrum and hips in a CT: how the body lies, then a fit of nine parameters.

The image is max-pooled before anything looks at it: averaging erases the thin cortex of
osteoporotic bone. A correlation over all places and turns gives the body's axes; its best places
are refined on the contrast between bone surface and surroundings, from several starts along the
sacral axis, because a sacrum that is one level off also looks good.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from planner.anatomy.orientation import SLOPE_DEG, is_possible
from planner.geometry.grid import Float, Grid
from planner.geometry.sampling import resample_with_itk, value_at
from planner.geometry.smoothing import gaussian
from planner.geometry.threads import in_parts
from planner.model.volume import Volume
from planner.segmentation.body_frame import Correlator, Match, search_turns, turn_of
from planner.segmentation.pose import Bend, Pose
from planner.segmentation.template import Surface, Template

Array = NDArray[Any]

POOLED_MM = 4.0
BONE_HU = (130.0, 380.0)
"""Bone counts 0 at the first figure (osteoporotic cortex after blurring), 1 at the second."""
SLOPES_DEG = (-10.0, 0.0, 10.0)
"""Sacral slopes tried about the turn that was found."""
SCALES = (0.9, 1.0, 1.1)
STARTS = 4
INSIDE_MM, OUTSIDE_MM, OUTSIDE_WEIGHT = 1.0, 7.0, 0.6
"""Where the contrast of a surface is taken, and what bone outside counts against bone inside."""
CAUDAL = np.array([[0.0, 0.35, -0.94]])
"""The sacral axis in the template's frame, S1 to S3."""
NOT_IMAGED = -1.0
NOT_SEEN = 0.2
"""Contrast of surface off the image, between what a right place has and a wrong one. With none, a
pelvis that the image cuts off slides into the field of view."""
LEAST_SEEN = 0.3
"""Share of the pelvis that must be on the image for it to be found there."""
STARTS_MM = (-24.0, -16.0, -8.0, 8.0, 16.0, 24.0)
LOG_SCALE_LIMIT = 0.22
SCALE_SPREAD_LIMIT = 0.12
"""How far the three scales may part from their mean: shapes differ less than sizes."""
NEARLY = 0.9
"""Share of the best correlation from which a turn fits nearly as well: right ones have 0.39 to 0.65
and the next best away from them at most 0.8 of that."""
BEND_PRIOR = 0.002
"""Cost of a bend of one unit (6 mm, 4 degrees), in contrast: keeps what the image leaves open."""
PITCHES_DEG = (0.0, -20.0, -10.0, 10.0, 20.0)
"""Starts of the bend's pitch; sacra lie up to 15 degrees askew to their hips."""
OTHER_PITCH = 0.01
"""Contrast by which a bend begun elsewhere must be better: less is the search's own noise."""


@dataclass(frozen=True, eq=False)
class Localisation:
    """How the body lies, and where the template sits in it.

    turn: (3, 3) columns: the body's left, back and up in patient LPS. pose: of the template, in
    coordinates along those axes. bend: of its sacrum, to be applied before the pose. contrast: mean
    bone contrast on its surface, about 0.25 to 0.5 on a pelvis, surface off the image counted as
    NOT_SEEN; contrast_seen: of what is on the image. runner_up: the best contrast at another place
    (more than 12 mm away). matches: turns of the whole pelvis, best first.
    """

    turn: Float
    pose: Pose
    bend: Bend
    contrast: float
    contrast_seen: float
    runner_up: float
    matches: tuple[Match, ...] = ()


def pooled_bone(volume: Volume) -> tuple[NDArray[np.float32], Grid]:
    """Max-pool a CT to about 4 mm, as boneness from 0 to 1 on blocks of its own lattice."""
    factors = np.maximum(1, np.rint(POOLED_MM / volume.grid.spacing_mm)).astype(int)
    cells = [n // int(f) for n, f in zip(volume.grid.shape, factors, strict=True)]
    cut = volume.values[tuple(slice(0, c * int(f)) for c, f in zip(cells, factors, strict=True))]
    pooled = np.empty(tuple(cells), np.float32)
    for k in range(cells[2]):  # slab by slab: the reshaped copy of a whole CT would double it
        slab = np.ascontiguousarray(cut[:, :, k * factors[2] : (k + 1) * factors[2]])
        blocks = slab.reshape(cells[0], factors[0], cells[1], factors[1], -1)
        pooled[:, :, k] = blocks.max(axis=(1, 3, 4))
    affine = volume.grid.patient_from_ijk.copy()
    affine[:3, :3] = affine[:3, :3] * factors
    affine[:3, 3] = volume.grid.to_patient((factors - 1) / 2.0)
    low, high = BONE_HU
    boneness = np.clip((pooled - low) / (high - low), 0, 1).astype(np.float32)
    return boneness, Grid((cells[0], cells[1], cells[2]), affine)


def along_axes(
    boneness: NDArray[np.float32], native: Grid, axes: Float
) -> tuple[NDArray[np.float32], Grid]:
    """Resample pooled bone to 4 mm along other axes.

    axes: (3, 3) columns, patient LPS. The grid returned is in coordinates along them, not in LPS.
    What the image does not cover is NOT_IMAGED.
    """
    turned = native.turned(axes.T)
    coarse = Grid.around(turned.corners(), POOLED_MM)
    # On faint bone the pose found turns on the last digit here: by ITK it stays what was measured.
    out = np.ascontiguousarray(resample_with_itk(boneness, turned, coarse, 0.0), np.float32)
    index = np.indices(coarse.shape).reshape(3, -1).T
    out[~turned.contains(coarse.to_patient(index)).reshape(coarse.shape)] = NOT_IMAGED
    return out, coarse


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _contrasts(
    field: Array,
    ijk_from_patient: Array,
    axes: Array,
    scale: Array,
    translation: Array,
    points: Array,
    normals: Array,
    out: Array,
    start: int,
    stop: int,
) -> None:
    """Contrast at each point of a posed surface: INSIDE_MM in against OUTSIDE_MM out.

    NaN off the image.

    ijk_from_patient: (3, 4). axes, scale, translation: of the pose. points, normals: (N, 3) in the
    template's frame.
    """
    where, normal = np.empty(3), np.empty(3)
    first, step = np.empty(3), np.empty(3)
    weight = np.float32(OUTSIDE_WEIGHT)
    for n in range(start, stop):
        for a in range(3):
            where[a], normal[a] = translation[a], 0.0
            for b in range(3):
                where[a] += axes[a, b] * (points[n, b] * scale[b])
                normal[a] += axes[a, b] * (normals[n, b] / scale[b])
        length = max(
            np.sqrt(normal[0] * normal[0] + normal[1] * normal[1] + normal[2] * normal[2]), 1e-9
        )
        for a in range(3):
            first[a], step[a] = ijk_from_patient[a, 3], 0.0
            for b in range(3):
                first[a] += ijk_from_patient[a, b] * where[b]
                step[a] += ijk_from_patient[a, b] * normal[b] / length
        i, j, k = first[0], first[1], first[2]
        u, v, w = step[0], step[1], step[2]
        t = -INSIDE_MM
        inside = np.float32(value_at(field, i + t * u, j + t * v, k + t * w, np.nan))
        t = OUTSIDE_MM
        outside = np.float32(value_at(field, i + t * u, j + t * v, k + t * w, np.nan))
        out[n] = inside - weight * outside


class _Contrast:
    """Mean contrast between just inside and well outside a posed template's surfaces."""

    def __init__(
        self,
        boneness: NDArray[np.float32],
        coarse: Grid,
        surfaces: list[tuple[Surface, float]],
    ) -> None:
        self.field = gaussian(np.maximum(boneness, 0.0), 0.5)
        self.field[boneness < 0] = np.nan
        self.ijk_from_patient = np.array(coarse.ijk_from_patient[:3])
        points, normals, weights = [], [], []
        for surface, weight in surfaces:
            step = max(1, len(surface.vertices) // 1500)
            points.append(surface.vertices[::step])
            normals.append(surface.normals[::step])
            weights.append(np.full(len(points[-1]), weight / len(points[-1])))
        self.points = np.concatenate(points)
        self.normals = np.concatenate(normals)
        self.weights = np.concatenate(weights) / sum(weight for _, weight in surfaces)

    def __call__(self, pose: Pose) -> float:
        return float(np.dot(self.weights, np.nan_to_num(self._each(pose), nan=NOT_SEEN)))

    def seen(self, pose: Pose) -> float:
        """Mean contrast of the part that the image shows; 0 where it shows less than LEAST_SEEN."""
        each = self._each(pose)
        shown = np.isfinite(each)
        share = float(self.weights[shown].sum())
        if share < LEAST_SEEN:
            return 0.0
        return float(np.dot(self.weights[shown], each[shown])) / share

    def _each(self, pose: Pose) -> Float:
        out = np.empty(len(self.points))
        in_parts(
            _contrasts,
            len(out),
            self.field,
            self.ijk_from_patient,
            np.ascontiguousarray(pose.axes),
            np.exp(pose.log_scale),
            np.array(pose.translation),
            self.points,
            self.normals,
            out,
        )
        return out


def _refine(contrast: _Contrast, start: Pose, iterations: int) -> tuple[float, Pose]:
    units = np.array([4.0, 4.0, 4.0, 4.0, 3.0, 3.0, 0.05, 0.05, 0.05])
    x0 = start.vector()

    def cost(step: Float) -> float:
        vector = x0 + step * units
        scales = vector[6:9]
        mean = float(scales.mean())
        spread = np.maximum(0.0, np.abs(scales - mean) - SCALE_SPREAD_LIMIT).sum()
        over = max(0.0, abs(mean) - LOG_SCALE_LIMIT) + float(spread)
        return -contrast(Pose.from_vector(vector)) + 5.0 * over

    result = minimize(
        cost,
        np.zeros(9),
        method="Powell",
        options={"maxiter": iterations, "xtol": 0.02, "ftol": 1e-4},
    )
    return -float(result.fun), Pose.from_vector(x0 + result.x * units)


def _bend(boneness: NDArray[np.float32], coarse: Grid, template: Template, pose: Pose) -> Bend:
    """Fit the bend of the sacrum alone under a pose.

    Begun from several pitches: on a steep sacrum the way from none leads past the right one.
    """
    contrast = _Contrast(boneness, coarse, [(template.sacrum, 1.0)])
    points = contrast.points
    units = np.array([6.0, 6.0, 4.0, 3.0, 3.0])

    def cost(step: Float) -> float:
        contrast.points = Bend(*(step * units)).apply(points)
        return -contrast(pose) + BEND_PRIOR * float(step @ step)

    found = []
    for pitch_deg in PITCHES_DEG:
        start = np.array([0.0, 0.0, pitch_deg / units[2], 0.0, 0.0])
        result = minimize(
            cost, start, method="Powell", options={"maxiter": 4, "xtol": 0.02, "ftol": 1e-4}
        )
        found.append((float(result.fun) + (OTHER_PITCH if pitch_deg else 0.0), result.x))
    best = min(found, key=lambda item: item[0])[1]
    return Bend(*(float(x) for x in best * units))


def localise(volume: Volume, template: Template) -> Localisation:
    """Find how the body lies in a CT, and the template's pose in the body's own axes.

    The turn comes from a correlation over all turns. In axes of the body, hips and sacrum are
    refined together from the best places, then the sacrum from several starts along its own axis;
    the best of all is kept, and the axes are turned to agree with it.
    """
    pooled, native = pooled_bone(volume)
    bone, grid = halved(*along_axes(pooled, native, native.direction))
    matches = search_turns(Correlator(bone, grid, native.direction, template))
    turn = turn_of(likely(matches).rotation_deg)
    boneness, coarse = along_axes(pooled, native, turn)
    everything = _Contrast(
        boneness, coarse, [(template.sacrum, 1.0), *((hip, 0.6) for hip in template.hips.values())]
    )
    places = _places(*halved(boneness, coarse), template)
    refined = [_refine(everything, _posed(place), 2) for place in places[:STARTS]]
    refined.sort(key=lambda item: -item[0])
    base = refined[0][1]
    along = base.turn(CAUDAL)[0]
    trials = [refined[0]]
    for shift in STARTS_MM:
        moved = Pose(base.translation + shift * along, base.rotation_deg, base.log_scale)
        trials.append(_refine(everything, moved, 1))
    trials.sort(key=lambda item: -item[0])
    score, pose = _refine(everything, trials[0][1], 4)
    others = [s for s, p in trials if np.linalg.norm(p.translation - pose.translation) > 12.0]
    bend = _bend(boneness, coarse, template, pose)
    straight = turn_of(tuple(pose.rotation_deg))
    return Localisation(
        turn @ straight,
        Pose(straight.T @ pose.translation, np.array([SLOPE_DEG, 0.0, 0.0]), pose.log_scale),
        bend,
        score,
        everything.seen(pose),
        max(others, default=0.0),
        tuple(matches),
    )


def elsewhere(found: Localisation, shift_mm: float) -> Localisation:
    """The same pelvis, moved along the sacrum's axis: towards the feet where positive."""
    down = found.pose.turn(CAUDAL)[0]
    moved = Pose(
        found.pose.translation + shift_mm * down, found.pose.rotation_deg, found.pose.log_scale
    )
    return replace(found, pose=moved)


def likely(matches: list[Match]) -> Match:
    """The best turn; one that a header may show, where that fits nearly as well as the best."""
    for match in matches:
        if match.value < NEARLY * matches[0].value:
            break
        if is_possible(turn_of(match.rotation_deg)):
            return match
    return matches[0]


def _places(bone: NDArray[np.float32], grid: Grid, template: Template) -> list[Match]:
    """Places of the template in a body that lies straight, over sizes and slopes, best first."""
    correlator = Correlator(bone, grid, np.eye(3), template)
    found = [
        place
        for slope in SLOPES_DEG
        for scale in SCALES
        for place in correlator.peaks((SLOPE_DEG + slope, 0.0, 0.0), scale, 2)
    ]
    return sorted(found, key=lambda m: -m.value)


def _posed(match: Match) -> Pose:
    return Pose(match.place, np.array(match.rotation_deg), np.full(3, np.log(match.scale)))


def halved(boneness: NDArray[np.float32], grid: Grid) -> tuple[NDArray[np.float32], Grid]:
    """Max-pool 4 mm bone to 8 mm."""
    half = [n // 2 for n in boneness.shape]
    cut = np.maximum(boneness, 0.0)[: 2 * half[0], : 2 * half[1], : 2 * half[2]]
    blocks = cut.reshape(half[0], 2, half[1], 2, half[2], 2).max(axis=(1, 3, 5))
    return blocks, Grid.from_axes(blocks.shape, grid.origin + POOLED_MM / 2, (2 * POOLED_MM,) * 3)
