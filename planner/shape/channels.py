"""Sacral canal and foramina of the parametric sacrum, as swept sections.

A foramen is Y-shaped: a ventral limb that flares forwards and outwards, a narrower dorsal limb,
and a medial limb into the canal's lateral recess, which meet at the intervertebral junction.
Each limb is an elliptic tapered tube between two stations; distances are negative inside.
"""

import functools
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from . import tables
from .form import Doubles, Floats, bilinear, form_of
from .parameters import FORAMEN_LEVELS, SacrumParameters

Side: TypeAlias = Literal["left", "right"]
Station: TypeAlias = tuple[float, float, float]

SIDES: Final[tuple[Side, Side]] = ("left", "right")

# Stations of the foramina (level along the axis, dorsal offset v in mm), from the sections: ventral
# opening, junction, dorsal opening; S5 by extrapolation. Lateral offsets come from the spacings.
_VENTRAL: Final = ((1.0, -5.0), (2.05, -4.0), (3.0, 0.0), (3.95, 1.0), (4.75, -3.0))
_JUNCTION: Final = ((0.95, 5.5), (1.95, 5.0), (2.95, 5.0), (3.95, 6.0), (4.75, 2.0))
_DORSAL: Final = ((1.1, 17.0), (2.0, 14.0), (2.95, 10.0), (3.95, 11.0), (4.75, 7.0))
# Middle of the part that can be seen through: level, dorsal and lateral offset (sections).
_CENTRE: Final = ((1.0, 8.0, 21.5), (2.0, 8.0, 20.5), (3.0, 6.0, 19.0), (4.0, 5.0, 18.0))
# Half-axes of the junction, as shares of the mean of ventral and dorsal size.
_JUNCTION_SHARE: Final = 1.4
_FLARE: Final = 1.3  # widening of the ventral limb where it runs out of the bone
_VENTRAL_RUN_OUT_MM: Final = 5.0  # limbs are continued past the surface, so that they open
_DORSAL_RUN_OUT_MM: Final = 4.0
_CANAL_STATIONS: Final = (0.4, 1.4, 2.4, 3.4, 4.4)  # levels of canal_width_mm and canal_ap_mm
_CANAL_ABOVE_MM: Final = 25.0  # the canal is followed this far above the endplate


@dataclass(frozen=True)
class ForamenLandmark:
    """One foramen: points in the sacral frame, mm, and the ventral opening's width."""

    level: str
    side: Side
    centre: Doubles  # (3,) middle of the channel
    ventral: Doubles  # (3,) ventral opening
    dorsal: Doubles  # (3,) dorsal opening
    width: float


@dataclass(frozen=True, eq=False)
class Limb:
    """An elliptic tapered tube: ends (3,), unit directions (3,), half-axes (2,) at each end."""

    start: Doubles
    end: Doubles
    across: Doubles
    along: Doubles
    start_half: tuple[float, float]
    end_half: tuple[float, float]


def foramen_distance(
    points: npt.NDArray[np.floating], p: SacrumParameters, level: str, side: Side
) -> Floats:
    """Distance (N,) of sacral-frame points (N, 3) to one foramen channel; mm, negative inside."""
    if side not in SIDES or level not in p.levels:
        raise ValueError(f"no foramen {level} {side}; levels {p.levels}, sides {SIDES}")
    cloud = np.asarray(points, dtype=np.float32)
    limbs = foramen_limbs(p, level, side)
    return np.asarray(np.minimum.reduce([_limb_distance(cloud, limb) for limb in limbs]))


def canal_distance(points: npt.NDArray[np.floating], p: SacrumParameters) -> Floats:
    """Distance (N,) of sacral-frame points (N, 3) to the canal; mm, negative inside."""
    cloud = np.asarray(points, dtype=np.float32)
    arc, v = form_of(p).curved(cloud)
    return canal_distance_curved(cloud[:, 0], arc, v, p)


def canal_distance_curved(u: Floats, arc: Floats, v: Floats, p: SacrumParameters) -> Floats:
    """Distance (N,) to the canal from curved coordinates: an ellipse whose sides droop forwards."""
    table = _canal_table(p)
    row = np.asarray(arc + _CANAL_ABOVE_MM)
    found = bilinear(table, row, np.zeros_like(row))
    centre, half_width, half_ap, droop, roof = found.T
    across = u / half_width
    offset = v - centre + droop * np.minimum(across * across, 1.5)
    # Below the hiatus the canal has no roof: dorsal offsets count less and less.
    offset = np.where(offset > 0, offset * roof, offset) / half_ap
    radius = np.sqrt(across**2 + offset**2) + 1e-6
    # First-order distance to the ellipse, with the droop's shear in the gradient.
    shear = 2 * droop * across / half_width
    du = across / half_width + offset / half_ap * shear
    gradient = np.sqrt(du**2 + (offset / half_ap) ** 2) / radius + 1e-6
    section = (radius - 1) / gradient
    section = np.maximum(section, -np.minimum(half_width, half_ap))
    end = form_of(p).arc_of_level(4.95)
    caps = np.maximum(arc - np.float32(end), -_CANAL_ABOVE_MM - arc)
    return np.asarray(np.maximum(section, caps), dtype=np.float32)


@functools.lru_cache(maxsize=16)
def _canal_table(p: SacrumParameters) -> Floats:
    """Canal centre, half width, half AP, droop and roof factor per mm of arc, (L, 2, 5)."""
    form = form_of(p)
    arc = np.arange(-_CANAL_ABOVE_MM, form.knots_l[5] + 30.0)
    level = np.interp(arc, form.knots_l, np.arange(6.0))
    centre = np.interp(level, tables.CANAL_LEVELS, tables.CANAL_CENTRE_MM) * p.ap_scale
    droop = np.interp(level, tables.CANAL_LEVELS, tables.CANAL_DROOP_MM)
    width = np.interp(level, _CANAL_STATIONS, p.canal_width_mm) / 2
    ap = np.interp(level, _CANAL_STATIONS, p.canal_ap_mm) / 2
    # Towards the hiatus the roof factor falls from 1 to 0 within a fifth of a level.
    roof = 1 - np.clip((level - p.hiatus_level) / 0.2, 0.0, 1.0)
    row = np.stack([centre, width, ap, droop, roof], axis=1)
    return np.repeat(row[:, None], 2, axis=1).astype(np.float32)


def canal_centreline(p: SacrumParameters) -> Doubles:
    """Points (M, 3) along the canal's middle, every 2 mm from above S1 to the hiatus."""
    form = form_of(p)
    arc = np.arange(-10.0, float(form.arc_of_level(p.hiatus_level)), 2.0)
    centre = _canal_table(p)[:, 0, 0]
    v = np.interp(arc, np.arange(len(centre)) - _CANAL_ABOVE_MM, centre)
    return form.point(arc, np.zeros_like(arc), v)


def foramen_landmarks(p: SacrumParameters) -> list[ForamenLandmark]:
    """Landmarks of every foramen, left before right, S1 first."""
    found = []
    for side in SIDES:
        for level in p.levels:
            ventral, junction, dorsal = _stations(p, level, side)
            width = p.ventral_width_mm[FORAMEN_LEVELS.index(level)]
            centre = _see_through_centre(p, level, side) if level != "S5" else junction
            found.append(ForamenLandmark(level, side, centre, ventral, dorsal, width))
    return found


def _stations(p: SacrumParameters, level: str, side: Side) -> tuple[Doubles, Doubles, Doubles]:
    """Ventral opening, junction and dorsal opening of a foramen, sacral frame, mm."""
    i = FORAMEN_LEVELS.index(level)
    front, back = p.ventral_spacing_mm[i] / 2, p.dorsal_spacing_mm[i] / 2
    a = _place(p, side, (*_VENTRAL[i], front))
    b = _place(p, side, (*_JUNCTION[i], (front + back) / 2))
    c = _place(p, side, (*_DORSAL[i], back))
    return a, b, c


def _see_through_centre(p: SacrumParameters, level: str, side: Side) -> Doubles:
    """Middle of the see-through part of a foramen, following the spacings given."""
    i = FORAMEN_LEVELS.index(level)
    mean = SacrumParameters()
    spacing = (p.ventral_spacing_mm[i] + p.dorsal_spacing_mm[i]) / (
        mean.ventral_spacing_mm[i] + mean.dorsal_spacing_mm[i]
    )
    at, dorsal, lateral = _CENTRE[i]
    return _place(p, side, (at, dorsal, lateral * spacing))


def _place(p: SacrumParameters, side: Side, station: Station) -> Doubles:
    """Sacral-frame point (3,) of a station (level, dorsal, lateral offset) on one side."""
    form = form_of(p)
    sign = 1.0 if side == "left" else -1.0
    lateral, dorsal, caudal = (
        p.left_foramen_shift_mm if side == "left" else p.right_foramen_shift_mm
    )
    scale = p.left_width_scale if side == "left" else p.right_width_scale
    arc = form.arc_of_level(station[0]) + caudal
    u = sign * (station[2] * scale + lateral)
    return np.asarray(form.point(arc, u, station[1] * p.ap_scale + dorsal)[0])


@functools.lru_cache(maxsize=256)
def foramen_limbs(p: SacrumParameters, level: str, side: Side) -> tuple[Limb, ...]:
    """Ventral, dorsal and medial limb of one foramen."""
    ventral, junction, dorsal = _stations(p, level, side)
    i = FORAMEN_LEVELS.index(level)
    front = (p.ventral_width_mm[i] / 2, p.ventral_height_mm[i] / 2)
    back = (p.dorsal_width_mm[i] / 2, p.dorsal_height_mm[i] / 2)
    middle = (
        _JUNCTION_SHARE * (front[0] + back[0]) / 2,
        _JUNCTION_SHARE * (front[1] + back[1]) / 2,
    )
    out = (ventral - junction) / np.linalg.norm(ventral - junction)
    mouth = ventral + out * _VENTRAL_RUN_OUT_MM
    flared = (front[0] * _FLARE, front[1] * _FLARE)
    back_out = (dorsal - junction) / np.linalg.norm(dorsal - junction)
    return (
        limb(junction, ventral, middle, front),
        limb(ventral, mouth, front, flared),
        limb(junction, dorsal + back_out * _DORSAL_RUN_OUT_MM, middle, back),
        _medial_limb(p, junction, middle),
    )


def _medial_limb(p: SacrumParameters, junction: Doubles, middle: tuple[float, float]) -> Limb:
    """Tube from the junction to the canal's lateral recess at the same axis level."""
    form = form_of(p)
    arc, _ = form.curved(junction[None].astype(np.float32))
    row = bilinear(_canal_table(p), arc + _CANAL_ABOVE_MM, np.zeros_like(arc))[0]
    centre, half_width, half_ap, droop = (float(x) for x in row[:4])
    inward = np.sign(junction[0]) * half_width * 0.7
    recess = form.point(arc, inward, centre - droop * 0.5)[0]
    return limb(junction, recess, (middle[1] * 0.8, middle[1] * 0.9), (half_ap, middle[1] * 0.8))


def limb(
    start: Doubles, end: Doubles, start_half: tuple[float, float], end_half: tuple[float, float]
) -> Limb:
    """Build a tube; its first half-axis is the one nearest the lateral direction."""
    direction = (end - start) / np.linalg.norm(end - start)
    helper = np.array([1.0, 0.0, 0.0])
    if abs(direction[0]) > 0.8:
        helper = np.array([0.0, 1.0, 0.0])
    across = helper - direction * (helper @ direction)
    across /= np.linalg.norm(across)
    return Limb(start, end, across, np.cross(direction, across), start_half, end_half)


def _limb_distance(cloud: Floats, tube: Limb) -> Floats:
    """First-order distance (N,) to an elliptic tapered tube with rounded ends; mm."""
    axis = tube.end - tube.start
    length = float(np.linalg.norm(axis))
    w = cloud - tube.start.astype(np.float32)
    basis = np.stack([axis / length, tube.across, tube.along], axis=1).astype(np.float32)
    w = w @ basis
    t = np.clip(w[:, 0] / length, 0.0, 1.0)
    a = tube.start_half[0] + t * (tube.end_half[0] - tube.start_half[0])
    b = tube.start_half[1] + t * (tube.end_half[1] - tube.start_half[1])
    over = w[:, 0] - t * length
    c = np.minimum(a, b)
    x, y, z = w[:, 1] / a, w[:, 2] / b, over / c
    radius = np.sqrt(x * x + y * y + z * z) + 1e-6
    gradient = np.sqrt((x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2) / radius + 1e-6
    return np.asarray(np.maximum((radius - 1) / gradient, -c), dtype=np.float32)


def nearest_channel(cloud: Floats, p: SacrumParameters) -> Floats:
    """Smallest foramen distance (N,) over all foramina; mm."""
    best = np.full(len(cloud), np.float32(1e3))
    for side in SIDES:
        # A channel never reaches the other half: spare its points.
        near = cloud[:, 0] > -2 if side == "left" else cloud[:, 0] < 2
        half = cloud[near]
        found = best[near]
        for level in p.levels:
            for tube in foramen_limbs(p, level, side):
                np.minimum(found, _limb_distance(half, tube), out=found)
        best[near] = found
    return best
