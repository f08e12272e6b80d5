"""Where the skin is: the body in a CT, and the way a needle takes through soft tissue.

The body is the largest connected part above AIR_HU, opened so that a table or a tube touching it
falls off, and filled slice by slice so that bowel gas counts as body. Values below NOT_IMAGED_HU
were never measured (padding around the reconstruction circle) and are not air: skin is only skin
where the CT shows air in front of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from planner.errors import UnsuitableCtError
from planner.geometry.distance import signed_distance
from planner.geometry.fields import Field
from planner.geometry.grid import Float, Grid
from planner.geometry.order import in_common_order
from planner.model.volume import Volume

# Halfway between air (-1000) and skin, fat included (-100): the middle of a blurred edge is there.
AIR_HU = -300.0
NOT_IMAGED_HU = -1100.0
BODY_SPACING_MM = 2.5
# A table's shell and a mattress cover are thinner than this; the trunk nowhere is.
OPENING_MM = 6.0
# Handle and hub behind the skin: the needle must not meet the body again within this length.
HUB_MM = 60.0
WALK_STEP_MM = 1.0


@dataclass(frozen=True, eq=False)
class Body:
    """The patient's body. field: signed distance (mm) to the skin, negative inside.

    imaged: (I, J, K) voxels of the field's grid that the CT measured.
    """

    field: Field
    imaged: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class WayOut:
    """The way from bone entries back to the skin.

    skin: (N, 3) where a needle passes the skin, or leaves the field of view.
    soft_tissue_mm: (N,) from skin to bone entry. reached: (N,) whether skin was reached.
    crossings: (N,) how often skin is passed, 2 where the needle meets the body again.
    """

    skin: Float
    soft_tissue_mm: Float
    reached: NDArray[np.bool_]
    crossings: NDArray[np.int64]


_CACHE: WeakKeyDictionary[Volume, Body] = WeakKeyDictionary()


def body_of(volume: Volume) -> Body:
    """Find (once per volume) the body; raises UnsuitableCtError where the CT shows none."""
    found = _CACHE.get(volume)
    if found is None:
        found = _CACHE[volume] = _find(volume)
    return found


def _find(volume: Volume) -> Body:
    stored, lattice = in_common_order(volume.values, volume.grid)
    steps = np.maximum(1, np.round(BODY_SPACING_MM / lattice.spacing_mm)).astype(int)
    values = stored[:: steps[0], :: steps[1], :: steps[2]]
    affine = lattice.patient_from_ijk.copy()
    affine[:3, :3] *= steps
    shape = (values.shape[0], values.shape[1], values.shape[2])
    grid = Grid(shape, affine, volume.grid.frame_of_reference_uid)
    tissue = values > AIR_HU
    if not tissue.any():
        raise UnsuitableCtError(
            f"no body was found in the CT: no value lies above {AIR_HU:.0f} HU; the values range "
            f"from {values.min()} to {values.max()}. Check that the series is in Hounsfield units."
        )
    tissue = _fill(_largest(_open(tissue, grid)), grid)
    field = signed_distance(tissue, grid.spacing_mm, BODY_SPACING_MM / 2)
    return Body(Field(grid, field, np.nan), values > NOT_IMAGED_HU)


def _open(mask: NDArray[np.bool_], grid: Grid) -> NDArray[np.bool_]:
    """Open by a ball; the border of the volume does not erode, so a cropped body stays whole."""
    field = signed_distance(mask, grid.spacing_mm)
    core = field < -OPENING_MM / 2
    if not core.any():
        return mask
    return np.asarray(mask & (signed_distance(core, grid.spacing_mm) < OPENING_MM / 2 + 1.0))


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    parts, count = ndimage.label(mask)
    if count <= 1:
        return mask
    return np.asarray(parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:])))


def _fill(mask: NDArray[np.bool_], grid: Grid) -> NDArray[np.bool_]:
    """Fill holes in the slices across the patient's long axis (LPS z)."""
    axis = int(np.argmax(np.abs(grid.direction[2])))
    out = mask.copy()
    for n in range(mask.shape[axis]):
        index: list[int | slice] = [slice(None)] * 3
        index[axis] = n
        out[tuple(index)] = ndimage.binary_fill_holes(mask[tuple(index)])
    return out


def way_out(body: Body, entries: Float, directions: Float, reach_mm: float) -> WayOut:
    """Walk from (N, 3) bone entries against (N, 3) unit needle directions to the skin.

    reach_mm: longest walk. A walk that leaves the CT or meets padding first has not reached skin.
    """
    depths = np.arange(0.0, reach_mm + HUB_MM + WALK_STEP_MM, WALK_STEP_MM)
    points = entries[:, None, :] - depths[:, None] * directions[:, None, :]
    ijk = body.field.grid.to_ijk(points)
    inside_grid = ((ijk >= 0) & (ijk <= np.array(body.imaged.shape) - 1)).all(axis=2)
    near = np.clip(np.round(ijk).astype(int), 0, np.array(body.imaged.shape) - 1)
    known = inside_grid & body.imaged[near[..., 0], near[..., 1], near[..., 2]]
    values = np.where(inside_grid, body.field.at(points), np.nan)
    air = np.where(inside_grid, values > 0, True)
    first = np.where(air.any(axis=1), air.argmax(axis=1), len(depths) - 1)
    rows = np.arange(len(entries))
    reached = air.any(axis=1) & known[rows, first] & (depths[first] <= reach_mm) & (first > 0)
    before, after = values[rows, np.maximum(first - 1, 0)], values[rows, first]
    part = np.divide(-before, after - before, out=np.zeros(len(rows)), where=reached)
    soft = np.where(reached, depths[np.maximum(first - 1, 0)] + part * WALK_STEP_MM, depths[first])
    beyond = (np.arange(len(depths)) > first[:, None]) & (depths <= depths[first][:, None] + HUB_MM)
    again = (beyond & inside_grid & (values < 0)).any(axis=1)
    skin = entries - soft[:, None] * directions
    return WayOut(skin, soft, reached, np.where(again, 2, 1))
