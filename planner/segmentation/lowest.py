"""Seek the lower foramina where the posed sacrum does not have them.

Sacra with one distance from S1 to S2 differ in how far below S3 and S4 lie, by more than half a
level; the borders around a small foramen cannot pull a neighbouring one over such a way. So the
channel is slid, whole, over the image: where it belongs, the wall around it is brighter than the
middle, by more than elsewhere. It is moved only for a clear gain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.geometry.grid import Float, Grid
from planner.geometry.sampling import sample
from planner.model.anatomy import SIDES, Side
from planner.segmentation.template import Surface

DOWN_MM = np.arange(-6.0, 14.1, 1.0)
LATERAL_MM = np.arange(-6.0, 6.1, 2.0)
THROUGH_MM = np.arange(-4.0, 4.1, 2.0)
"""Places sought: along the row of foramina, from the midline outwards, from belly to back."""
RING_MM = (0.0, 1.0, 2.0, 3.0)
INSIDE_MM = 1.5
"""The wall is the brightest value at one of RING_MM outside the channel, the middle this deep."""
BRIGHTNESS_HU = (-100.0, 600.0)
"""Values are bounded before they are averaged: metal and air are no measure of a wall."""


@dataclass(frozen=True)
class Row:
    """A level that is sought, and where it usually lies.

    share: distance from the level above, as a share of that from S1 to the level above.
    """

    level: str
    above: str
    share: float


ROWS = (Row("s3", "s2", 0.78), Row("s4", "s3", 0.43))
"""Ten adults (Fischer, Sci Data 10:763, 2023): S2 to S3 0.67 to 0.92, median 0.79; S3 to S4 0.27 to
0.48, median 0.42."""
GAP_HU, GAP_MM = 5.0, 3.0
ASIDE_HU, ASIDE_MM = 15.0, 4.0
FAR_HU, FAR_MM = 4.0, 6.0
"""Contrast that a place must have more for lying this far from the usual gap, beside the row of
foramina, or from where the channel was; squared with the distance. Half and twice of the first
choose alike on simulated CTs."""
GAIN_HU = 22.0
"""Contrast gained from which the channel is moved. Measured on 23 simulated CTs: 39 to 85 HU where
a foramen lay 8 to 12 mm off, at most 14 HU (S4) and 10 HU (S3) elsewhere."""
FIXED_MM = 3.0
"""Below the middle of the foramen above, bone begins to move along; at the one sought it moves in
full."""
FADE_MM = 30.0
"""Below the foramen sought the shift fades over this length."""
BLEND_MM = 8.0
"""Either side of the midline within which the shifts of both sides blend."""


def seek(
    image: NDArray[np.float32],
    grid: Grid,
    channels: dict[str, Surface],
    landmarks: dict[str, Float],
    row: Row,
) -> dict[Side, Float]:
    """(3,) shift, mm, patient LPS, of each side's foramen of a level; only of those to be moved.

    landmarks: per foramen its ventral end, middle and dorsal end, as bent so far.
    """
    out: dict[Side, Float] = {}
    for side in SIDES:
        channel = channels.get(f"foramen_{row.level}_{side}")
        if channel is None:
            continue
        first, above, mine = (
            landmarks[f"foramen_{v}_{side}"] for v in ("s1", row.above, row.level)
        )
        axes = _directions(above[1], mine, lateral=1.0 if side == "left" else -1.0)
        places = np.stack(np.meshgrid(DOWN_MM, LATERAL_MM, THROUGH_MM, indexing="ij"), axis=-1)
        places = places.reshape(-1, 3)
        gap = float(np.linalg.norm(mine[1] - above[1]))
        usual = row.share * float(np.linalg.norm(above[1] - first[1]))
        value = _contrast(image, grid, channel, axes[2], places @ axes)
        value -= GAP_HU * ((gap + places[:, 0] - usual) / GAP_MM) ** 2
        value -= ASIDE_HU * (places[:, 1:] ** 2).sum(axis=1) / ASIDE_MM**2
        value -= FAR_HU * (places[:, 0] / FAR_MM) ** 2
        best = int(value.argmax())
        if value[best] - value[(places == 0.0).all(axis=1)][0] > GAIN_HU:
            out[side] = places[best] @ axes
    return out


def carry_along(
    points: Float, shifts: dict[Side, Float], landmarks: dict[str, Float], row: Row
) -> Float:
    """(N, 3) displacement of points around and below foramina that are moved.

    Nothing at the level above and higher is displaced.
    """
    above, mine = (
        np.mean([landmarks[f"foramen_{v}_{side}"][1] for side in SIDES], axis=0)
        for v in (row.above, row.level)
    )
    pair = (landmarks[f"foramen_{row.above}_{side}"][1] for side in SIDES)
    left = next(pair) - next(pair)
    left /= np.linalg.norm(left)
    gap = float(np.linalg.norm(mine - above))
    along = (points - above) @ (mine - above) / gap
    rise = np.clip((along - FIXED_MM) / max(gap - FIXED_MM, 1.0), 0.0, 1.0)
    fall = np.clip(1.0 - (along - gap) / FADE_MM, 0.0, 1.0)
    share = rise * rise * (3.0 - 2.0 * rise) * fall
    lateral = np.clip(0.5 + (points - mine) @ left / (2.0 * BLEND_MM), 0.0, 1.0)
    none = np.zeros(3)
    blend = np.outer(lateral, shifts.get("left", none))
    blend += np.outer(1.0 - lateral, shifts.get("right", none))
    return np.asarray(share[:, None] * blend)


def _directions(above: Float, mine: Float, lateral: float) -> Float:
    """(3, 3) rows: down the row of foramina, outwards, from the ventral to the dorsal end."""
    down = (mine[1] - above) / np.linalg.norm(mine[1] - above)
    through = mine[2] - mine[0]
    through = through - (through @ down) * down
    through /= np.linalg.norm(through)
    out = np.cross(down, through)
    return np.stack([down, out if out[0] * lateral > 0 else -out, through])


def _contrast(
    image: NDArray[np.float32], grid: Grid, channel: Surface, through: Float, shifts: Float
) -> Float:
    """(N,) wall minus middle, HU, of the channel at each of (N, 3) shifts; its mouths left out."""
    beside = np.abs(channel.normals @ through) < 0.5
    points, normals = channel.vertices[beside][::2], channel.normals[beside][::2]
    depths = (*RING_MM, -INSIDE_MM)
    at = np.stack([points + depth * normals for depth in depths])
    out = np.empty(len(shifts))
    for n, shift in enumerate(shifts):
        values = sample(image, grid, (at + shift).reshape(-1, 3), BRIGHTNESS_HU[0])
        values = np.clip(values, *BRIGHTNESS_HU).reshape(len(depths), -1)
        out[n] = values[:-1].max(axis=0).mean() - values[-1].mean()
    return out
