"""Density of the alar cancellous bone, side by side, and the voids in it.

The region of one side is the ala of S1: lateral to the S1 foramen, above its middle, and deeper
than DEPTH_MM below every border, so without cortex. L5, where the field holds it, is measured in a
cylinder in the middle of its body.

Published: L1 to L3 have 44.8 +- 18.3 HU with a sacral insufficiency fracture, 105.7 +- 27.7 HU
without (Diagnostics 2025;15:2926); the alae show large zones of negative HU where L5 lies below
100 HU and in fractured sacra (Wagner 2016, J Bone Joint Surg Am 98:584; Wagner 2018, Arch Orthop
Trauma Surg 138:971). No threshold is published for the ala: mean HU below zero is ours (assumed).
HU depend on the scanner, its voltage and contrast medium.
"""

from __future__ import annotations

import numpy as np

from planner.anatomy.findings.view import NOT_IMAGED_HU, view_of
from planner.geometry.sampling import sample
from planner.model.anatomy import SIDES, Anatomy
from planner.model.finding import Finding, Weight
from planner.model.volume import Volume

DEPTH_MM = 4.0
FEWEST_MM3 = 1000.0
LOW_ALA_HU = 0.0
LOW_L5_HU = 63.1
"""Mean and one standard deviation of L1 to L3 with an insufficiency fracture."""
L5_BODY_MM = (18.0, 26.0)
"""Height over the S1 endplate of the middle of L5: disc of 9 mm and half a body of 27 mm."""
L5_RADIUS_MM = 9.0


def find_density(anatomy: Anatomy, volume: Volume) -> tuple[Finding, ...]:
    """Measure both alae; a note where one of them or L5 is in the range of these fractures."""
    view = view_of(anatomy, volume)
    measures: dict[str, float] = {}
    for side in SIDES:
        foramen = anatomy.foramen("S1", side)
        if foramen is None:
            continue
        centre = anatomy.frame.to_sacrum(foramen.centre)
        edge = abs(float(centre[0])) + foramen.width_mm / 2.0
        ala = (view.depth > DEPTH_MM) & (view.lateral(side) > edge) & (view.axes[2] > centre[2])
        values = view.hu[ala & (view.hu > NOT_IMAGED_HU + 1)]
        if values.size * view.voxel_mm3 < FEWEST_MM3:
            continue
        measures[f"ala_{side}_mean_hu"] = float(values.mean())
        measures[f"ala_{side}_sd_hu"] = float(values.std())
        measures[f"ala_{side}_negative_mm3"] = float((values < 0).sum()) * view.voxel_mm3
        measures[f"ala_{side}_region_mm3"] = values.size * view.voxel_mm3
    if not measures:
        return ()
    l5 = _l5_mean(anatomy, volume)
    if l5 is not None:
        measures["l5_mean_hu"] = l5
    return (Finding("density", _words(measures), _weight(measures), measures),)


def _weight(measures: dict[str, float]) -> Weight:
    alae = [value for name, value in measures.items() if name.endswith("mean_hu") and "ala" in name]
    low = min(alae) < LOW_ALA_HU or measures.get("l5_mean_hu", LOW_L5_HU) < LOW_L5_HU
    return Weight.NOTE if low else Weight.RECORD


def _words(measures: dict[str, float]) -> str:
    sides = []
    for side in SIDES:
        mean = measures.get(f"ala_{side}_mean_hu")
        if mean is not None:
            share = measures[f"ala_{side}_negative_mm3"] / measures[f"ala_{side}_region_mm3"]
            sides.append(f"{side} {round(mean)} HU, {100 * share:.0f} % of it below 0 HU")
    l5 = measures.get("l5_mean_hu")
    tail = f"; the body of L5 {l5:.0f} HU" if l5 is not None else ""
    text = f"cancellous bone of the S1 ala: {'; '.join(sides)}{tail}."
    if _weight(measures) is Weight.RECORD:
        return text
    return (
        f"low bone density: {text} Zones of negative HU in the ala, and 45 +- 18 HU in L1 to L3 "
        "(106 +- 28 without), are what sacral insufficiency fractures show."
    )


def _l5_mean(anatomy: Anatomy, volume: Volume) -> float | None:
    """Mean HU in the middle of L5's body; None where the field ends before it."""
    ring = np.arange(-L5_RADIUS_MM, L5_RADIUS_MM + 0.1, 1.5)
    x, y, z = np.meshgrid(ring, ring, np.arange(*L5_BODY_MM, 1.5), indexing="ij")
    inside = x**2 + y**2 <= L5_RADIUS_MM**2
    points = anatomy.frame.to_patient(np.stack([x, y, z], axis=-1)[inside])
    values = sample(volume.values, volume.grid, points, NOT_IMAGED_HU)
    return None if (values <= NOT_IMAGED_HU + 1).any() else float(values.mean())
