"""Arrays on an affine lattice, and fast trilinear samples of them on another lattice.

The lattices here may be sheared (a tilted stack is), so they are bare affines and not Grids. Names
read target from source: `field_ijk_from_sacrum` takes points of the sacral frame, mm, to indices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from planner.geometry.distance import distance_to
from planner.geometry.grid import Float

Floats = NDArray[np.float32]
# Noise is tabulated so that this many points make one sigma of its correlation.
_POINTS_PER_SIGMA = 1.25

_TABLE_COARSE = 3.0
_TABLE_SLOPE = 1.2

Distance = Callable[[Float], Floats]
"""Signed distance (N,) in mm, negative inside, of points (N, 3)."""


@dataclass(frozen=True, eq=False)
class Field:
    """A scalar field on a lattice.

    values: (I, J, K) float32. field_ijk_from_space: (4, 4), points of the field's own space, mm, to
    indices. outside: the value off the lattice.
    """

    values: Floats
    field_ijk_from_space: Float
    outside: float

    def on(self, space_from_ijk: Float, shape: tuple[int, int, int]) -> Floats:
        """Interpolate on the lattice of an affine (4, 4), index to space, and a shape."""
        field_ijk_from_ijk = self.field_ijk_from_space @ space_from_ijk
        out = np.full(shape, self.outside, np.float32)
        # Only the box of the lattice that the field's own box meets needs a look.
        bits = np.array([[(c >> a) & 1 for a in range(3)] for c in range(8)])
        corners = lattice_points(
            inverse(field_ijk_from_ijk), bits * (np.array(self.values.shape) - 1)
        )
        start = np.clip(np.floor(corners.min(axis=0)), 0, shape).astype(int)
        stop = np.clip(np.ceil(corners.max(axis=0)) + 1, 0, shape).astype(int)
        if (stop > start).all():
            part = out[start[0] : stop[0], start[1] : stop[1], start[2] : stop[2]]
            moved = field_ijk_from_ijk.copy()
            moved[:3, 3] = lattice_points(field_ijk_from_ijk, start)
            _sample_lattice(self.values, moved, np.float32(self.outside), part)
        return out


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _sample_lattice(values: Any, affine: Any, outside: Any, out: Any) -> None:
    ni, nj, nk = values.shape
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            for k in range(out.shape[2]):
                x = affine[0, 0] * i + affine[0, 1] * j + affine[0, 2] * k + affine[0, 3]
                y = affine[1, 0] * i + affine[1, 1] * j + affine[1, 2] * k + affine[1, 3]
                z = affine[2, 0] * i + affine[2, 1] * j + affine[2, 2] * k + affine[2, 3]
                if not (0 <= x <= ni - 1 and 0 <= y <= nj - 1 and 0 <= z <= nk - 1):
                    out[i, j, k] = outside
                    continue
                a, b, c = min(int(x), ni - 2), min(int(y), nj - 2), min(int(z), nk - 2)
                fx, fy, fz = np.float32(x - a), np.float32(y - b), np.float32(z - c)
                near = values[a, b, c] + fz * (values[a, b, c + 1] - values[a, b, c])
                up = values[a, b + 1, c]
                near += fy * (up + fz * (values[a, b + 1, c + 1] - up) - near)
                far = values[a + 1, b, c] + fz * (values[a + 1, b, c + 1] - values[a + 1, b, c])
                up = values[a + 1, b + 1, c]
                far += fy * (up + fz * (values[a + 1, b + 1, c + 1] - up) - far)
                out[i, j, k] = near + fx * (far - near)


def inverse(affine: Float) -> Float:
    """(4, 4) inverse of an affine."""
    return np.asarray(np.linalg.inv(affine), np.float64)


def box_affine(low: Float, step_mm: float) -> Float:
    """(4, 4) index to space of an axis-aligned isotropic lattice that starts at low (3,)."""
    affine = np.eye(4)
    affine[:3, :3] *= step_mm
    affine[:3, 3] = low
    return affine


def box_shape(low: Float, high: Float, step_mm: float) -> tuple[int, int, int]:
    """Points of a lattice over [low, high], at least two per axis."""
    i, j, k = np.maximum(np.ceil((high - low) / step_mm).astype(int) + 1, 2)
    return int(i), int(j), int(k)


def lattice_points(space_from_ijk: Float, ijk: NDArray[Any]) -> Float:
    """Map (N, 3) indices to points of the space, mm."""
    return np.asarray(ijk @ space_from_ijk[:3, :3].T + space_from_ijk[:3, 3])


def evaluate(distance: Distance, space_from_ijk: Float, shape: tuple[int, int, int]) -> Floats:
    """Evaluate a distance at every point of a lattice."""
    out = np.empty(shape, np.float32)
    rest = np.stack(np.meshgrid(np.arange(shape[1]), np.arange(shape[2]), indexing="ij"), -1)
    ijk = np.empty((shape[1] * shape[2], 3))
    ijk[:, 1:] = rest.reshape(-1, 2)
    for i in range(shape[0]):
        ijk[:, 0] = i
        out[i] = distance(lattice_points(space_from_ijk, ijk)).reshape(shape[1:])
    return out


def refine(
    values: Floats, distance: Distance, space_from_ijk: Float, band_mm: float, chunk: int = 1 << 17
) -> None:
    """Replace, in place, every value within band_mm of 0 by the exact distance."""
    where = np.flatnonzero(np.abs(values) < band_mm)
    flat = values.reshape(-1)
    for start in range(0, len(where), chunk):
        part = where[start : start + chunk]
        ijk = np.stack(np.unravel_index(part, values.shape), -1)
        flat[part] = distance(lattice_points(space_from_ijk, ijk))


def sampled_field(
    distance: Distance, low: Float, high: Float, step_mm: float, outside: float
) -> Field:
    """Tabulate a signed distance over the box [low, high] (3,) of its space.

    The whole box is evaluated at a multiple of the step and interpolated; what lies near the
    surface is evaluated anew at the full resolution. The band covers the interpolation's error of
    any function whose slope stays below _TABLE_SLOPE: half the diagonal of a coarse cell times it.
    """
    coarse_step = _TABLE_COARSE * step_mm
    coarse_affine = box_affine(low, coarse_step)
    coarse = evaluate(distance, coarse_affine, box_shape(low, high, coarse_step))
    affine, shape = box_affine(low, step_mm), box_shape(low, high, step_mm)
    values = Field(coarse, inverse(coarse_affine), outside).on(affine, shape)
    refine(values, distance, affine, _TABLE_SLOPE * coarse_step * np.sqrt(3.0) / 2.0)
    return Field(values, inverse(affine), outside)


def deepened(field: Field, step_mm: float) -> Field:
    """Correct a tabulated signed distance that is too shallow deep inside.

    A first-order distance may stay near 0 over a wide region of a structure's inside. No point can
    be less deep than its distance to the nearest outer point of the lattice, less one step.
    """
    inner = distance_to(field.values >= 0, np.full(3, step_mm))
    values = np.where(field.values < 0, np.minimum(field.values, step_mm - inner), field.values)
    return Field(values.astype(np.float32), field.field_ijk_from_space, field.outside)


@dataclass(frozen=True, eq=False)
class Noise:
    """Smooth noise of mean 0 and standard deviation 1 that repeats after a cube of space.

    tile: (N, N, N) float32. step_mm: distance of its points.
    """

    tile: Floats
    step_mm: float

    @classmethod
    def draw(cls, rng: np.random.Generator, correlation_mm: float, size: int = 64) -> Noise:
        """Draw noise; correlation_mm is the sigma of the Gaussian that shapes it.

        Raises ValueError when size, the points along the tile's edge, is not a power of two.
        """
        if size < 2 or size & (size - 1):
            raise ValueError(f"size of a noise tile is {size}, must be a power of two")
        white = rng.standard_normal((size,) * 3, dtype=np.float32)
        smooth = ndimage.gaussian_filter(white, _POINTS_PER_SIGMA, mode="wrap")
        tile = (smooth - smooth.mean()) / smooth.std()
        return cls(tile, correlation_mm / _POINTS_PER_SIGMA)

    def on(self, space_from_ijk: Float, shape: tuple[int, int, int]) -> Floats:
        """Interpolate on the lattice of an affine (4, 4), index to space, and a shape."""
        out = np.empty(shape, np.float32)
        tile_from_space = np.diag([1.0 / self.step_mm] * 3 + [1.0])
        _sample_tile(self.tile, tile_from_space @ space_from_ijk, out)
        return out


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _sample_tile(tile: Any, affine: Any, out: Any) -> None:
    last = tile.shape[0] - 1  # the size is a power of two: masking wraps
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            for k in range(out.shape[2]):
                x = affine[0, 0] * i + affine[0, 1] * j + affine[0, 2] * k + affine[0, 3]
                y = affine[1, 0] * i + affine[1, 1] * j + affine[1, 2] * k + affine[1, 3]
                z = affine[2, 0] * i + affine[2, 1] * j + affine[2, 2] * k + affine[2, 3]
                a, b, c = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
                fx, fy, fz = np.float32(x - a), np.float32(y - b), np.float32(z - c)
                a, b, c = a & last, b & last, c & last
                a1, b1, c1 = (a + 1) & last, (b + 1) & last, (c + 1) & last
                p = tile[a, b, c] + fz * (tile[a, b, c1] - tile[a, b, c])
                q = tile[a, b1, c] + fz * (tile[a, b1, c1] - tile[a, b1, c])
                r = tile[a1, b, c] + fz * (tile[a1, b, c1] - tile[a1, b, c])
                s = tile[a1, b1, c] + fz * (tile[a1, b1, c1] - tile[a1, b1, c])
                p += fy * (q - p)
                r += fy * (s - r)
                out[i, j, k] = p + fx * (r - p)
