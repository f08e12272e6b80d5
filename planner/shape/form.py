"""The lookup form of one parametric sacrum: its curved axis and its section heights on fine grids.

`SacrumForm` turns `SacrumParameters` into small float32 tables once, so that a million points can
be placed along the curved axis and compared with the section heights by plain indexing.

Curved coordinates of a point: l, arc length in mm from the S1 endplate along the sacral axis; u,
lateral offset (patient left positive); v, dorsal offset from the axis, both in mm.
"""

import functools
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline, PchipInterpolator, RectBivariateSpline
from scipy.spatial import cKDTree

from . import tables
from .parameters import MEAN_AXIAL_DEG, MEAN_CORONAL_DEG, MEAN_WIDTH_MM, SacrumParameters

Floats: TypeAlias = npt.NDArray[np.float32]
Doubles: TypeAlias = npt.NDArray[np.float64]

_AXIS_STEP_MM = 0.25
_ABOVE_MM = 70.0  # straight continuation of the axis above the endplate
_BELOW_MM = 90.0  # and below the end of S5
_PLANE_Y_MM = np.arange(-100.0, 121.0)  # sagittal lookup of the curved coordinates, 1 mm
_PLANE_Z_MM = np.arange(-200.0, 71.0)
_LATERAL_MM = np.arange(0.0, 91.0)  # |u| of the section tables
_MEAN_BODY_WIDTH_MM = 47.0
_MEAN_BODY_AP_MM = 32.0
_ALA_START_MM = 24.0  # lateral offset where the ala leaves the S1 body


@dataclass(frozen=True, eq=False)
class SacrumForm:
    """Fine tables of one sacrum; build with `form_of`."""

    axis_l: Doubles  # (M,) arc length, mm
    axis_yz: Doubles  # (M, 2) sagittal axis, sacral frame, mm
    axis_angle: Doubles  # (M,) turning of the axis, radians
    knots_l: Doubles  # (6,) arc length of levels 0..5
    end_l: float  # arc length of the caudal end
    plane: Floats  # (Y, Z, 2): l and v over the sagittal plane
    sections_l0: float  # arc length of the first section row
    sections: Floats  # (L, U, 6): ventral, dorsal, half width, and the slope length of each
    top: Floats  # (X, Y, 2): cranial height z and its slope length

    def arc_of_level(self, level: npt.ArrayLike) -> Doubles:
        """Arc length in mm of positions given in levels; straight beyond both ends."""
        levels = np.asarray(level, dtype=np.float64)
        k = self.knots_l
        inner = np.interp(levels, np.arange(6.0), k)
        inner = np.where(levels > 5, k[5] + (levels - 5) * (k[5] - k[4]), inner)
        return np.asarray(np.where(levels < 0, levels * k[1], inner))

    def point(self, arc: npt.ArrayLike, u: npt.ArrayLike, v: npt.ArrayLike) -> Doubles:
        """Sacral-frame points (N, 3) of curved coordinates."""
        arc, u, v = np.broadcast_arrays(*(np.atleast_1d(np.asarray(a, float)) for a in (arc, u, v)))
        angle = np.interp(arc, self.axis_l, self.axis_angle)
        y = np.interp(arc, self.axis_l, self.axis_yz[:, 0]) + v * np.cos(angle)
        z = np.interp(arc, self.axis_l, self.axis_yz[:, 1]) + v * np.sin(angle)
        return np.stack([u, y, z], axis=1)

    def curved(self, points: Floats) -> tuple[Floats, Floats]:
        """Arc length l and dorsal offset v (N,) of sacral-frame points (N, 3)."""
        found = bilinear(self.plane, points[:, 1] - _PLANE_Y_MM[0], points[:, 2] - _PLANE_Z_MM[0])
        return found[:, 0], found[:, 1]


def bilinear(table: Floats, row: Floats, column: Floats) -> Floats:
    """Interpolate (R, C, K) at fractional indices (N,), clamped to the table; returns (N, K)."""
    rows, columns = table.shape[:2]
    row = np.clip(row, 0, rows - 1.001).astype(np.float32)
    column = np.clip(column, 0, columns - 1.001).astype(np.float32)
    i, j = row.astype(np.int32), column.astype(np.int32)
    fi, fj = (row - i)[:, None], (column - j)[:, None]
    flat = table.reshape(rows * columns, -1)
    k = i * columns + j
    upper = flat[k] * (1 - fj) + flat[k + 1] * fj
    lower = flat[k + columns] * (1 - fj) + flat[k + columns + 1] * fj
    return np.asarray(upper * (1 - fi) + lower * fi, dtype=np.float32)


@functools.lru_cache(maxsize=16)
def form_of(p: SacrumParameters) -> SacrumForm:
    """Build (or recall) the lookup tables of a sacrum."""
    knots = np.concatenate([[0.0], np.cumsum(p.segment_heights_mm)])
    arc, yz, angle = _axis(p, knots)
    section_l = np.arange(0.0, knots[5] + 40.0)
    levels = np.interp(section_l, knots, np.arange(6.0))
    levels += np.maximum(section_l - knots[5], 0) / (knots[5] - knots[4])
    turning = np.gradient(np.interp(section_l, arc, angle), section_l)
    return SacrumForm(
        axis_l=arc,
        axis_yz=yz,
        axis_angle=angle,
        knots_l=knots,
        end_l=float(knots[5] + p.tail_mm),
        plane=_plane(arc, yz, angle),
        sections_l0=float(section_l[0]),
        sections=_sections(p, levels, turning),
        top=_top(p),
    )


def _axis(p: SacrumParameters, knots: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Integrate the axis in the sagittal plane from its turning; starts at the endplate centre."""
    degrees = np.asarray(tables.AXIS_ANGLE_DEG) * p.curvature_scale
    degrees[1:] += p.pitch_deg
    # The endplate's own normal is the axis' start: level 0 keeps angle 0 whatever the pitch.
    arc = np.arange(-_ABOVE_MM, knots[5] + _BELOW_MM, _AXIS_STEP_MM)
    angle = np.radians(PchipInterpolator(knots, degrees)(np.clip(arc, 0.0, knots[5])))
    step = np.stack([np.sin(angle), -np.cos(angle)], axis=1) * _AXIS_STEP_MM
    yz = np.cumsum((step + np.roll(step, 1, axis=0)) / 2, axis=0)
    origin = np.array([np.interp(0.0, arc, yz[:, 0]), np.interp(0.0, arc, yz[:, 1])])
    return arc, yz - origin, angle


def _plane(arc: Doubles, yz: Doubles, angle: Doubles) -> Floats:
    """Curved coordinates of every millimetre of the sagittal plane: nearest axis point, refined."""
    y, z = np.meshgrid(_PLANE_Y_MM, _PLANE_Z_MM, indexing="ij")
    query = np.stack([y.ravel(), z.ravel()], axis=1)
    nearest = cKDTree(yz).query(query)[1]
    away = query - yz[nearest]
    a = angle[nearest]
    along = away[:, 0] * np.sin(a) - away[:, 1] * np.cos(a)
    dorsal = away[:, 0] * np.cos(a) + away[:, 1] * np.sin(a)
    found = np.stack([arc[nearest] + along, dorsal], axis=1)
    return found.reshape(*y.shape, 2).astype(np.float32)


def _over_levels(rows: tables.Table, levels: Doubles) -> Doubles:
    """Interpolate table rows at axis levels (clamped); returns (L, columns)."""
    inside = np.clip(levels, tables.SECTION_LEVELS[0], tables.SECTION_LEVELS[-1])
    return np.asarray(PchipInterpolator(tables.SECTION_LEVELS, np.asarray(rows))(inside))


def _sections(p: SacrumParameters, levels: Doubles, turning: Doubles) -> Floats:
    """Section heights, half widths and slope lengths over arc length and |u| at 1 mm."""
    half = _over_levels(tuple((w,) for w in tables.HALF_WIDTH_MM), levels)[:, 0]
    if p.foramen_pairs == 5:  # S5 is walled in by bone lateral to its foramina
        half = half + 6.0 * np.exp(-(((levels - 4.85) / 0.3) ** 2))
    half = half * (p.width_mm / MEAN_WIDTH_MM)
    fraction = np.minimum(_LATERAL_MM[None, :] / half[:, None], 1.0)
    ventral = _heights(tables.VENTRAL_HEIGHT_MM, levels, fraction)
    dorsal = _heights(tables.DORSAL_HEIGHT_MM, levels, fraction)
    u, level = _LATERAL_MM[None, :], levels[:, None]
    crest = np.exp(-((u / 5.0) ** 2)) * np.clip((level - 0.7) / 0.2, 0, 1)
    dorsal = dorsal * p.ap_scale + p.crest_height_mm * crest * np.clip((4.2 - level) / 0.5, 0, 1)
    body = np.exp(-((u / 26.0) ** 4)) * np.clip(1.6 - level, 0, 1)
    body_ap = p.body_ap_mm / _MEAN_BODY_AP_MM
    ventral = ventral * p.ap_scale * (1 + (body_ap - 1) * 1.6 * body)
    lean = np.tan(np.radians(p.ala_axial_deg - MEAN_AXIAL_DEG)) * np.clip(1.8 - level, 0, 1)
    shift = lean * np.maximum(np.minimum(u, half[:, None]) - _ALA_START_MM, 0.0)
    # Kaiser's axial angle: the corridor runs forward on its way to the midline.
    ventral, dorsal = ventral + shift, dorsal + shift
    width = np.broadcast_to(half[:, None], ventral.shape)
    layers = [ventral, dorsal, width]
    for height in (ventral, dorsal):
        along, across = np.gradient(height)
        along = along / np.clip(1 - turning[:, None] * height, 0.4, 2.5)
        layers.append(np.sqrt(1 + along**2 + across**2))
    layers.append(np.sqrt(1 + np.gradient(width, axis=0) ** 2))
    return np.stack(layers, axis=-1).astype(np.float32)


def _heights(rows: tables.Table, levels: Doubles, fraction: Doubles) -> Doubles:
    """Section height (L, U) at fractions of the half width: cubic across, monotone along."""
    coarse = _over_levels(rows, levels)
    grid = np.linspace(0.0, 1.0, 129)
    # Level across the midplane, free at the lateral edge.
    fine = CubicSpline(tables.WIDTH_FRACTIONS, coarse, axis=1, bc_type=("clamped", "natural"))(grid)
    row = np.arange(len(coarse))[:, None]
    index = fraction * 128
    k = np.minimum(index.astype(int), 127)
    return np.asarray(fine[row, k] * (1 - (index - k)) + fine[row, k + 1] * (index - k))


def _top(p: SacrumParameters) -> Floats:
    """Cranial height over |x| and y at 1 mm, with its slope length."""
    y = np.arange(-40.0, 61.0)
    scale = p.width_mm / MEAN_WIDTH_MM
    spline = RectBivariateSpline(
        tables.TOP_DORSAL_MM, tables.TOP_LATERAL_MM, np.asarray(tables.TOP_HEIGHT_MM), kx=2, ky=2
    )
    body = p.body_width_mm / _MEAN_BODY_WIDTH_MM
    warp = 1 + (body / scale - 1) * np.exp(-((_LATERAL_MM / (30.0 * scale)) ** 4))
    lateral = np.clip(_LATERAL_MM / (scale * warp), 0, tables.TOP_LATERAL_MM[-1])
    dorsal = np.clip(y / p.ap_scale, tables.TOP_DORSAL_MM[0], tables.TOP_DORSAL_MM[-1])
    z = spline(dorsal, lateral).T
    x = _LATERAL_MM[:, None]
    # The steeper the ala, the lower its lateral end: its corridor climbs towards the midline.
    fall = np.tan(np.radians(p.ala_coronal_deg - MEAN_CORONAL_DEG))
    z = z - fall * np.clip(x - _ALA_START_MM * scale, 0.0, 30.0)

    def bump(cx: float, cy: float, rx: float, ry: float) -> Doubles:
        return np.asarray(np.exp(-(((x - cx * scale) / rx) ** 2) - ((y - cy) / ry) ** 2))

    z = z + p.articular_process_height_mm * bump(23.0, 24.0, 6.0, 6.0)
    z = z + p.mammillary_height_mm * bump(37.0, 12.0, 7.0, 8.0)
    slope = np.sqrt(1 + np.square(np.gradient(z, axis=0)) + np.square(np.gradient(z, axis=1)))
    return np.stack([z, slope], axis=-1).astype(np.float32)


TOP_Y0_MM = -40.0  # y of the first column of SacrumForm.top
