"""Scalar fields along straight paths: least margins, crossings, displaced paths.

Kernels work on one lattice in continuous indices; the typed functions above them take patient LPS
points, mm. A field is a signed distance in mm, positive where a path may go; a path is a segment
from its start to its end with a radius. What the fields mean is decided elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from planner.geometry.grid import Float, Grid
from planner.geometry.sampling import sample
from planner.geometry.threads import in_parts

Array = NDArray[Any]

FAR_MM = 1e3
WORTH_A_THREAD = 32
"""Paths that take longer to walk than to hand to a thread."""
LEAST_STRIDE, STRIDE_SHARE = 0.5, 0.7
"""Walks over a signed distance stride half a voxel at least, and this share of the distance to
where they must stop: interpolation and smoothing may make a field a little steeper than 1."""


@dataclass(frozen=True, eq=False)
class Field:
    """A scalar field on an isotropic grid.

    values: (I, J, K) float32, mm. outside: the value of every point off the grid.
    """

    grid: Grid
    values: NDArray[np.float32]
    outside: float = FAR_MM

    def __post_init__(self) -> None:
        if self.values.shape != self.grid.shape:
            raise ValueError(f"field {self.values.shape} does not fit the grid {self.grid.shape}")
        self.values.setflags(write=False)

    @property
    def step_mm(self) -> float:
        """Voxel size, mm."""
        return float(self.grid.spacing_mm.min())

    @cached_property
    def most(self) -> float:
        """Largest value, mm."""
        return float(self.values.max())

    def at(self, points: ArrayLike) -> Float:
        """Interpolate at (..., 3) patient points, mm."""
        return sample(self.values, self.grid, points, self.outside).astype(np.float64)

    def gradient_at(self, points: Float, reach_mm: float) -> Float:
        """Unit gradient at (N, 3) patient points by central differences over reach_mm."""
        moves = reach_mm * np.vstack([np.eye(3), -np.eye(3)])
        around = self.at(np.asarray(points, float)[:, None, :] + moves)
        slope = around[:, :3] - around[:, 3:]
        size = np.linalg.norm(slope, axis=1, keepdims=True)
        return np.asarray(np.divide(slope, size, out=np.zeros_like(slope), where=size > 1e-9))


@dataclass(frozen=True)
class Spread:
    """How a needle's place spreads: standard deviations, mm (tan_angle is mm per mm of depth).

    recheck_mm: the needle is checked and brought back whenever it has gone this far; residual_mm:
    what a check leaves of the offset. shared: part of the borders' variance that all structures
    have in common, 0 to 1.
    """

    entry_mm: float
    tan_angle: float
    depth_mm: float
    boundary_mm: float
    recheck_mm: float = np.inf
    residual_mm: float = 0.0
    shared: float = 0.0

    @property
    def figures(self) -> Float:
        """(6,) what kernels need: entry, slope, depth, border, interval of checks, what they leave.

        A border without error would divide by zero; 1 micrometre is sharp for all purposes.
        """
        boundary = max(self.boundary_mm, 1e-3)
        check = (self.recheck_mm, self.residual_mm)
        return np.array([self.entry_mm, self.tan_angle, self.depth_mm, boundary, *check])

    def at(self, depth_mm: ArrayLike) -> Float:
        """Lateral standard deviation (mm) at depths: offset, angle and boundary in quadrature."""
        depth = np.asarray(depth_mm, float)
        since, offset = depth, np.full(depth.shape, self.entry_mm)
        if np.isfinite(self.recheck_mm):
            checked = depth >= self.recheck_mm
            since = np.where(checked, depth % self.recheck_mm, depth)
            offset = np.where(checked, self.residual_mm, offset)
        return np.asarray(np.sqrt(offset**2 + (since * self.tan_angle) ** 2 + self.boundary_mm**2))


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _at(values: Array, x: float, y: float, z: float, outside: float) -> float:
    ni, nj, nk = values.shape
    if not (0.0 <= x <= ni - 1.0 and 0.0 <= y <= nj - 1.0 and 0.0 <= z <= nk - 1.0):
        return outside
    i = min(int(x), ni - 2)
    j = min(int(y), nj - 2)
    k = min(int(z), nk - 2)
    fx, fy, fz = x - i, y - j, z - k
    low = (values[i, j, k] * (1 - fx) + values[i + 1, j, k] * fx) * (1 - fy) + (
        values[i, j + 1, k] * (1 - fx) + values[i + 1, j + 1, k] * fx
    ) * fy
    high = (values[i, j, k + 1] * (1 - fx) + values[i + 1, j, k + 1] * fx) * (1 - fy) + (
        values[i, j + 1, k + 1] * (1 - fx) + values[i + 1, j + 1, k + 1] * fx
    ) * fy
    return low * (1 - fz) + high * fz  # type: ignore[no-any-return]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _variance(depth: float, at_tip: bool, spread: Array) -> float:
    """Variance, mm2, of a needle's place at a depth; spread as `Spread.figures` has it."""
    offset = spread[0]
    if depth >= spread[4]:  # checked on the way in
        depth, offset = depth % spread[4], spread[5]
    tip = spread[2] ** 2 if at_tip else 0.0
    return offset**2 + (depth * spread[1]) ** 2 + spread[3] ** 2 + tip  # type: ignore[no-any-return]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _margins(
    values: Array,
    starts: Array,
    ends: Array,
    spacing: float,
    radius: float,
    spread: Array,
    floor: float,
    outside: float,
    step: float,
    z: Array,
    least: Array,
    start: int,
    stop: int,
) -> None:
    for n in range(start, stop):
        dx, dy, dz = ends[n] - starts[n]
        length = np.sqrt(dx * dx + dy * dy + dz * dz) * spacing
        steps = max(1, int(np.ceil(length / step)))
        worst_z, worst = 1e9, 1e9
        for s in range(steps, -1, -1):
            t = s / steps
            value = _at(
                values,
                starts[n, 0] + t * dx,
                starts[n, 1] + t * dy,
                starts[n, 2] + t * dz,
                outside,
            )
            margin = value - radius
            worst = min(worst, margin)
            if margin < floor:
                worst_z = -1e9
                break
            worst_z = min(worst_z, margin / np.sqrt(_variance(t * length, s == steps, spread)))
        z[n] = worst_z
        least[n] = worst


def least_margins(
    field: Field, starts: Float, ends: Float, radius_mm: float, spread: Spread, floor_mm: float
) -> tuple[Float, Float]:
    """Walk (N, 3) starts to ends; return least margin over spread, and least margin (mm), (N,).

    Margin: field minus radius. Where it falls below floor_mm the walk stops: the first is -inf
    and the second the margin at the stop. The spread's depth counts at the end point only.
    """
    z, least = np.empty(len(starts)), np.empty(len(starts))
    in_parts(
        _margins,
        len(starts),
        field.values,
        np.ascontiguousarray(field.grid.to_ijk(starts)),
        np.ascontiguousarray(field.grid.to_ijk(ends)),
        field.step_mm,
        radius_mm,
        spread.figures,
        floor_mm,
        field.outside,
        field.step_mm,
        z,
        least,
        grain=WORTH_A_THREAD,
    )
    z[z <= -1e9] = -np.inf
    return z, least


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _exits(
    values: Array,
    starts: Array,
    directions: Array,
    reach: float,
    spacing: float,
    out: Array,
    start: int,
    stop: int,
) -> None:
    for n in range(start, stop):
        before = _at(values, starts[n, 0], starts[n, 1], starts[n, 2], 1.0)
        out[n] = 0.0 if before >= 0.0 else reach
        if before >= 0.0:
            continue
        t, wary = 0.0, False
        while t < reach:
            step = LEAST_STRIDE
            if not wary:
                step = max(step, STRIDE_SHARE * -before / spacing)
            now = _at(
                values,
                starts[n, 0] + (t + step) * directions[n, 0],
                starts[n, 1] + (t + step) * directions[n, 1],
                starts[n, 2] + (t + step) * directions[n, 2],
                1.0,
            )
            if now >= 0.0:
                if step > LEAST_STRIDE:  # the end is somewhere on this stride
                    wary = True
                    continue
                out[n] = t + step - step * now / (now - before)
                break
            t += step
            before = now


def exit_distances(field: Field, starts: Float, directions: Float, reach_mm: float) -> Float:
    """Distance (N,) along unit directions at which (N, 3) starts leave the field's inside (< 0).

    The field must be a signed distance: deep inside, strides are as long as it allows.
    0 for starts outside, reach_mm where the inside does not end; the grid's border is an end.
    """
    out = np.empty(len(starts))
    step = field.step_mm
    in_parts(
        _exits,
        len(starts),
        field.values,
        np.ascontiguousarray(field.grid.to_ijk(starts)),
        np.ascontiguousarray(directions @ field.grid.ijk_from_patient[:3, :3].T * step),
        reach_mm / step,
        field.step_mm,
        out,
        grain=WORTH_A_THREAD,
    )
    return np.asarray(out * step)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _lowest(
    values: Array,
    starts: Array,
    ends: Array,
    outside: float,
    step: float,
    out: Array,
    start: int,
    stop: int,
) -> None:
    for n in range(start, stop):
        delta = ends[n] - starts[n]
        low, high = 0.0, 1.0
        for a in range(3):
            if abs(delta[a]) < 1e-12:
                if starts[n, a] < 0 or starts[n, a] > values.shape[a] - 1:
                    high = -1.0
                continue
            t0 = -starts[n, a] / delta[a]
            t1 = (values.shape[a] - 1 - starts[n, a]) / delta[a]
            low, high = max(low, min(t0, t1)), min(high, max(t0, t1))
        out[n] = outside
        if high < low:
            continue
        length = np.sqrt((delta * delta).sum()) * (high - low)
        steps = max(1, int(np.ceil(length / step)))
        for s in range(steps + 1):
            t = low + s / steps * (high - low)
            value = _at(
                values,
                starts[n, 0] + t * delta[0],
                starts[n, 1] + t * delta[1],
                starts[n, 2] + t * delta[2],
                outside,
            )
            out[n] = min(out[n], value)


def path_minimum(field: Field, starts: Float, ends: Float, step: float = 1.0) -> Float:
    """Least value (N,) of a field over the segments from (N, 3) starts to ends, mm.

    step: between samples, in voxels. Parts off the grid do not count: a segment that never meets it
    gets the field's `outside`.
    """
    out = np.empty(len(starts))
    in_parts(
        _lowest,
        len(starts),
        field.values,
        np.ascontiguousarray(field.grid.to_ijk(starts)),
        np.ascontiguousarray(field.grid.to_ijk(ends)),
        field.outside,
        step,
        out,
        grain=WORTH_A_THREAD,
    )
    return out


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _settle(
    values: Array,
    starts: Array,
    ends: Array,
    threshold: float,
    spacing: float,
    most: float,
    outside: float,
    out: Array,
    start: int,
    stop: int,
) -> None:
    for n in range(start, stop):
        delta = ends[n] - starts[n]
        length = np.sqrt((delta * delta).sum())
        out[n] = 0.0
        above, stride, depth = threshold, 0.0, length
        while True:
            p = starts[n] + depth / max(length, 1e-12) * delta
            value = _at(values, p[0], p[1], p[2], outside)
            if value < threshold:
                if stride > LEAST_STRIDE:  # somewhere on this stride
                    depth += stride - LEAST_STRIDE
                    stride = LEAST_STRIDE
                    continue
                part = 0.0
                if stride > 0.0 and above > value:
                    part = stride * (threshold - value) / (above - value)
                out[n] = min(length, depth + part)
                break
            if not depth > 0.0:
                break
            above = value
            stride = LEAST_STRIDE
            if value < most:  # beyond its cap a field does not say how far
                stride = max(stride, STRIDE_SHARE * (value - threshold) / spacing)
            stride = min(depth, stride)
            depth -= stride


def settling_depths(field: Field, starts: Float, ends: Float, threshold_mm: float) -> Float:
    """Depth (N,) from the start beyond which the field stays at or above a threshold, mm.

    Below its largest value the field must be a distance: strides are as long as it allows.
    """
    out = np.empty(len(starts))
    in_parts(
        _settle,
        len(starts),
        field.values,
        np.ascontiguousarray(field.grid.to_ijk(starts)),
        np.ascontiguousarray(field.grid.to_ijk(ends)),
        threshold_mm,
        field.step_mm,
        field.most,
        field.outside,
        out,
        grain=WORTH_A_THREAD,
    )
    return np.asarray(out * field.step_mm)
