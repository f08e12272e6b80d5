"""Signed distances of the parametric sacrum.

Every function takes points (N, 3) in the sacral frame (mm; origin: centre of the S1 superior
endplate; x patient left, y dorsal, z along the endplate normal) and returns (N,) float32 mm,
negative inside. Distances are first-order: true near the surface, a bound far away.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from .channels import (
    ForamenLandmark,
    canal_centreline,
    canal_distance,
    canal_distance_curved,
    foramen_distance,
    foramen_landmarks,
    nearest_channel,
)
from .form import TOP_Y0_MM, Doubles, Floats, SacrumForm, bilinear, form_of
from .parameters import SacrumParameters

__all__ = [
    "ForamenLandmark",
    "canal_centreline",
    "canal_distance",
    "foramen_distance",
    "foramen_landmarks",
    "sacral_axis",
    "sacrum_distance",
    "sacrum_hull_distance",
]

Points: TypeAlias = npt.NDArray[np.floating]

_EDGE_MM = 1.5  # rounding of the edges between the faces of the hull
_CHUNK = 65536  # points at a time, so that intermediates stay in the cache
_CHANNEL_REACH_MM = 7.0  # channels are continued this far out of the hull
_DISC_LEVEL = 1.42  # the former S1/S2 disc, between S1 body and S2 body
_DISC_HALF_MM = (17.0, 9.0)  # lateral and AP half-axes of a residual disc (assumed)


def sacrum_hull_distance(points: Points, p: SacrumParameters) -> Floats:
    """Distance to the closed envelope: bone with the contents of its canal and foramina."""
    return _in_chunks(points, lambda cloud: _hull(cloud, form_of(p), p)[0])


def sacrum_distance(points: Points, p: SacrumParameters) -> Floats:
    """Distance to the bone: the hull without canal, foramina and residual disc."""
    return _in_chunks(points, lambda cloud: _bone(cloud, form_of(p), p))


def sacral_axis(p: SacrumParameters) -> Doubles:
    """Points (M, 3) along the vertebral-body centres, every millimetre from endplate to S5."""
    form = form_of(p)
    arc = np.arange(0.0, form.knots_l[5], 1.0)
    return form.point(arc, np.zeros_like(arc), np.zeros_like(arc))


def _in_chunks(points: Points, kernel: Callable[[Floats], Floats]) -> Floats:
    cloud = np.asarray(points, dtype=np.float32)
    if cloud.ndim != 2 or cloud.shape[1] != 3:
        raise ValueError(f"points have shape {cloud.shape}, needs (N, 3)")
    out = np.empty(len(cloud), dtype=np.float32)
    for start in range(0, len(cloud), _CHUNK):
        out[start : start + _CHUNK] = kernel(cloud[start : start + _CHUNK])
    return out


def _bone(cloud: Floats, form: SacrumForm, p: SacrumParameters) -> Floats:
    """Distance to the bone for one chunk of points."""
    hull, arc, v = _hull(cloud, form, p)
    near = hull < _CHANNEL_REACH_MM
    inner, arc, v = cloud[near], arc[near], v[near]
    cavity = np.minimum(canal_distance_curved(inner[:, 0], arc, v, p), nearest_channel(inner, p))
    if p.residual_disc_mm > 0:
        cavity = np.minimum(cavity, _disc(inner[:, 0], arc, v, form, p))
    hull[near] = np.maximum(hull[near], -cavity)
    return hull


def _hull(cloud: Floats, form: SacrumForm, p: SacrumParameters) -> tuple[Floats, Floats, Floats]:
    """Hull distance, arc length and dorsal offset of one chunk of points."""
    side = np.where(cloud[:, 0] >= 0, p.left_width_scale, p.right_width_scale)
    u = (np.abs(cloud[:, 0]) / side).astype(np.float32)
    arc, v = form.curved(cloud)
    found = bilinear(form.sections, arc - np.float32(form.sections_l0), u)
    ventral, dorsal, half, ventral_slope, dorsal_slope, half_slope = found.T
    top, top_slope = bilinear(form.top, u, cloud[:, 1] - np.float32(TOP_Y0_MM)).T
    faces = (
        (ventral - v) / ventral_slope,
        (u - half) * side.astype(np.float32) / half_slope,
        (cloud[:, 2] - top) / top_slope,
        arc - np.float32(form.end_l),
    )
    distance = (v - dorsal) / dorsal_slope
    for face in faces:
        distance = _smooth_max(distance, face)
    return np.asarray(distance), arc, v


def _smooth_max(a: Floats, b: Floats) -> Floats:
    """Maximum with a rounded edge of about `_EDGE_MM`."""
    blend = np.maximum(_EDGE_MM - np.abs(a - b), 0.0)
    return np.asarray(np.maximum(a, b) + blend * blend / (4 * _EDGE_MM), dtype=np.float32)


def _disc(u: Floats, arc: Floats, v: Floats, form: SacrumForm, p: SacrumParameters) -> Floats:
    """Distance to a residual S1/S2 disc, a flat ellipsoid inside the bodies."""
    at = np.float32(form.arc_of_level(_DISC_LEVEL))
    half = np.array([_DISC_HALF_MM[0], _DISC_HALF_MM[1] * p.ap_scale, p.residual_disc_mm / 2])
    scaled = np.stack([u, v - np.float32(1.0), arc - at], axis=1) / half.astype(np.float32)
    radius = np.sqrt(np.sum(scaled**2, axis=1)) + 1e-6
    gradient = np.sqrt(np.sum((scaled / half) ** 2, axis=1)) / radius + 1e-6
    return np.asarray((radius - 1) / gradient, dtype=np.float32)
