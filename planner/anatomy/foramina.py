"""Landmarks of the foramina: openings, centre, narrowest width, and checks of level and side.

A label is the whole channel from its dorsal to its ventral opening. The openings are the parts of
its border that touch neither bone, canal nor another channel, after gaps of a voxel or two between
label and bone are closed. Both are located on the faces between voxels. The centreline follows the
widest way through the channel; width is the diameter of the largest ball that passes along it,
measured to bone (the neck towards the canal is no wall).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from planner.anatomy.curve import station, tangents
from planner.anatomy.material import FORAMINA, Material
from planner.errors import UntrustedAnatomyError
from planner.geometry.distance import distance_to
from planner.geometry.grid import Float, Grid
from planner.model.anatomy import LABELS, LEVELS, SIDES, Foramen, SacralFrame, Side, side_sign

GAP_MM = 2.0
"""Gaps between a channel's label and bone up to twice this are not openings."""
PATCH_FROM_MIDDLE = 0.15
"""A face counts to an opening when it lies this part of the channel's depth beyond its middle."""
MIDDLE_PART = (0.35, 0.65)
WIDTH_STEP_MM = 0.5
NEAREST = 8
"""Clearance is the mean to this many vertices: the nearest alone picks the voxels' roughness and is
half a millimetre too small."""
WIDTH_TOLERANCE_MM = 0.05
WIDTH_MARGIN_MM = 6.0
END_PART = 0.15
"""The first and last part of the way belong to the openings; the narrowest place lies between."""
LINE_SD_MM = 3.0
SMALLEST_VOXELS = 4
LEVEL_GAP_MM = 4.0
"""Neighbouring levels lie 12 to 30 mm apart; less than this means merged or doubled labels."""
FALLBACK_CONFIDENCE = 0.5
"""Confidence is multiplied by this where an opening had to be taken from the label's extent."""
OPEN_SPACE = [LABELS[name] for name in ("sacral_canal", *FORAMINA)]
CONNECTED = ndimage.generate_binary_structure(3, 3)


@dataclass(frozen=True, eq=False)
class _Channel:
    """One label, cut out: grid of the cut, its mask, and the clearance to bone (mm)."""

    grid: Grid
    mask: NDArray[np.bool_]
    outside: NDArray[np.bool_]
    clearance: NDArray[np.float32]
    points: Float


def centroids(material: Material) -> dict[tuple[str, str], Float]:
    """Map (level, side) to the centroid (3,) of each foramen label present, patient LPS, mm."""
    out: dict[tuple[str, str], Float] = {}
    for level in LEVELS:
        for side in SIDES:
            points = material.points(f"foramen_{level.lower()}_{side}")
            if len(points) >= SMALLEST_VOXELS:
                out[level, side] = points.mean(axis=0)
    return out


def find_foramina(
    material: Material, frame: SacralFrame, axis: Float, confidences: dict[str, float]
) -> tuple[tuple[Foramen, ...], tuple[str, ...]]:
    """Measure every foramen label.

    axis: (N, 3) sacral axis, patient LPS, mm. confidences: by segment name, 1 where absent.
    Returns the foramina in the order of LEVELS and SIDES, and warnings.
    Raises UntrustedAnatomyError for wrong order or side.
    """
    found, warnings = [], []
    for level in LEVELS:
        for side in SIDES:
            name = f"foramen_{level.lower()}_{side}"
            channel = _cut(material, name)
            if channel is None:
                if level in ("S1", "S2", "S3", "S4"):
                    warnings.append(f"{name} was not found")
                continue
            foramen, remark = _measure(
                channel, material.vertices, frame, axis, level, side, confidences.get(name, 1.0)
            )
            found.append(foramen)
            if remark:
                warnings.append(f"{name}: {remark}")
    foramina = tuple(found)
    check_sides(foramina, frame)
    check_levels(foramina, axis)
    return foramina, tuple(warnings)


def check_sides(foramina: tuple[Foramen, ...], frame: SacralFrame) -> None:
    """Raise UntrustedAnatomyError for a foramen on the wrong side of the midplane."""
    for item in foramina:
        lateral = float(frame.to_sacrum(item.centre)[0])
        if lateral * side_sign(item.side) <= 0:
            where = "left" if lateral > 0 else "right"
            raise UntrustedAnatomyError(
                f"{item.name} lies {abs(lateral):.1f} mm to the patient's {where} of the "
                "midsagittal plane: its side is swapped. Check the segmentation."
            )


def check_levels(foramina: tuple[Foramen, ...], axis: Float) -> None:
    """Raise UntrustedAnatomyError where levels don't follow one another down the axis."""
    for side in SIDES:
        row = [item for item in foramina if item.side == side]
        at = station(axis, np.array([item.centre for item in row]).reshape(-1, 3))
        for n in range(1, len(row)):
            gap = float(at[n] - at[n - 1])
            if gap < LEVEL_GAP_MM:
                raise UntrustedAnatomyError(
                    f"{row[n].name} lies {gap:.1f} mm below {row[n - 1].name} along the sacral "
                    f"axis, at least {LEVEL_GAP_MM:.0f} mm are expected: the levels are mixed up. "
                    "Check the segmentation."
                )


def _cut(material: Material, name: str) -> _Channel | None:
    """Cut the largest part of a label out, and tell what around it is outside.

    Outside are voxels beyond bone, canal and channels, less the slits between labels and bone.
    """
    box = material.box((name,), 3.0 * GAP_MM)
    if box is None:
        return None
    grid, where = material.cut(box)
    labels = material.labels[where]
    parts, _ = ndimage.label(labels == LABELS[name], CONNECTED)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    if sizes.max() < SMALLEST_VOXELS:
        return None
    mine = parts == int(sizes.argmax())
    filled = material.bone[where] | np.isin(labels, OPEN_SPACE)
    near = distance_to(filled, grid.spacing_mm) <= GAP_MM
    margin = GAP_MM + 0.5 * float(grid.spacing_mm.max())
    outside = ~filled & (distance_to(~near, grid.spacing_mm) <= margin)
    points = grid.to_patient(np.argwhere(mine))
    return _Channel(grid, mine, outside, material.field[where], points)


def _measure(
    channel: _Channel,
    surface: Float,
    frame: SacralFrame,
    axis: Float,
    level: str,
    side: Side,
    confidence: float,
) -> tuple[Foramen, str]:
    """Locate openings, centre and width of one channel."""
    middle = channel.points.mean(axis=0)
    nearest = int(np.linalg.norm(axis - middle, axis=1).argmin())
    left = frame.axes[:, 0]
    back = np.cross(left, tangents(axis)[nearest])  # tangent is caudal: left x caudal = posterior
    back /= np.linalg.norm(back)
    faces = _open_faces(channel)
    dorsal = _opening(channel, faces, back)
    ventral = _opening(channel, faces, -back)
    remark = ""
    if dorsal is None or ventral is None:
        ends = [n for n, p in (("dorsal", dorsal), ("ventral", ventral)) if p is None]
        remark = f"no {' or '.join(ends)} opening, the label's end is taken instead"
        confidence *= FALLBACK_CONFIDENCE
    dorsal = _extreme(channel, back) if dorsal is None else dorsal
    ventral = _extreme(channel, -back) if ventral is None else ventral
    centre = _centre(channel, dorsal, ventral)
    width = _width(channel, surface, dorsal, ventral)
    return Foramen(level, side, centre, ventral, dorsal, width, float(confidence)), remark


def _open_faces(channel: _Channel) -> Float:
    """(N, 3) centres of the voxel faces between the channel and the outside, patient LPS, mm."""
    out = []
    for axis in range(3):
        for step in (-1, 1):
            beyond = np.roll(channel.outside, -step, axis)
            index = np.argwhere(channel.mask & beyond).astype(float)
            index[:, axis] += 0.5 * step
            out.append(index)
    return channel.grid.to_patient(np.concatenate(out))


def _opening(channel: _Channel, faces: Float, outward: Float) -> Float | None:
    """Centre (3,) of the open faces at one end of the channel, or None without any."""
    along = channel.points @ outward
    low, high = np.percentile(along, [2.0, 98.0])
    beyond = 0.5 * (low + high) + PATCH_FROM_MIDDLE * (high - low)
    patch = faces[faces @ outward > beyond] if len(faces) else faces
    if len(patch) < SMALLEST_VOXELS:
        return None
    return np.asarray(patch.mean(axis=0))


def _extreme(channel: _Channel, outward: Float) -> Float:
    """Centre (3,) of the outermost tenth of a channel's voxels."""
    along = channel.points @ outward
    return np.asarray(channel.points[along >= np.percentile(along, 90.0)].mean(axis=0))


def _centre(channel: _Channel, dorsal: Float, ventral: Float) -> Float:
    """Return a wide place half way between the openings, inside the channel.

    It keeps near the line between them: the channel alone is widest at the neck to the canal.
    """
    way = ventral - dorsal
    part = (channel.points - dorsal) @ way / max(float(way @ way), 1e-6)
    half = (part > MIDDLE_PART[0]) & (part < MIDDLE_PART[1])
    if not half.any():
        half = np.abs(part - 0.5) <= np.abs(part - 0.5).min() + 0.1
    clearance = np.maximum(channel.clearance[channel.mask], 0.05)
    points = channel.points[half]
    off_line = np.linalg.norm(points - dorsal - part[half, None] * way, axis=1)
    weights = clearance[half] ** 2 * np.exp(-0.5 * (off_line / LINE_SD_MM) ** 2) + 1e-9
    centre = np.average(points, axis=0, weights=weights)
    index = np.rint(channel.grid.to_ijk(centre)).astype(int)
    if not channel.mask[tuple(index)]:
        centre = points[int(np.linalg.norm(points - centre, axis=1).argmin())]
    return np.asarray(centre)


def _width(channel: _Channel, surface: Float, dorsal: Float, ventral: Float) -> float:
    """Diameter (mm) of the largest ball that passes from one opening to the other.

    surface: (V, 3) vertices of the bone's surface. Clearances to it carry no voxel's half width;
    the lattice is split so that the ball's centre finds the channel's middle.
    """
    split = np.maximum(np.rint(channel.grid.spacing_mm / WIDTH_STEP_MM), 1).astype(int)
    mask = channel.mask
    for axis, factor in enumerate(split):
        mask = np.repeat(mask, factor, axis)
    grid = channel.grid.subdivide((int(split[0]), int(split[1]), int(split[2])))
    index = np.argwhere(mask)
    points = grid.to_patient(index)
    low_corner, high_corner = (
        points.min(axis=0) - WIDTH_MARGIN_MM,
        points.max(axis=0) + WIDTH_MARGIN_MM,
    )
    near = surface[((surface > low_corner) & (surface < high_corner)).all(axis=1)]
    if len(near) < NEAREST:
        return 0.0
    radii = np.full(mask.shape, -1.0)
    radii[mask] = np.mean(np.asarray(cKDTree(near).query(points, k=NEAREST)[0]), axis=1)
    way = ventral - dorsal
    part = (points - dorsal) @ way / max(float(way @ way), 1e-6)
    first = tuple(index[part <= max(END_PART, float(part.min()))].T)
    second = tuple(index[part >= min(1.0 - END_PART, float(part.max()))].T)
    low, high = 0.0, float(radii.max())
    while high - low > WIDTH_TOLERANCE_MM:
        tried = 0.5 * (low + high)
        parts, _ = ndimage.label(radii >= tried, CONNECTED)
        joined = np.intersect1d(parts[first], parts[second])
        low, high = (tried, high) if (joined > 0).any() else (low, tried)
    return 2.0 * low
