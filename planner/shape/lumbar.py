"""The L5 vertebra over the parametric sacrum: schematic, sacral frame, mm."""

from typing import Final

import numpy as np
import numpy.typing as npt

from .form import Floats
from .parameters import MEAN_WIDTH_MM, SacrumParameters
from .pelvis import PelvisParameters
from .sacrum import sacrum_hull_distance
from .solids import Point, capsule, smooth_min

# Schematic posterior elements in the frame of the L5 lower endplate (x left, y dorsal, z up), left
# side: (start, end, start radius, end radius). Textbook proportions, not measured.
_ELEMENTS: Final[tuple[tuple[Point, Point, float, float], ...]] = (
    ((14.0, 12.0, 18.0), (19.0, 24.0, 16.0), 7.0, 6.5),  # pedicle
    ((19.0, 24.0, 16.0), (20.0, 27.0, 1.0), 6.0, 5.0),  # isthmus and inferior articular process
    ((19.0, 24.0, 16.0), (21.0, 26.0, 28.0), 6.0, 5.0),  # superior articular process
    ((19.0, 26.0, 13.0), (3.0, 40.0, 8.0), 4.5, 4.0),  # lamina
    ((18.0, 18.0, 19.0), (46.0, 20.0, 24.0), 7.0, 4.5),  # transverse process
    ((0.0, 40.0, 9.0), (0.0, 62.0, 2.0), 4.0, 5.0),  # spinous process
)
_BODY_EDGE_MM: Final = 3.0


def l5_distance(
    points: npt.NDArray[np.floating],
    sacrum_params: SacrumParameters,
    pelvis_params: PelvisParameters | None = None,
) -> Floats:
    """Distance (N,) of points (N, 3) to L5: body over a lordotic disc, arch and processes."""
    q = pelvis_params or PelvisParameters()
    p = sacrum_params
    cloud = np.asarray(points, dtype=np.float32)
    local = _in_l5_frame(cloud, q)
    distance = _body(local, p, q)
    folded = local.copy()
    folded[:, 0] = np.abs(folded[:, 0])
    scale = p.width_mm / MEAN_WIDTH_MM
    for start, end, r_start, r_end in _ELEMENTS:
        a = (start[0] * scale, start[1], start[2])
        b = (end[0] * scale, end[1], end[2])
        distance = smooth_min(distance, capsule(folded, a, b, r_start, r_end), 2.5)
    near = distance < 10.0
    gap = np.float32(q.l5_facet_gap_mm) - sacrum_hull_distance(cloud[near], p)
    distance[near] = np.maximum(distance[near], gap)
    return np.asarray(distance, dtype=np.float32)


def _in_l5_frame(cloud: Floats, q: PelvisParameters) -> Floats:
    """Coordinates in the lower endplate's frame: raised by the disc and turned by its wedge."""
    angle = np.radians(q.lordosis_deg)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    y, z = cloud[:, 1] + np.float32(1.0), cloud[:, 2] - np.float32(q.disc_height_mm)
    # The disc is higher in front: L5 leans dorsally at its top.
    return np.stack([cloud[:, 0], c * y - s * z, s * y + c * z], axis=1)


def _body(local: Floats, p: SacrumParameters, q: PelvisParameters) -> Floats:
    """Distance to the vertebral body: an elliptic drum with a waist."""
    half_width, half_ap = p.body_width_mm / 2 + 1.0, p.body_ap_mm / 2 + 1.0
    middle = (local[:, 2] - q.l5_body_height_mm / 2) / (q.l5_body_height_mm / 2)
    waist = 1 - 0.08 * np.clip(1 - middle**2, 0, 1)
    across, deep = local[:, 0] / (half_width * waist), local[:, 1] / (half_ap * waist)
    radius = np.sqrt(across**2 + deep**2) + 1e-6
    gradient = np.sqrt((across / half_width) ** 2 + (deep / half_ap) ** 2) / radius + 1e-6
    wall = (radius - 1) / gradient
    ends = np.abs(local[:, 2] - q.l5_body_height_mm / 2) - q.l5_body_height_mm / 2
    out = np.hypot(np.maximum(wall + _BODY_EDGE_MM, 0), np.maximum(ends + _BODY_EDGE_MM, 0))
    inside = np.minimum(np.maximum(wall, ends) + _BODY_EDGE_MM, 0)
    return np.asarray(out + inside - _BODY_EDGE_MM, dtype=np.float32)
