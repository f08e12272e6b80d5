"""Find sacrum and hips in a CT: a correlation over all places, then a fit of nine parameters.

The image is max-pooled before anything looks at it: averaging erases the thin cortex of
osteoporotic bone. The correlation sees every translation and a fan of sacral slopes and sizes, and
the same pelvis turned front to back and upside down, which tells an image whose geometry is wrong.
Its best places are refined on the contrast between bone surface and surroundings, from several
starts along the sacral axis, because a sacrum that is one level off also looks good.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.optimize import minimize

from planner.geometry.distance import distance_to
from planner.geometry.grid import Float, Grid
from planner.geometry.sampling import resample_with_itk, value_at
from planner.geometry.smoothing import gaussian
from planner.geometry.threads import in_parts
from planner.model.volume import Volume
from planner.segmentation.pose import Bend, Pose
from planner.segmentation.template import Surface, Template

Array = NDArray[Any]

POOLED_MM = 4.0
BONE_HU = (130.0, 380.0)
"""Bone counts 0 at the first figure (osteoporotic cortex after blurring), 1 at the second."""
SLOPES_DEG = (5.0, 15.0, 25.0, 35.0, 45.0, 55.0, 65.0, 75.0)
"""Sacral slopes searched; 24 to 55 in n=709 standing people, wider for tilted scans."""
SCALES = (0.9, 1.0, 1.1)
EMPTY_MM = (9.0, 26.0)
"""A shell around the template that should hold no bone."""
INSIDE_MM, OUTSIDE_MM, OUTSIDE_WEIGHT = 1.0, 7.0, 0.6
"""Where the contrast of a surface is taken, and what bone outside counts against bone inside."""
STARTS_MM = (-24.0, -16.0, -8.0, 8.0, 16.0, 24.0)
LOG_SCALE_LIMIT = 0.22
SCALE_SPREAD_LIMIT = 0.12
"""How far the three scales may part from their mean: shapes differ less than sizes."""
TURNS = {"as stored": (1, 1), "front to back": (-1, 1), "upside down": (1, -1)}
"""Mirrorings of y and z. Left and right cannot be told apart: a pelvis is its own mirror image."""

BEND_PRIOR = 0.002
"""Cost of a bend of one unit (6 mm, 4 degrees), in contrast: keeps what the image leaves open."""
TURN_MARGIN = 0.08
"""How much better (in units of a perfect correlation) a mirrored pelvis must fit to be believed."""


@dataclass(frozen=True, eq=False)
class Localisation:
    """Where the template sits.

    pose: of the template. bend: of its sacrum, to be applied before the pose. contrast: mean bone
    contrast on its surface, about 0.25 to 0.5 on a pelvis. runner_up: the best contrast at another
    place (more than 12 mm away). turned: a mirroring of the image that fits the pelvis better than
    the image as stored, or empty.
    """

    pose: Pose
    bend: Bend
    contrast: float
    runner_up: float
    turned: str


def bone_map(volume: Volume) -> tuple[NDArray[np.float32], Grid]:
    """Max-pool a CT to 4 mm, as boneness from 0 to 1 on a grid along the patient's axes."""
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
    native = Grid((cells[0], cells[1], cells[2]), affine)
    low, high = BONE_HU
    boneness = np.clip((pooled - low) / (high - low), 0, 1).astype(np.float32)
    coarse = Grid.around(native.corners(), POOLED_MM)
    # On faint bone the pose found turns on the last digit here: by ITK it stays what was measured.
    out = resample_with_itk(boneness, native, coarse, 0.0)
    return np.ascontiguousarray(out, np.float32), coarse


def _stencil(points: Float, weights: Float, cell_mm: float) -> tuple[NDArray[np.float32], Float]:
    """Rasterise surface points into a kernel: positive on bone, negative in the shell around it."""
    low = points.min(axis=0) - EMPTY_MM[1]
    index = np.rint((points - low) / cell_mm).astype(int)
    size = np.ceil((points.max(axis=0) + EMPTY_MM[1] - low) / cell_mm).astype(int) + 1
    kernel = np.zeros(size, np.float32)
    order = np.argsort(weights, kind="stable")  # the last of several points in a cell stays
    kernel[tuple(index[order].T)] = weights[order]
    total = float(kernel.sum())
    away = distance_to(kernel > 0, np.full(3, cell_mm))
    empty = (away > EMPTY_MM[0]) & (away < EMPTY_MM[1])
    kernel[empty] = -total / max(int(empty.sum()), 1)
    return np.asarray(kernel / total, dtype=np.float32), low


def _correlate(
    boneness: NDArray[np.float32], coarse: Grid, template: Template
) -> dict[str, list[tuple[float, Pose]]]:
    """Try every place, slope, size and turn; the best places of each turn, best first."""
    half = [n // 2 for n in boneness.shape]
    cut = boneness[: 2 * half[0], : 2 * half[1], : 2 * half[2]]
    blocks = cut.reshape(half[0], 2, half[1], 2, half[2], 2).max(axis=(1, 3, 5))
    cell = 2 * POOLED_MM
    origin = coarse.origin + POOLED_MM / 2
    surfaces = [template.sacrum, *template.hips.values()]
    points = np.concatenate([s.vertices for s in surfaces])
    weights = np.concatenate(
        [np.full(len(s.vertices), w) for s, w in zip(surfaces, (1.5, 1.0, 1.0), strict=True)]
    )
    found: dict[str, list[tuple[float, Pose]]] = {turn: [] for turn in TURNS}
    spectra: dict[tuple[int, ...], NDArray[np.complex64]] = {}
    for slope in SLOPES_DEG:
        for scale in SCALES:
            pose = Pose(np.zeros(3), np.array([slope, 0.0, 0.0]), np.full(3, np.log(scale)))
            posed = pose.apply(points)
            for turn, (along_y, along_z) in TURNS.items():
                kernel, low = _stencil(posed * (1, along_y, along_z), weights, cell)
                peaks = _peaks(blocks, kernel, spectra)
                for value, shift in peaks:
                    place = Pose(origin + shift * cell - low, pose.rotation_deg, pose.log_scale)
                    found[turn].append((value, place))
    for places in found.values():
        places.sort(key=lambda item: -item[0])
    return found


def _peaks(
    blocks: NDArray[np.float32],
    kernel: NDArray[np.float32],
    spectra: dict[tuple[int, ...], NDArray[np.complex64]],
) -> list[tuple[float, Float]]:
    """The two best shifts of a kernel over the blocks (negative shifts: it may stick out)."""
    fast = tuple(
        fft.next_fast_len(a + b - 1, real=True)
        for a, b in zip(blocks.shape, kernel.shape, strict=True)
    )
    if fast not in spectra:
        spectra[fast] = fft.rfftn(blocks, fast)
    workers = numba.get_num_threads()  # each transforms lines of its own
    product = np.conj(fft.rfftn(kernel, fast, workers=workers))
    product *= spectra[fast]
    response = fft.irfftn(product, fast, workers=workers)
    out = []
    for _ in range(2):
        best = np.array(np.unravel_index(int(np.argmax(response)), response.shape))
        value = float(response[tuple(best)])
        shift = np.where(best < np.array(blocks.shape), best, best - np.array(fast))
        out.append((value, shift.astype(float)))
        response[tuple(slice(max(0, b - 2), b + 3) for b in best)] = -np.inf
    return out


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
        inside = np.float32(value_at(field, i + t * u, j + t * v, k + t * w, 0.0))
        t = OUTSIDE_MM
        outside = np.float32(value_at(field, i + t * u, j + t * v, k + t * w, 0.0))
        out[n] = inside - weight * outside


class _Contrast:
    """Mean contrast between just inside and well outside a posed template's surfaces."""

    def __init__(
        self,
        boneness: NDArray[np.float32],
        coarse: Grid,
        surfaces: list[tuple[Surface, float]],
    ) -> None:
        self.field = gaussian(boneness, 0.5)
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
        return float(np.dot(self.weights, out))


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
    """Fit the bend of the sacrum alone under a pose."""
    contrast = _Contrast(boneness, coarse, [(template.sacrum, 1.0)])
    points = contrast.points
    units = np.array([6.0, 6.0, 4.0, 3.0, 3.0])

    def cost(step: Float) -> float:
        contrast.points = Bend(*(step * units)).apply(points)
        return -contrast(pose) + BEND_PRIOR * float(step @ step)

    result = minimize(
        cost, np.zeros(5), method="Powell", options={"maxiter": 4, "xtol": 0.02, "ftol": 1e-4}
    )
    return Bend(*(float(x) for x in result.x * units))


def localise(volume: Volume, template: Template) -> Localisation:
    """Find the template's pose in a CT.

    The correlation's best places are refined with hips and sacrum together; then the sacrum is
    tried from several starts along its own axis, and the best of all is kept.
    """
    boneness, coarse = bone_map(volume)
    found = _correlate(boneness, coarse, template)
    everything = _Contrast(
        boneness, coarse, [(template.sacrum, 1.0), *((hip, 0.6) for hip in template.hips.values())]
    )
    refined = [_refine(everything, pose, 2) for _, pose in found["as stored"][:4]]
    refined.sort(key=lambda item: -item[0])
    base = refined[0][1]
    along = base.turn(np.array([[0.0, 0.35, -0.94]]))[0]
    trials = [refined[0]]
    for shift in STARTS_MM:
        moved = Pose(base.translation + shift * along, base.rotation_deg, base.log_scale)
        trials.append(_refine(everything, moved, 1))
    trials.sort(key=lambda item: -item[0])
    score, pose = _refine(everything, trials[0][1], 4)
    others = [s for s, p in trials if np.linalg.norm(p.translation - pose.translation) > 12.0]
    best = {turn: places[0][0] for turn, places in found.items()}
    turned = max(best, key=lambda turn: best[turn])
    margin = best[turned] - best["as stored"]
    return Localisation(
        pose,
        _bend(boneness, coarse, template, pose),
        score,
        max(others, default=0.0),
        turned if margin > TURN_MARGIN else "",
    )
