"""Hounsfield units of bone, as functions of the depth below its surface.

Surfaces are rendered with exact partial volume: a voxel of width w that a flat surface crosses at
the signed distance d lies inside by clip(1/2 - d/w). A thin cortex is the difference of two such
coverages and keeps its integral however coarse the voxels are.

Cortex: 1 to 2 mm (assumed in the literature), thinner with osteoporosis. Cancellous bone: vertebral
bodies L1-3 44.8 +- 18.3 HU with an insufficiency fracture against 105.7 +- 27.7 HU without
(Diagnostics 2025;15:2926); the ala shows voids of negative HU where L5 is below 100 HU (Wagner,
Rommens). What is not named there is assumed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from planner.phantom.lattice import Floats
from planner.phantom.parameters import AlarFracture, PhantomParameters, TransverseBar

# Depth below the endplate at which AlarFracture.lateral_mm is counted.
FRACTURE_LEVEL_MM = 20.0
FRACTURE_FILL_HU = 25.0  # an open line holds haematoma and granulation tissue
FAT_MARROW_HU = -95.0


@dataclass(frozen=True)
class Bone:
    """Cortex thickness (mm), cortex and cancellous HU, and texture amplitude (HU) of a bone."""

    cortex_mm: float
    cortex_hu: float
    cancellous_hu: float
    texture_hu: float


def hip_bone(osteoporosis: float) -> Bone:
    """Hip bone, healthy to osteoporotic."""
    return Bone(2.3 - 0.9 * osteoporosis, 1000 - 260 * osteoporosis, 170 - 130 * osteoporosis, 34.0)


def femur_bone(osteoporosis: float) -> Bone:
    """Upper femur, healthy to osteoporotic."""
    return Bone(2.6 - 0.8 * osteoporosis, 1100 - 220 * osteoporosis, 230 - 130 * osteoporosis, 42.0)


def l5_bone(osteoporosis: float) -> Bone:
    """L5, healthy to osteoporotic: the mean cancellous HU spans the published groups."""
    return Bone(1.2 - 0.5 * osteoporosis, 700 - 220 * osteoporosis, 160 - 115 * osteoporosis, 40.0)


def coverage(distance: Floats, voxel_mm: float) -> Floats:
    """Share of a voxel of the given width inside a flat surface at a signed distance (mm)."""
    share = np.clip(0.5 - distance / np.float32(voxel_mm), 0.0, 1.0)
    return np.asarray(share, np.float32)


def step(x: Floats, centre: float, width: float) -> Floats:
    """Rise smoothly from 0 to 1 as x passes centre within about plus or minus width."""
    t = np.clip((x - np.float32(centre)) / np.float32(2 * width) + 0.5, 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), np.float32)


def bump(x: Floats, width: float) -> Floats:
    """Bell of height 1 around 0: (1 + (x/width)^2)^-2."""
    t = x / np.float32(width)
    return np.asarray(1.0 / np.square(1.0 + t * t), np.float32)


def length(a: Any, b: Any) -> Floats:
    """Length of the vector (a, b); several times faster than hypot, which guards overflow."""
    return np.asarray(np.sqrt(a * a + b * b), np.float32)


def paint(hu: Floats, share: Floats, value: Floats | float) -> None:
    """Blend a tissue over what lies there, in place."""
    hu += share * (value - hu)


def plain_bone(hu: Floats, distance: Floats, bone: Bone, texture: Floats, voxel_mm: float) -> None:
    """Paint a bone of even cortex over hu, in place; texture has standard deviation 1."""
    outer = coverage(distance, voxel_mm)
    shell = np.float32(bone.cortex_mm) * np.maximum(1.0 + 0.25 * texture, 0.4)
    inner = coverage(distance + shell, voxel_mm)
    cancellous = bone.cancellous_hu + bone.texture_hu * texture
    paint(hu, outer, bone.cortex_hu * (1.0 + 0.08 * texture))
    paint(hu, inner, cancellous)


@dataclass(frozen=True, eq=False)
class SacralSurroundings:
    """What decides the sacrum's tissue at the points of a block, all (I, J, K) float32.

    x, y, z: sacral frame, mm. bone, canal, foramina, hips: signed distances, mm. coarse, medium,
    fine: noise of standard deviation 1.
    """

    x: Floats
    y: Floats
    z: Floats
    bone: Floats
    canal: Floats
    foramina: Floats
    hips: Floats
    coarse: Floats
    medium: Floats
    fine: Floats


def sacral_bone(hu: Floats, at: SacralSurroundings, p: PhantomParameters, voxel_mm: float) -> None:
    """Paint the sacrum over hu, in place, with cortex and marrow by region."""
    o = np.float32(p.osteoporosis)
    thickness, cortex = _cortex(at, p)
    marrow = _marrow(at, p)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        fracture = p.fracture("left" if side == "left" else "right")
        if fracture is not None:
            _alar_fracture(marrow, cortex, at, fracture, sign)
    if p.transverse_bar is not None:
        _transverse_bar(marrow, cortex, at, p.transverse_bar)
    outer = coverage(at.bone, voxel_mm)
    inner = coverage(at.bone + thickness, voxel_mm)
    paint(hu, outer, cortex * (1.0 + 0.06 * at.medium))
    paint(hu, inner, np.maximum(marrow, FAT_MARROW_HU - 15.0 * o))


def _cortex(at: SacralSurroundings, p: PhantomParameters) -> tuple[Floats, Floats]:
    """Cortex thickness (mm) and HU: thick over arch, endplate and joint, thin in front."""
    o = p.osteoporosis
    body = p.sacrum.body_width_mm / 2.0
    arch = step(at.y, 24.0 + 0.0, 6.0) * step(at.canal, 0.0, 3.0)
    endplate = bump(at.z, 4.0) * (1 - step(np.abs(at.x), body, 3.0)) * (1 - step(at.y, 20.0, 4.0))
    joint = 1 - step(at.hips, 7.0, 2.5)
    wall = 1 - step(np.minimum(at.foramina, at.canal), 2.5, 1.5)
    thickness = np.full(at.x.shape, 1.15 - 0.5 * o, np.float32)
    cortex = np.full(at.x.shape, 700.0 - 240.0 * o, np.float32)
    regions: tuple[tuple[Floats, float, float], ...] = (
        (arch, 2.2 - 0.8 * o, 950.0 - 240.0 * o),
        (endplate, 1.6 - 0.6 * o, 780.0 - 220.0 * o),
        (joint, 1.9 - 0.7 * o, 820.0 - 220.0 * o),
        (wall, 0.85 - 0.35 * o, 540.0 - 180.0 * o),
    )
    for share, mm, value in regions:
        paint(thickness, share, mm)
        paint(cortex, share, value)
    thickness *= np.maximum(1.0 + 0.3 * at.coarse, 0.35)
    return thickness, cortex


def _marrow(at: SacralSurroundings, p: PhantomParameters) -> Floats:
    """Cancellous HU: bodies dense, ala poor and with fatty voids that grow with osteoporosis."""
    o = p.osteoporosis
    body = p.sacrum.body_width_mm / 2.0
    narrowing = body - 0.12 * np.clip(-at.z, 0.0, 80.0)
    inside_body = (1 - step(np.abs(at.x) - narrowing.astype(np.float32), 2.0, 6.0)) * (
        1 - step(at.y, 26.0, 8.0)
    )
    arch = step(at.y, 26.0, 8.0) * step(at.canal, 0.0, 3.0)
    value = 75.0 - 85.0 * o + (90.0 - 30.0 * o) * inside_body + (130.0 - 50.0 * o) * arch
    # Subchondral bone under the endplate and at the joint.
    value += inside_body * bump(at.z, 9.0) * (110.0 - 40.0 * o)
    value += (1 - step(at.hips, 9.0, 4.0)) * (90.0 - 30.0 * o)
    value += 30.0 * at.medium + (30.0 - 8.0 * o) * at.fine
    deep = step(-at.bone, 3.5 - 1.0 * o, 2.0) * (1 - 0.85 * inside_body) * (1 - arch)
    voids = step(at.coarse + 0.35 * at.medium, 0.9 - 1.3 * o, 0.5) * deep
    paint(value, voids * np.float32(min(1.0, 0.25 + 0.75 * o)), FAT_MARROW_HU + 12.0 * at.fine)
    return np.asarray(value, np.float32)


def alar_fracture_offset(x: Any, z: Any, fracture: AlarFracture, sign: float) -> Any:
    """Distance (mm) from the mean plane of an alar fracture, positive laterally.

    x, z: sacral frame, mm; sign +1 for the left ala. The line follows z as it runs down.
    """
    run = np.tan(np.deg2rad(fracture.slant_deg)) * (-z - FRACTURE_LEVEL_MM)
    return (sign * x - fracture.lateral_mm - run) * np.cos(np.deg2rad(fracture.slant_deg))


def _alar_fracture(
    marrow: Floats, cortex: Floats, at: SacralSurroundings, fracture: AlarFracture, sign: float
) -> None:
    offset = np.asarray(alar_fracture_offset(at.x, at.z, fracture, sign), np.float32)
    offset += 1.2 * at.medium + 1.5 * at.coarse  # a broken line is never straight
    within = step(at.z, -fracture.length_mm, 4.0)
    _broken(marrow, cortex, offset, within, fracture)


def _transverse_bar(
    marrow: Floats, cortex: Floats, at: SacralSurroundings, bar: TransverseBar
) -> None:
    offset = at.z + np.float32(bar.depth_mm) + 0.8 * at.medium + 1.2 * at.coarse
    within = 1 - step(np.abs(at.x), bar.half_width_mm, 4.0)
    _broken(marrow, cortex, offset, within * (1 - step(at.y, 20.0, 4.0)), bar)


def _broken(
    marrow: Floats,
    cortex: Floats,
    offset: Floats,
    within: Floats,
    line: AlarFracture | TransverseBar,
) -> None:
    """Add the sclerotic band and the open gap along a line to marrow and cortex, in place."""
    if line.band_mm > 0:
        marrow += line.sclerosis_hu * within * np.exp(-0.5 * np.square(offset / line.band_mm))
    if line.gap_mm > 0:
        # A gap narrower than a voxel dims it by its share.
        reach = max(line.gap_mm, 1.0)
        share = within * np.clip(1.0 - np.abs(offset) / reach, 0.0, 1.0) * (line.gap_mm / reach)
        for values in (marrow, cortex):
            paint(values, share.astype(np.float32), FRACTURE_FILL_HU)


def neural_contents(
    hu: Floats, canal: Floats, foramina: Floats, z: Floats, voxel_mm: float
) -> None:
    """Fill canal and foramina: fat, the thecal sac down to S2, nerve roots; in place.

    canal, foramina: signed distances, mm; z: sacral frame, mm. Sizes are assumed.
    """
    space = np.minimum(canal, foramina)
    paint(hu, coverage(space, voxel_mm), -80.0)
    above_s2 = step(z, -48.0, 5.0)
    paint(hu, coverage(canal + 2.0, voxel_mm) * above_s2, 16.0)
    paint(hu, coverage(canal + 1.6, voxel_mm) * (1 - above_s2), -20.0)
    paint(hu, coverage(foramina + 2.2, voxel_mm), 38.0)
