"""Canal and foramina as voxels: the empty space inside the sacrum's envelope, told apart.

Where each channel runs comes from the fitted template; where its walls are comes from the cut. A
channel that the cut has closed keeps the core of the template's channel: a foramen that is missing
in the labels would overstate every clearance to it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from planner.geometry.distance import distance_to, signed_distance
from planner.geometry.grid import Grid
from planner.geometry.voxelise import voxelise
from planner.segmentation.fit import Fitted

CLOSING_MM = 9.0
"""Radius that closes the widest foramen: half of an S1 ventral opening with its groove."""
ENVELOPE_SLACK_MM = 3.0
REACH_MM = 4.0
"""How far from the template's channel empty space still belongs to it: the error of the fit, and
the funnels in which channels end, which flare more than the template's do. With 2.5 mm a needle
could enter on the rim of a funnel that no label named."""
CORE_MM = 1.5
"""Depth inside the template's channel from which dark voxels stay open whatever the cut says:
twice the usual error of a fitted wall."""
DARK_HU = 150.0
"""Brighter voxels at that depth are bone: fat, roots and contrast-free soft tissue stay below."""
SOFT_MM, SOFT_HU = 0.5, 60.0
"""At this depth what is no brighter than a nerve root is open, whatever the cut says: in severe
osteoporosis fatty marrow is darker than the root, and the wall between them hardly brighter."""
KEPT_OPEN_MM = 3.0
"""Depth from which even bright voxels stay open, so that no channel is lost altogether."""
SEEN_SHARE = 0.6
"""A channel whose core the cut found empty by this much has been seen: its walls are the cut's."""
FAR_MM = 30.0


def envelope(bone: NDArray[np.bool_], fitted: Fitted, grid: Grid) -> NDArray[np.bool_]:
    """(I, J, K) bone with canal and foramina: the closed bone, near the template's envelope."""
    spacing = grid.spacing_mm
    grown = distance_to(bone, spacing) < CLOSING_MM
    closed = distance_to(~grown, spacing) > CLOSING_MM
    hull = voxelise(fitted.hull.vertices, fitted.hull.faces, grid)
    near = distance_to(hull, spacing) <= ENVELOPE_SLACK_MM
    return np.asarray((closed & near) | bone)


def channel_fields(fitted: Fitted, grid: Grid) -> dict[str, NDArray[np.float32]]:
    """Signed distance, mm, to each fitted channel; FAR_MM away from its own box."""
    out = {}
    for name, surface in fitted.channels.items():
        mask = voxelise(surface.vertices, surface.faces, grid)
        field = np.full(grid.shape, FAR_MM, np.float32)
        if mask.any():
            reach = np.ceil((REACH_MM + 5.5) / grid.spacing_mm).astype(int)
            where = np.argwhere(mask)
            low = np.maximum(where.min(axis=0) - reach, 0)
            high = np.minimum(where.max(axis=0) + reach + 1, grid.shape)
            box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
            field[box] = signed_distance(mask[box], grid.spacing_mm)
        out[name] = field
    return out


def split_channels(
    bone: NDArray[np.bool_],
    fields: dict[str, NDArray[np.float32]],
    hull: NDArray[np.bool_],
    image: NDArray[np.float32],
) -> tuple[dict[str, NDArray[np.bool_]], dict[str, float]]:
    """Assign the empty voxels inside the envelope to the nearest channel.

    bone: (I, J, K) the cut. fields: per channel, from channel_fields. hull: the envelope.
    image: (I, J, K) HU. Returns the channels' masks, and the share of each fitted channel's core
    that the cut found empty.
    """
    names = list(fields)
    stacked = np.stack([fields[name] for name in names])
    nearest = stacked.argmin(axis=0)
    distance = stacked.min(axis=0)
    del stacked
    empty = hull & ~bone & (distance < REACH_MM)
    core = hull & ((distance < -CORE_MM) & (image < DARK_HU) | (distance < -KEPT_OPEN_MM))
    soft = hull & (distance < -SOFT_MM) & (image < SOFT_HU)
    out, shares = {}, {}
    for number, name in enumerate(names):
        middle = (fields[name] < -CORE_MM) & hull
        shares[name] = float(np.mean(~bone[middle])) if middle.any() else 0.0
        kept = soft | core if shares[name] < SEEN_SHARE else soft
        mine = (empty | kept) & (nearest == number)
        parts, count = ndimage.label(mine)
        if count > 1:  # crumbs beyond a wall are not the channel
            touching = np.unique(parts[mine & (fields[name] < -CORE_MM)])
            mine = np.isin(parts, touching[touching > 0]) if touching.any() else mine
        out[name] = mine
    return out, shares
