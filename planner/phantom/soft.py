"""Soft tissue around the bones: skin, fat, muscle with its fat planes, pelvic cavity, table.

Laid out in the body frame (origin at the S1 endplate's centre; x left, y dorsal, z cranial, turned
with the patient but not by the sacral slope). A schematic of what a CT of the pelvis shows, made
so that nothing but bone is bone-like; sizes and HU are assumed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.phantom.lattice import Floats
from planner.phantom.parameters import PhantomParameters
from planner.phantom.tissue import bump, coverage, length, paint, step

AIR_HU = -1000.0
FAT_HU = -102.0
MUSCLE_HU = 55.0
SKIN_HU = 20.0
SKIN_MM = 1.8
DISC_HU = 85.0
CARTILAGE_HU = 75.0
VESSEL_HU = 44.0
GAS_HU = -880.0
TABLE_SKIN_HU = -180.0
TABLE_CORE_HU = -930.0
TABLE_SKIN_MM = 1.4
TABLE_CORE_MM = 22.0
# The table presses the soft tissue flat by this much.
CONTACT_MM = 4.0


@dataclass(frozen=True, eq=False)
class BodySurroundings:
    """What decides the soft tissue at the points of a block, all (I, J, K) float32.

    x, y, z: body frame, mm. hull, hips: signed distances to the sacrum's envelope and the nearest
    hip bone, mm. coarse, medium: noise of standard deviation 1. table_mm: patient LPS y beyond the
    table's surface, positive inside the table.
    """

    x: Floats
    y: Floats
    z: Floats
    hull: Floats
    hips: Floats
    coarse: Floats
    medium: Floats
    table_mm: Floats


def depth_mm(at: BodySurroundings, p: PhantomParameters, back_mm: float) -> Floats:
    """Depth below the skin, mm, negative in air; back_mm: body-frame y of the skin of the back."""
    half_width, half_depth = p.half_width_mm, p.half_depth_mm
    x, y = at.x, at.y - np.float32(back_mm - half_depth)
    # The small of the back and the back of the thigh recede from the buttocks.
    hollow = 10.0 * step(at.z, 45.0, 45.0) + 8.0 * (1 - step(at.z, -120.0, 40.0))
    y = y + hollow * (y > 0) * np.minimum(y / half_depth, 1.0) * bump(x, 120.0)
    rho = np.abs(x / half_width) ** 2.5 + np.abs(y / half_depth) ** 2.5
    rho = np.maximum(rho ** np.float32(0.4), 1e-3)
    depth = length(x, y) * (1.0 / rho - 1.0)
    cleft = 16.0 * bump(x, 9.0) * (1 - step(at.z, -62.0, 22.0)) * (y > 0)
    return np.asarray(np.minimum(depth - cleft, -at.table_mm), np.float32)


def soft_tissue(
    at: BodySurroundings, p: PhantomParameters, back_mm: float, voxel_mm: float
) -> Floats:
    """Hounsfield units of everything but bone and its contents."""
    hu = np.full(at.x.shape, AIR_HU, np.float32)
    _table(hu, at, voxel_mm)
    depth = depth_mm(at, p, back_mm)
    paint(hu, coverage(-depth, voxel_mm), SKIN_HU)
    strands = 60.0 * bump(at.coarse + 0.5 * at.medium, 0.06)
    paint(hu, coverage(SKIN_MM - depth, voxel_mm), FAT_HU + 4.0 * at.medium + strands)
    fat = p.back_fat_mm * (0.72 + 0.10 * at.coarse)
    muscle = coverage(fat.astype(np.float32) - depth, 2.0)
    paint(hu, muscle, _muscle(at, p))
    cavity = _cavity(at, back_mm) * (depth > 12.0)
    paint(hu, cavity, _viscera(at))
    _great_vessels_and_psoas(hu, at, voxel_mm)
    front = 1 - step(at.y + 0.25 * np.abs(at.z + 40.0), 14.0, 8.0)
    presacral = coverage(at.hull - 4.5 - 1.5 * at.coarse, 2.0) * front * (depth > 5.0)
    paint(hu, presacral.astype(np.float32), FAT_HU + 6.0 * at.medium)
    return hu


def _muscle(at: BodySurroundings, p: PhantomParameters) -> Floats:
    """Muscle with fat planes between its layers and patches of fatty infiltration."""
    hu = MUSCLE_HU + 4.0 * at.medium
    patches = step(0.8 * at.coarse + 0.5 * at.medium, 2.1 - 1.2 * p.osteoporosis, 0.5)
    paint(hu, 0.85 * patches, FAT_HU)
    # Multifidus behind the sacrum is the fattest muscle of the region.
    behind = step(at.y, 20.0, 8.0) * (1 - step(np.abs(at.x), 34.0, 6.0))
    paint(hu, behind * (0.25 + 0.4 * p.osteoporosis) * step(at.medium, 0.2, 0.6), FAT_HU)
    for plane, width in ((13.0, 0.7), (29.0, 0.9)):
        layer = bump(at.hips - plane - 4.0 * at.coarse, width)
        paint(hu, 0.8 * layer, FAT_HU)
    paint(hu, 0.6 * bump(at.coarse - 0.5, 0.03), FAT_HU)
    return np.asarray(hu, np.float32)


def _cavity(at: BodySurroundings, back_mm: float) -> Floats:
    """Share of the pelvic cavity: in front of the sacrum and inside the hips and their muscles."""
    # The inner side of the hips, as |x| at which the bone is met, wider in front and above.
    flare = 0.35 + 0.55 * step(at.z, -40.0, 40.0)
    inner = 58.0 + flare * (24.0 - at.y)
    medial = 1 - step(np.abs(at.x) - inner.astype(np.float32), 0.0, 4.0)
    free = step(at.hips - 4.0 * at.coarse, 17.0, 2.0) * step(at.hull - 2.0 * at.coarse, 9.0, 2.0)
    front = 1 - step(at.y + 0.25 * np.abs(at.z + 40.0), 12.0, 4.0)
    return np.asarray(medial * free * front, np.float32)


def _viscera(at: BodySurroundings) -> Floats:
    """Fat with bowel, gas in its larger loops, and the rectum along the sacrum."""
    hu = np.full(at.x.shape, FAT_HU, np.float32) + 6.0 * at.medium
    loops = at.coarse + 0.12 * at.medium
    far = step(-at.y, 18.0, 8.0)
    paint(hu, step(loops, 0.35, 0.10) * far, 40.0 + 5.0 * at.medium)
    paint(hu, step(loops, 0.75, 0.12) * far, 22.0 + 10.0 * at.medium)
    paint(hu, step(loops, 1.55, 0.10) * step(-at.y, 40.0, 10.0), GAS_HU)
    tube = length(at.x - 5.0 * at.coarse, at.hull - 19.0)
    low = 1 - step(at.z, -38.0, 8.0)
    wall = coverage(tube.astype(np.float32) - 12.0, 1.5) * low
    paint(hu, wall, 42.0)
    paint(hu, coverage(tube.astype(np.float32) - 8.5, 1.5) * low, -20.0 + 60.0 * at.medium)
    return np.asarray(hu, np.float32)


def _great_vessels_and_psoas(hu: Floats, at: BodySurroundings, voxel_mm: float) -> None:
    """Paint psoas and the iliac vessels over hu, in place."""
    side = np.abs(at.x)
    down = -at.z
    outside_bone = (at.hull > 3.0) & (at.hips > 2.0)
    psoas = length(
        (side - 46.0 - 0.33 * np.maximum(down, -25.0)) / 1.0, (at.y + 16.0 + 0.40 * down) / 1.15
    )
    radius = 19.0 - 0.04 * np.abs(down)
    paint(hu, coverage((psoas - radius).astype(np.float32), 1.5) * outside_bone, MUSCLE_HU + 3.0)
    common = length(side - 24.0 - 0.42 * down, at.y + 31.0 + 0.35 * down)
    inner = length(side - 27.0 - 0.16 * down, at.y + 22.0 - 0.05 * down) + 40.0 * (down < -12.0)
    vein = length(side - 31.0 - 0.40 * down, at.y + 21.0 + 0.33 * down)
    for distance, radius_mm in ((common, 5.5), (inner, 3.2), (vein, 6.0)):
        share = coverage(distance.astype(np.float32) - radius_mm, voxel_mm) * outside_bone
        paint(hu, share.astype(np.float32), VESSEL_HU)


def _table(hu: Floats, at: BodySurroundings, voxel_mm: float) -> None:
    """Paint a table top of two thin sheets around foam over hu, in place."""
    across = 1 - step(np.abs(at.x), 205.0, 2.0)
    inside = np.maximum(-at.table_mm, at.table_mm - TABLE_CORE_MM)
    shell = coverage(inside, voxel_mm)
    core = coverage(inside + np.float32(TABLE_SKIN_MM), voxel_mm)
    paint(hu, shell * across, TABLE_SKIN_HU)
    paint(hu, core * across, TABLE_CORE_HU)


def joint_cartilage(hu: Floats, sacrum: Floats, hips: Floats, texture: Floats) -> None:
    """Fill the sacroiliac joints between two bone distances, in place."""
    gap = (1 - step(sacrum + hips, 6.5, 1.5)) * (sacrum > -0.5) * (hips > -0.5)
    paint(hu, gap.astype(np.float32), CARTILAGE_HU + 8.0 * texture)


def lumbosacral_disc(
    hu: Floats,
    at_sacrum: tuple[Floats, Floats, Floats],
    p: PhantomParameters,
    texture: Floats,
    voxel_mm: float,
) -> None:
    """Paint the L5/S1 disc over hu, in place; at_sacrum: x, y, z of the sacral frame, mm.

    The bones are painted later, so the disc may reach into them.
    """
    x, y, z = at_sacrum
    half_width, half_ap = p.sacrum.body_width_mm / 2.0, p.sacrum.body_ap_mm / 2.0
    rim = length(x / half_width, y / half_ap)
    edge = (rim - 1.0) * half_ap
    height = p.pelvis.disc_height_mm + 2.0 - y * np.sin(np.deg2rad(p.pelvis.lordosis_deg))
    share = coverage(edge.astype(np.float32), voxel_mm) * coverage(-z - 3.0, voxel_mm)
    share *= coverage((z - height).astype(np.float32), voxel_mm)
    paint(hu, share, DISC_HU + 6.0 * texture)
