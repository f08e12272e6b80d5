"""Names for places on the sacrum's surface, from geometry alone.

Points (N, 3) and outward normals (N, 3) are in the sacral frame, mm, the points on or near the
surface of the bone of the given parameters.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from .channels import canal_distance, nearest_channel
from .form import bilinear, form_of
from .parameters import SacrumParameters
from .sacrum import sacrum_hull_distance

REGIONS: Final = (
    "anterior", "posterior", "auricular", "superior", "inferior", "canal", "foramen",
)  # fmt: skip

_WALL_MM: Final = 1.5  # a wall point lies this close to its canal or channel
_INSIDE_HULL_MM: Final = 1.5  # and at least this deep under the envelope
_AURICULAR_LEVELS: Final = (0.15, 2.6)  # the joint reaches from the ala to S2, sometimes S3
_AURICULAR_FRACTION: Final = 0.8  # of the section's half width
_AURICULAR_BEHIND_MM: Final = 22.0  # ends this far dorsal of the axis: ligament behind
_STEEP: Final = 0.35  # lateral component of an auricular normal at least


def surface_regions(
    points: npt.NDArray[np.floating], normals: npt.NDArray[np.floating], p: SacrumParameters
) -> npt.NDArray[np.str_]:
    """Name (N,) of each surface point's region, one of `REGIONS`."""
    cloud = np.asarray(points, dtype=np.float32)
    facing = np.asarray(normals, dtype=np.float32)
    if cloud.shape != facing.shape or cloud.ndim != 2 or cloud.shape[1] != 3:
        raise ValueError(f"points {cloud.shape} and normals {facing.shape} must both be (N, 3)")
    form = form_of(p)
    arc, v = form.curved(cloud)
    side = np.where(cloud[:, 0] >= 0, p.left_width_scale, p.right_width_scale)
    u = (np.abs(cloud[:, 0]) / side).astype(np.float32)
    half = bilinear(form.sections, arc - np.float32(form.sections_l0), u)[:, 2]
    angle = np.interp(arc, form.axis_l, form.axis_angle)
    dorsal = facing[:, 1] * np.cos(angle) + facing[:, 2] * np.sin(angle)
    caudal = facing[:, 1] * np.sin(angle) - facing[:, 2] * np.cos(angle)
    lateral = facing[:, 0] * np.sign(cloud[:, 0])
    first, last = form.arc_of_level(_AURICULAR_LEVELS)
    joint = (arc > first) & (arc < last) & (u > _AURICULAR_FRACTION * half)
    joint &= (lateral > _STEEP) & (v < _AURICULAR_BEHIND_MM) & (caudal > -0.75)

    name = np.where(dorsal >= 0, "posterior", "anterior").astype("U9")
    name[(caudal > 0.75) & (arc > form.knots_l[4])] = "inferior"
    name[(caudal < -0.6) & (arc < float(form.arc_of_level(0.75)))] = "superior"
    name[joint] = "auricular"
    deep = sacrum_hull_distance(cloud, p) < -_INSIDE_HULL_MM
    canal, channel = canal_distance(cloud, p), nearest_channel(cloud, p)
    name[deep & (canal < _WALL_MM) & (canal <= channel)] = "canal"
    name[deep & (channel < _WALL_MM) & (channel < canal)] = "foramen"
    return name
