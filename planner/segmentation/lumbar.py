"""L5 near the sacrum as the image shows it, and its two facet joints with S1.

The template's L5 is schematic: its body follows the image, its arch does not. What is bright over
the sacrum and is neither sacrum nor hip is L5, and L4 where that reaches down. A facet joint is
where L5 and the sacrum face each other behind the canal's front.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from planner.geometry.distance import deeper, within
from planner.geometry.grid import Float, Grid
from planner.geometry.smoothing import gaussian
from planner.geometry.voxelise import voxelise
from planner.model.anatomy import SIDES, Side, side_sign
from planner.segmentation.deform import AIR_HU, NOT_IMAGED_HU
from planner.segmentation.fit import Fitted
from planner.segmentation.hips import fill_rings
from planner.segmentation.joint import cortex_hu

LOW = (-60.0, -40.0, -25.0)
HIGH = (60.0, 80.0, 42.0)
"""Where L5 is sought, mm to the left, back and head of the S1 endplate's centre: its transverse
processes end 45 mm beside the midline, its spinous process 75 mm behind, its body 36 mm above."""
FRONT_MM = 4.0
"""In front of the canal, bright is L5 only this near the fitted body: vessels lie there."""
CORE_MM = 1.5
SOFT_HU, BRIGHT_HU = 60.0, (125.0, 200.0)
"""Muscle, and the range in which half the way from it to L5's own cortex, which is down to 0.8 mm
thin and blurred by the slices, is the border of L5: less is noise, more is bright for certain."""
SMOOTHING_MM = 0.7
FAINTEST_HU = 100.0
"""A body whose border is no brighter than this is not L5: the vertebra lies elsewhere."""
HALO_MM = 2.0
"""Bright voxels this near the sacrum are its own blurred cortex, unless L5 itself reaches them."""
LEAST_ML, PIECE_MM = 0.3, 6.0
"""A piece of this size this near L5 is a part of it: an arch whose isthmus is broken, or lost in a
blur. What lies further off is iliac crest, calcified, or the table."""
FACET_MM = 3.0
"""Reach from the voxels of either bone to the middle of a facet joint: its space is 1.5 to 4 mm
wide, and the borders of both bones are up to 1 mm off."""
FACET_LOW, FACET_HIGH = (7.0, 2.0, -18.0), (38.0, 30.0, 32.0)
"""Where a facet joint is, mm beside the midline, behind the endplate's back and above it: S1's
articular processes rise at the corners of the canal, 10 to 30 mm beside the midline."""


@dataclass(frozen=True, eq=False)
class Lumbar:
    """What lies over the sacrum, on one grid: L5, and the facet joint of either side."""

    l5: NDArray[np.bool_]
    facets: dict[Side, NDArray[np.bool_]]


def find_lumbar(
    image: NDArray[np.float32],
    grid: Grid,
    fitted: Fitted,
    sacrum: NDArray[np.bool_],
    others: NDArray[np.bool_],
) -> Lumbar:
    """Find L5 and its facet joints in an image of the sacrum's surroundings.

    image: (I, J, K) HU on an isotropic grid, NOT_IMAGED_HU where the CT does not reach. sacrum:
    (I, J, K) its bone. others: what else is known not to be L5: canal, foramina, hips. Masks are
    empty where the image shows nothing.
    """
    whole = Lumbar(np.zeros(grid.shape, bool), {s: np.zeros(grid.shape, bool) for s in SIDES})
    cortex = cortex_hu(image, grid, fitted.l5)
    if cortex < FAINTEST_HU:
        return whole
    frame = _SacralFrame.of(fitted)
    box, part = _around(grid, frame)
    near = _find(image[box], part, fitted, sacrum[box], others[box], frame, cortex)
    whole.l5[box] = near.l5
    for side in SIDES:
        whole.facets[side][box] = near.facets[side]
    return whole


@dataclass(frozen=True, eq=False)
class _SacralFrame:
    """Axes (3, 3) left, back and head at the fitted endplate's centre; its back's coordinate."""

    axes: Float
    centre: Float
    back_mm: float

    @classmethod
    def of(cls, fitted: Fitted) -> _SacralFrame:
        plate = fitted.sacrum.vertices[fitted.endplate]
        up = fitted.sacrum.normals[fitted.endplate].mean(axis=0)
        left = np.cross((0.0, 1.0, 0.0), up)
        axes = np.stack([left, np.cross(up, left), up])
        axes /= np.linalg.norm(axes, axis=1, keepdims=True)
        centre = plate.mean(axis=0)
        return cls(axes, centre, float(((plate - centre) @ axes[1]).max()))


def _around(grid: Grid, frame: _SacralFrame) -> tuple[tuple[slice, ...], Grid]:
    """The part of a grid in which L5 is sought, as slices and grid."""
    corners = np.array(list(product(*zip(LOW, HIGH, strict=True)))) @ frame.axes + frame.centre
    ijk = grid.to_ijk(corners)
    low = np.clip(np.floor(ijk.min(axis=0)).astype(int), 0, np.array(grid.shape) - 1)
    high = np.clip(np.ceil(ijk.max(axis=0)).astype(int) + 1, low + 1, grid.shape)
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True)), grid.crop(
        low, high
    )


def _find(
    image: NDArray[np.float32],
    grid: Grid,
    fitted: Fitted,
    sacrum: NDArray[np.bool_],
    others: NDArray[np.bool_],
    frame: _SacralFrame,
    cortex: float,
) -> Lumbar:
    """What find_lumbar does, on the part of its grid where L5 can be."""
    spacing = grid.spacing_mm
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)
    local = (grid.to_patient(index) - frame.centre) @ frame.axes.T
    x, y, z = np.moveaxis(local, -1, 0)
    behind = y > frame.back_mm
    body = voxelise(fitted.l5.vertices, fitted.l5.faces, grid)
    shown = image > NOT_IMAGED_HU / 2
    free = ((local > LOW) & (local < HIGH)).all(axis=-1) & ~sacrum & ~others & shown
    bright_hu = np.clip(0.5 * (SOFT_HU + cortex), *BRIGHT_HU)
    bright = (
        free
        & (gaussian(np.where(shown, image, AIR_HU), SMOOTHING_MM / spacing) > bright_hu)
        & (behind | within(body, spacing, FRONT_MM))
    )
    core = free & deeper(body, spacing, CORE_MM) & ~behind
    grown = _pieces(core | (bright & ~within(sacrum, spacing, HALO_MM)), core, spacing)
    grown |= bright & within(grown, spacing, HALO_MM)
    l5 = fill_rings(grown, axes=(0, 1)) & free  # across the third axis the canal is a ring
    facing = within(l5, spacing, FACET_MM) & within(sacrum, spacing, FACET_MM) & free & ~l5
    facets: dict[Side, NDArray[np.bool_]] = {}
    for side in SIDES:
        place = np.stack([side_sign(side) * x, y - frame.back_mm, z], axis=-1)
        facets[side] = _largest(facing & ((place > FACET_LOW) & (place < FACET_HIGH)).all(axis=-1))
    return Lumbar(l5, facets)


def _pieces(
    mask: NDArray[np.bool_], core: NDArray[np.bool_], spacing_mm: Float
) -> NDArray[np.bool_]:
    """The connected pieces of a mask that hold a part of the core, or are large and near those."""
    parts, count = ndimage.label(mask)
    wanted = np.zeros(count + 1, bool)
    wanted[parts[core]] = True
    near = np.zeros(count + 1, bool)
    near[parts[within(wanted[parts] & mask, spacing_mm, PIECE_MM)]] = True
    least = LEAST_ML * 1000.0 / float(np.prod(spacing_mm))
    wanted |= near & (np.bincount(parts.ravel(), minlength=count + 1) >= least)
    wanted[0] = False
    return np.asarray(wanted[parts])


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest connected piece of a mask; none where it is empty."""
    parts, count = ndimage.label(mask, np.ones((3, 3, 3)))
    if not count:
        return mask
    return np.asarray(parts == np.bincount(parts.ravel())[1:].argmax() + 1)
