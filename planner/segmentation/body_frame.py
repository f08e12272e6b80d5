"""How the body lies in the scan: the turn between patient LPS and the body's own axes.

A header says how a patient was meant to lie; people lie askew, on their side, on cushions. Bone
tells more: the pelvis is sought by correlation over turns about all three axes, and whatever looks
for structures afterwards works in axes of the body. Only the grid's affine is turned for that; no
voxel is resampled.

The turns searched go all the way round the long axis, and upside down, though not all of them can
be planned on: a header that contradicts the body is told by the pelvis fitting where it must not.
What cannot be told is a mirror image: a pelvis is its own.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.spatial.transform import Rotation

from planner.anatomy.orientation import SLOPE_DEG
from planner.geometry.distance import distance_to
from planner.geometry.grid import Float, Grid
from planner.geometry.sampling import resample
from planner.segmentation.template import Template

YAWS_DEG = np.arange(-180.0, 180.0, 20.0)
ROLLS_DEG = (-20.0, 0.0, 20.0)
SLOPES_DEG = (-30.0, -10.0, 10.0, 30.0, 50.0, 70.0, 90.0, 110.0)
"""Turns tried about the patient's z, y and x. A correlation falls to two thirds 15 degrees aside,
and to its ground 30 aside."""
EMPTY_MM = (9.0, 26.0)
"""A shell around the template that should hold no bone."""
POINTS = 4000
SACRUM_WEIGHT = 1.5
KEPT = 3
"""Turns that are looked at closely, and how far apart they must be."""
APART_DEG = 30.0
CLOSER_DEG = (10.0, 5.0)


Rotation3 = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Match:
    """A turn of the pelvis and how well it fits there.

    rotation_deg: (slope, roll, yaw), extrinsic angles about the patient's x, y and z that take the
    template into the patient. scale: of the template. value: correlation, 1 at most. place: (3,)
    where the template's origin comes to lie, patient LPS, mm.
    """

    rotation_deg: Rotation3
    scale: float
    value: float
    place: Float


def turn_of(rotation_deg: Rotation3) -> Float:
    """(3, 3) columns: the body's left, back and up, for a template turned by extrinsic angles."""
    whole = Rotation.from_euler("xyz", rotation_deg, degrees=True)
    return np.asarray((whole * Rotation.from_euler("x", -SLOPE_DEG, degrees=True)).as_matrix())


class Stencils:
    """Kernels of the turned template: positive on bone, negative in the shell around it."""

    def __init__(self, template: Template, cell_mm: float) -> None:
        surfaces = [(s, 1.0) for s in template.hips.values()]
        surfaces.append((template.sacrum, SACRUM_WEIGHT))  # in ascending order of weight
        step = max(1, sum(len(s.vertices) for s, _ in surfaces) // POINTS)
        self.points = np.concatenate([s.vertices[::step] for s, _ in surfaces])
        self.weights = np.concatenate([np.full(len(s.vertices[::step]), w) for s, w in surfaces])
        self.cell_mm = cell_mm
        # Distances are looked up, turned: a transform for every turn would take half the time.
        self.around = Grid.around(self.points, cell_mm / 2.0, EMPTY_MM[1] + cell_mm)
        near = np.zeros(self.around.shape, bool)
        near[tuple(np.rint(self.around.to_ijk(self.points)).astype(int).T)] = True
        self.away = distance_to(near, self.around.spacing_mm)

    def turned(self, axes: Float, scale: float = 1.0) -> tuple[NDArray[np.float32], Float]:
        """Rasterise the template, turned by a (3, 3) matrix and scaled.

        Returns the kernel, whose positive part adds up to 1 and whose negative part to -1, and the
        (3,) place of its first cell.
        """
        points = scale * self.points @ axes.T
        low = points.min(axis=0) - EMPTY_MM[1]
        index = np.rint((points - low) / self.cell_mm).astype(int)
        size = np.ceil((points.max(axis=0) + EMPTY_MM[1] - low) / self.cell_mm).astype(int) + 1
        kernel = np.zeros(size, np.float32)
        kernel[tuple(index.T)] = self.weights  # the last of several points in a cell stays
        total = float(kernel.sum())
        lattice = Grid.from_axes(kernel.shape, low, (self.cell_mm,) * 3)
        away = scale * resample(self.away, self.around, lattice.turned(axes.T / scale), np.inf)
        empty = (away > EMPTY_MM[0]) & (away < EMPTY_MM[1]) & (kernel == 0)
        kernel[empty] = -total / max(int(empty.sum()), 1)
        return np.asarray(kernel / total, dtype=np.float32), low


class Correlator:
    """Correlates the turned template with bone in an image.

    bone: (I, J, K) boneness, 0 to 1, on an isotropic grid in coordinates along `axes`, (3, 3)
    columns in patient LPS.
    """

    def __init__(
        self, bone: NDArray[np.float32], grid: Grid, axes: Float, template: Template
    ) -> None:
        self.bone, self.grid, self.axes = bone, grid, axes
        self.stencils = Stencils(template, float(grid.spacing_mm[0]))
        self.spectra: dict[tuple[int, ...], NDArray[np.complex64]] = {}

    def peaks(self, rotation_deg: Rotation3, scale: float = 1.0, count: int = 1) -> list[Match]:
        """Find the best places of the template under a turn."""
        cell = float(self.grid.spacing_mm[0])
        turn = Rotation.from_euler("xyz", rotation_deg, degrees=True).as_matrix()
        kernel, low = self.stencils.turned(self.axes.T @ turn, scale)
        fast = tuple(
            fft.next_fast_len(a + b - 1, real=True)
            for a, b in zip(self.bone.shape, kernel.shape, strict=True)
        )
        if fast not in self.spectra:
            self.spectra[fast] = fft.rfftn(self.bone, fast)
        product = np.conj(fft.rfftn(kernel, fast))
        product *= self.spectra[fast]
        response = fft.irfftn(product, fast)
        out = []
        for _ in range(count):
            best = np.array(np.unravel_index(int(np.argmax(response)), response.shape))
            shift = np.where(best < np.array(self.bone.shape), best, best - np.array(fast))
            place = self.axes @ (self.grid.origin + shift * cell - low)  # a kernel may stick out
            out.append(Match(rotation_deg, scale, float(response[tuple(best)]), place))
            response[tuple(slice(max(0, b - 2), b + 3) for b in best)] = -np.inf
        return out


def search_turns(correlator: Correlator) -> list[Match]:
    """Try all turns; the best of those that lie well apart, refined, best first."""
    tried = [
        (slope, roll, float(yaw)) for yaw in YAWS_DEG for roll in ROLLS_DEG for slope in SLOPES_DEG
    ]
    tried += [  # upside down
        (slope, 180.0, float(yaw)) for yaw in YAWS_DEG for slope in SLOPES_DEG[2:6]
    ]
    found: list[Match] = []

    def first(rotation_deg: Rotation3) -> Match:
        return correlator.peaks(rotation_deg)[0]

    with ThreadPoolExecutor(numba.get_num_threads()) as pool:
        for match in sorted(pool.map(first, tried), key=lambda m: -m.value):
            if all(angle_between(match, other) > APART_DEG for other in found):
                found.append(match)
            if len(found) == KEPT:
                break
        closer = [_closer(match, CLOSER_DEG[0], first, pool) for match in found]
        closer.sort(key=lambda m: -m.value)
        closer[0] = _closer(closer[0], CLOSER_DEG[1], first, pool)
    return closer


def _closer(
    match: Match, step_deg: float, at: Callable[[Rotation3], Match], pool: ThreadPoolExecutor
) -> Match:
    """The best of a turn and the 26 around it."""
    near = np.array(np.meshgrid(*[(-step_deg, 0.0, step_deg)] * 3)).reshape(3, -1).T
    turns = [(a, b, c) for a, b, c in (near + match.rotation_deg).tolist()]
    return max(pool.map(at, turns), key=lambda m: m.value)


def angle_between(one: Match, other: Match) -> float:
    """Angle (deg) of the rotation between two turns."""
    turns = [Rotation.from_euler("xyz", m.rotation_deg, degrees=True) for m in (one, other)]
    return float(np.degrees((turns[0].inv() * turns[1]).magnitude()))
