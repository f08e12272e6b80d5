"""Doubts from geometry alone: what no adult sacrum looks like.

Each gate asks one thing of the derived anatomy that the segmentation did not use to find it. Ranges
are the mean plus and minus four standard deviations of reference anatomies derived by this package
from true labels of seven adults (Fischer, Sci Data 10:763, 2023), rounded outwards; sacra outside
them exist, so a doubt lowers the confidence and is told; several, or an impossible one, refuse.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from planner.anatomy.curve import station
from planner.anatomy.material import Material
from planner.geometry.grid import Float
from planner.model.anatomy import (
    LABELS,
    REGIONS,
    SIDES,
    Check,
    Foramen,
    Region,
    SacralFrame,
    SacralSurface,
)

FIRST_MM = (22.0, 44.0)
"""From the endplate to the S1 foramina along the sacral axis: 32.9, SD 1.4; size varies by 8 %."""
GAPS_MM = {
    ("S1", "S2"): (14.0, 38.0),
    ("S2", "S3"): (11.0, 30.0),
    ("S3", "S4"): (12.0, 29.0),
    ("S4", "S5"): (10.0, 27.0),
}
"""Between neighbouring foramina of a side: 25.4, 19.1, 19.6 and 18, SD 3.2, 2.2, 1.9 mm."""
LATERAL_MM = {"S1": (14.0, 30.0), "S2": (12.0, 31.0), "S3": (10.0, 28.0)}
LOWER_LATERAL_MM = (7.0, 27.0)
"""From the midplane: 20.9, 20.2, 18.2 and 16.9, SD 0.7, 1.9, 1.7 and 1.5 mm; 30 % wider here."""
PAIR_MM = 7.0
"""Left and right of a level differ by at most 1.2 mm there. Symmetry is weak evidence: single
structures differ by 5 mm between sides in healthy people."""
SMALLEST_MM3 = {"S1": 700.0, "S2": 380.0, "S3": 180.0}
LOWER_SMALLEST_MM3 = 70.0
"""A third of the smallest channel there (2110, 1157, 613 and 219 mm3)."""
BONE_ML = (90.0, 420.0)
"""157 to 217 ml there; without the smallest women and the largest men."""
CANAL_SHARE = 0.9
"""Share of the course from the S1 to the S3 foramina that the canal's largest part must span."""
LARGEST_MM3 = 9000.0
JOINT_MM2 = (250.0, 6000.0)
"""Auricular surfaces measure 800 to 1500 mm2; a third is left of a partly ankylosed one."""
JOINT_GAP_MM = 7.0
DOUBTED, WEAKLY_DOUBTED, IMPOSSIBLE = 0.4, 0.75, 0.15
"""What a confidence is multiplied by for one doubt (assumed): two leave 0.16, below the floor; so
does a single impossible one."""
GROSS = 0.3
"""A gap between foramina that misses its range by this share of the limit is impossible: 6 mm from
S2 to S3 was a mislabelled row, while one in a hundred sound ones misses its range by a little."""


def check_shape(
    material: Material,
    frame: SacralFrame,
    axis: Float,
    foramina: tuple[Foramen, ...],
    surface: SacralSurface,
) -> tuple[Check, ...]:
    """Ask every gate; axis is (N, 3), patient LPS, mm."""
    return (
        *spacing_checks(foramina, axis),
        *lateral_checks(foramina, frame),
        *pair_checks(foramina, axis),
        *volume_checks(material, foramina),
        *canal_checks(material, foramina, axis),
        *joint_checks(material, surface),
    )


def weaken(confidences: dict[str, float], checks: Iterable[Check]) -> dict[str, float]:
    """Multiply the confidence of every doubted structure; 1 where none was stated."""
    out = dict(confidences)
    for check in checks:
        if not check.passed:
            for name in check.structures:
                out[name] = out.get(name, 1.0) * check.factor
    return out


def _outside(value: float, span: tuple[float, float]) -> bool:
    return not span[0] <= value <= span[1]


def _range(span: tuple[float, float]) -> str:
    return f"{span[0]:.0f} to {span[1]:.0f} mm expected"


def spacing_checks(foramina: tuple[Foramen, ...], axis: Float) -> list[Check]:
    """Measure how far foramina lie from the endplate and from the next one, along the axis."""
    out = []
    for side in SIDES:
        row = [item for item in foramina if item.side == side]
        if not row:
            continue
        at = station(axis, np.array([item.centre for item in row]))
        if row[0].level == "S1":
            words = f"{row[0].name} lies {at[0]:.0f} mm below the S1 endplate, {_range(FIRST_MM)}"
            name = f"endplate_to_s1_{side}"
            out.append(Check(name, float(at[0]), FIRST_MM, "mm", (row[0].name,), DOUBTED, words))
        for n in range(1, len(row)):
            span = GAPS_MM.get((row[n - 1].level, row[n].level))
            gap = float(at[n] - at[n - 1])
            if span is None:
                continue
            pair = (row[n].name,) if n >= 3 else (row[n - 1].name, row[n].name)
            words = f"{row[n].name} lies {gap:.0f} mm below {row[n - 1].name}, {_range(span)}"
            gross = _outside(gap, (span[0] * (1.0 - GROSS), span[1] * (1.0 + GROSS)))
            name = f"{row[n - 1].level.lower()}_to_{row[n].level.lower()}_{side}"
            factor = IMPOSSIBLE if gross else DOUBTED
            out.append(Check(name, gap, span, "mm", pair, factor, words))
    return out


def lateral_checks(foramina: tuple[Foramen, ...], frame: SacralFrame) -> list[Check]:
    """Measure how far foramina lie from the midplane."""
    out = []
    for item in foramina:
        span = LATERAL_MM.get(item.level, LOWER_LATERAL_MM)
        away = abs(float(frame.to_sacrum(item.centre)[0]))
        words = f"{item.name} lies {away:.0f} mm from the midplane, {_range(span)}"
        name = f"midplane_to_{item.level.lower()}_{item.side}"
        out.append(Check(name, away, span, "mm", (item.name,), DOUBTED, words))
    return out


def pair_checks(foramina: tuple[Foramen, ...], axis: Float) -> list[Check]:
    """Measure how far left and right foramina of a level differ in height."""
    out = []
    for level in dict.fromkeys(item.level for item in foramina):
        pair = [item for item in foramina if item.level == level]
        if len(pair) < 2:
            continue
        at = station(axis, np.array([item.centre for item in pair]))
        apart = abs(float(at[0] - at[1]))
        words = f"the {level} foramina lie {apart:.0f} mm apart in height"
        words += f", at most {PAIR_MM:.0f} mm expected"
        names = tuple(item.name for item in pair)
        name = f"{level.lower()}_left_to_right"
        out.append(Check(name, apart, (0.0, PAIR_MM), "mm", names, WEAKLY_DOUBTED, words))
    return out


def volume_checks(material: Material, foramina: tuple[Foramen, ...]) -> list[Check]:
    """Measure the sacrum's size, and the channels': some are mere slits."""
    voxel = float(np.prod(material.grid.spacing_mm))
    bone = float(material.bone.sum()) * voxel / 1000.0
    words = f"the sacrum's bone measures {bone:.0f} ml, {BONE_ML[0]:.0f} to {BONE_ML[1]:.0f} "
    out = [Check("bone", bone, BONE_ML, "ml", ("sacrum",), IMPOSSIBLE, words + "ml expected")]
    for item in foramina:
        least = SMALLEST_MM3.get(item.level, LOWER_SMALLEST_MM3)
        volume = len(material.points(item.name)) * voxel
        words = f"{item.name} holds {volume:.0f} mm3, at least {least:.0f} mm3 expected"
        limit = (least, LARGEST_MM3)
        out.append(Check(item.name, volume, limit, "mm3", (item.name,), DOUBTED, words))
    return out


def canal_checks(material: Material, foramina: tuple[Foramen, ...], axis: Float) -> list[Check]:
    """Measure over how much of its way from the S1 to the S3 foramina the canal is found."""
    ends = [item.centre for item in foramina if item.level in ("S1", "S3")]
    box = material.box(("sacral_canal",), 0.0)
    if {item.level for item in foramina} < {"S1", "S3"} or box is None:
        return []
    grid, where = material.cut(box)
    mask = material.labels[where] == LABELS["sacral_canal"]
    parts, _ = ndimage.label(mask, ndimage.generate_binary_structure(3, 3))
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    low, high = np.percentile(station(axis, np.array(ends)), (0.0, 100.0))
    at = station(axis, grid.to_patient(np.argwhere(parts == int(sizes.argmax()))))
    steps = np.arange(low, high, 2.0)
    filled = np.histogram(at, bins=np.append(steps, steps[-1] + 2.0))[0] > 0
    share = float(filled.mean())
    words = f"the canal is found along {share:.0%} of its course from S1 to S3"
    words += f", {CANAL_SHARE:.0%} expected"
    limit = (CANAL_SHARE, 1.0)
    return [Check("canal_course", share, limit, "1", ("sacral_canal",), DOUBTED, words)]


def joint_checks(material: Material, surface: SacralSurface) -> list[Check]:
    """Measure over how much of its surface the sacrum faces either hip."""
    corners = surface.vertices[surface.faces]
    chosen = surface.regions == REGIONS.index(Region.SACROILIAC)
    a, b, c = corners[chosen].transpose(1, 0, 2)
    areas = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)
    middles = corners[chosen].mean(axis=1)
    out = []
    for side in SIDES:
        name = f"hip_{side}"
        points, area = material.points(name), 0.0
        words = f"{name} was not found beside the sacrum"
        if len(points):
            near, _ = cKDTree(points).query(middles, distance_upper_bound=JOINT_GAP_MM)
            area = float(areas[np.isfinite(near)].sum())
            words = f"the sacrum faces {name} over {area:.0f} mm2, at least {JOINT_MM2[0]:.0f} mm2 "
            words += "expected"
        out.append(Check(f"joint_{side}", area, JOINT_MM2, "mm2", (name,), DOUBTED, words))
    return out
