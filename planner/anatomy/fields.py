"""Clearance fields of an anatomy: how far every point near the sacrum is from what must stay whole.

All fields are signed distances in mm, negative where a needle must not be, on one isotropic grid
along the axes of the sacral frame. The solid is the sacrum with its canal and foramina filled in
(and pockets enclosed by bone): inside it the distance to a cortex is positive. A point outside the
solid has left the bone: the cortex region nearest to it is breached there and carries the negative
distance, so that a gap inside bone never counts as a cortex and an exit is never silent.

Foramina and canal come from the label map, cortices from the regions of the anatomy's surface.
`meshes` keeps the same surfaces as triangles for exact distances. Sub-voxel figures: the label
borders are smoothed by SMOOTHING_MM, which moves a wall of radius R by SMOOTHING_MM^2 / (2 R).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from planner.errors import UntrustedAnatomyError
from planner.geometry.capsules import Triangles
from planner.geometry.distance import isosurface, signed_distance
from planner.geometry.fields import FAR_MM, Field
from planner.geometry.grid import Float, Grid
from planner.geometry.propagation import nearest_seed_distances
from planner.geometry.sampling import resample
from planner.model.anatomy import LABELS, Anatomy, Region
from planner.model.trajectory import Structure

WORKING_SPACING_MM = 1.0
HIP_SPACING_MM = 1.5
SMOOTHING_MM = 0.5
MARGIN_MM = 10.0
# Cortex distances are computed in the solid and this far outside it; a needle beyond has crossed
# the band before, and was negative there.
BAND_MM = 4.0
# Beyond this no distance decides anything (preferred clearances end at 5 mm by default).
CAP_MM = 20.0
# Length of the shaft outside the bone that must stay clear of the hips (techniques: 110 mm).
SHAFT_MM = 110.0
NORMAL_SMOOTHING_MM = 1.5

GUARDED = (
    Structure.FORAMINA,
    Structure.CANAL,
    Structure.ANTERIOR,
    Structure.SACROILIAC,
    Structure.SUPERIOR,
)
"""Structures that are never exempt, in the order of the stack."""
COUNTED = (*GUARDED, Structure.POSTERIOR)
"""What every figure and rank counts: the posterior cortex too, once the entry is settled."""

CORTEX_REGIONS: dict[Structure, tuple[Region, ...]] = {
    Structure.ANTERIOR: (Region.ANTERIOR,),
    Structure.SACROILIAC: (Region.SACROILIAC,),
    Structure.SUPERIOR: (Region.SUPERIOR,),
    Structure.POSTERIOR: (Region.POSTERIOR, Region.INFERIOR),
}
"""Regions of the outer surface that make up each cortex; the lower tail counts as posterior."""


@dataclass(frozen=True, eq=False)
class ClearanceFields:
    """Fields and surfaces to measure needles against.

    solid: signed distance to the outer border, negative inside. labelled: on the labels' own grid,
    -0.5 in voxels of the solid and 0.5 beside them. stack: (I, J, K, 6) GUARDED then
    the posterior cortex, on solid.grid. hips: own grid. foramen_fields: per foramen name.
    meshes: triangles by foramen name, `sacral_canal` or cortex structure.
    """

    solid: Field
    labelled: Field
    stack: NDArray[np.float32]
    hips: Field
    has_hips: bool
    label_fields: dict[str, Field]
    meshes: dict[str, Triangles]

    @property
    def grid(self) -> Grid:
        """The working grid."""
        return self.solid.grid

    @cached_property
    def guarded(self) -> Field:
        """Least distance to any guarded structure."""
        return Field(self.grid, np.ascontiguousarray(self.stack[..., : len(GUARDED)].min(axis=3)))

    @cached_property
    def guarded_stack(self) -> NDArray[np.float32]:
        """(I, J, K, 5) distances to the guarded structures."""
        return np.ascontiguousarray(self.stack[..., : len(GUARDED)])

    def of(self, structure: Structure) -> Field:
        """Return the field of one structure."""
        return self._each[structure]

    @cached_property
    def _each(self) -> dict[Structure, Field]:
        return {
            structure: Field(self.grid, np.ascontiguousarray(self.stack[..., n]))
            for n, structure in enumerate(COUNTED)
        }

    @property
    def posterior(self) -> Field:
        """Field of the posterior cortex."""
        return self.of(Structure.POSTERIOR)

    @property
    def anterior(self) -> Field:
        """Field of the anterior cortex."""
        return self.of(Structure.ANTERIOR)

    @property
    def foramina(self) -> Field:
        """Field of the foramina."""
        return self.of(Structure.FORAMINA)

    @cached_property
    def _rounded(self) -> Field:
        sigma = NORMAL_SMOOTHING_MM / self.solid.step_mm
        values = np.clip(self.solid.values, -CAP_MM, CAP_MM)
        return Field(self.grid, ndimage.gaussian_filter(values, sigma, truncate=3.0))

    def normals(self, points: Float) -> Float:
        """(N, 3) outward unit normals of the smoothed solid at (N, 3) patient points."""
        return self._rounded.gradient_at(points, NORMAL_SMOOTHING_MM)


_CACHE: WeakKeyDictionary[Anatomy, ClearanceFields] = WeakKeyDictionary()


def clearance_fields(anatomy: Anatomy) -> ClearanceFields:
    """Build (once per anatomy) its clearance fields.

    Raises UntrustedAnatomyError when a structure that must be kept clear of was not found.
    """
    found = _CACHE.get(anatomy)
    if found is None:
        found = _CACHE[anatomy] = _build(anatomy)
    return found


def _build(anatomy: Anatomy) -> ClearanceFields:
    _require(anatomy)
    labels, whole = anatomy.ordered
    start, stop = _box(anatomy)
    crop = whole.crop(start, stop)
    labels = labels[start[0] : stop[0], start[1] : stop[1], start[2] : stop[2]]
    foramina = [item.name for item in anatomy.foramina]
    void = np.isin(labels, [LABELS[n] for n in (*foramina, "sacral_canal")])
    body = ndimage.binary_fill_holes((labels == LABELS["sacrum"]) | void)
    corners = crop.to_patient(np.argwhere(body))
    grid = Grid.around(
        corners,
        WORKING_SPACING_MM,
        MARGIN_MM,
        anatomy.frame.axes,
        anatomy.grid.frame_of_reference_uid,
    )
    solid = _onto(grid, crop, body)
    meshes, label_fields, unions = _label_structures(labels, crop, foramina)
    stack = np.empty((*grid.shape, len(COUNTED)), np.float32)
    stack[..., 0] = _onto(grid, crop, unions[0]).values
    stack[..., 1] = _onto(grid, crop, unions[1]).values
    for structure, regions in CORTEX_REGIONS.items():
        meshes[structure] = Triangles.of(*anatomy.surface.part(*regions))
    stack[..., 2:] = _cortex_distances(solid, meshes)
    np.clip(stack, -CAP_MM, CAP_MM, out=stack)
    stack.setflags(write=False)
    hips, has_hips = _hip_field(anatomy, grid)
    labelled = Field(crop, np.where(body, np.float32(-0.5), np.float32(0.5)), 0.5)
    return ClearanceFields(solid, labelled, stack, hips, has_hips, label_fields, meshes)


def _require(anatomy: Anatomy) -> None:
    missing = [n for n in ("sacrum", "sacral_canal") if not anatomy.mask(n).any()]
    if not anatomy.foramina:
        missing.append("foramina")
    for structure, regions in CORTEX_REGIONS.items():
        if len(anatomy.surface.part(*regions)[1]) == 0:
            missing.append(structure.value)
    if missing:
        raise UntrustedAnatomyError(
            f"no clearance can be given: the anatomy has no {', '.join(missing)}; expected labels "
            "and surface regions for each; segment again or provide a label map that has them."
        )


def _box(anatomy: Anatomy) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the index box of sacrum, canal and foramina, with a margin inside the grid."""
    names = ["sacrum", "sacral_canal", *(item.name for item in anatomy.foramina)]
    labels, grid = anatomy.ordered
    wanted = np.isin(labels, [LABELS[n] for n in names])
    start, stop = [], []
    for axis in range(3):
        other = tuple(a for a in range(3) if a != axis)
        hit = np.flatnonzero(wanted.any(axis=other))
        pad = int(np.ceil(MARGIN_MM / grid.spacing_mm[axis]))
        start.append(max(0, int(hit[0]) - pad))
        stop.append(min(grid.shape[axis], int(hit[-1]) + 1 + pad))
    return np.array(start), np.array(stop)


def _onto(grid: Grid, crop: Grid, mask: NDArray[np.bool_]) -> Field:
    """Signed distance of a mask, computed on its own grid, on the working grid."""
    field = signed_distance(mask, crop.spacing_mm, SMOOTHING_MM)
    values = np.asarray(resample(field, crop, grid, CAP_MM), np.float32)
    return Field(grid, np.ascontiguousarray(values), CAP_MM)


def _label_structures(
    labels: NDArray[np.uint8], crop: Grid, foramina: list[str]
) -> tuple[dict[str, Triangles], dict[str, Field], list[NDArray[np.bool_]]]:
    """Meshes and fields per channel, and the masks of all foramina and of the canal."""
    meshes, fields = {}, {}
    for name in (*foramina, "sacral_canal"):
        mask = labels == LABELS[name]
        if not mask.any():
            raise UntrustedAnatomyError(
                f"{name} is listed in the anatomy but has no voxel in its label map; segment again."
            )
        where = ndimage.find_objects(mask.astype(np.uint8))[0]
        pad = 1 + np.ceil(4 * SMOOTHING_MM / crop.spacing_mm).astype(int)
        low = np.maximum([s.start for s in where] - pad, 0)
        high = np.minimum([s.stop for s in where] + pad, labels.shape)
        part = mask[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
        grid = crop.crop(low, high)
        values = signed_distance(part, crop.spacing_mm, SMOOTHING_MM)
        fields[name] = Field(grid, values, CAP_MM)
        meshes[name] = Triangles.of(*isosurface(values, grid))
    union = np.isin(labels, [LABELS[n] for n in foramina])
    return meshes, fields, [union, labels == LABELS["sacral_canal"]]


def _cortex_distances(solid: Field, meshes: dict[str, Triangles]) -> NDArray[np.float32]:
    """(I, J, K, 4) signed distances to the cortices in the order of CORTEX_REGIONS."""
    wanted = solid.values < BAND_MM
    out = np.empty((*solid.grid.shape, len(CORTEX_REGIONS)), np.float32)
    for column, structure in enumerate(CORTEX_REGIONS):
        corners = meshes[structure].corners
        seeds = np.vstack([meshes[structure].centres, corners.reshape(-1, 3)])
        out[..., column] = nearest_seed_distances(seeds, solid.grid, wanted, CAP_MM)
    outside = np.argwhere(wanted & (solid.values > 0))
    nearest = out[tuple(outside.T)].argmin(axis=1)
    out[(*outside.T, nearest)] = -solid.values[tuple(outside.T)]
    return out


def _hip_field(anatomy: Anatomy, near: Grid) -> tuple[Field, bool]:
    """Signed distance to both hips where 110 mm of shaft behind and below the sacrum may lie."""
    axes = anatomy.frame.axes
    local = near.corners() @ axes
    low = local.min(axis=0) - (10.0, 0.0, SHAFT_MM)
    high = local.max(axis=0) + (10.0, SHAFT_MM, 20.0)
    box = np.array([low, high]) @ axes.T
    wide = Grid.around(box, HIP_SPACING_MM, 0.0, axes, anatomy.grid.frame_of_reference_uid)
    names = ("hip_left", "hip_right")
    labels, grid = anatomy.ordered
    mask = np.isin(labels, [LABELS[n] for n in names])
    if mask.any():
        moved = resample(mask.astype(np.uint8), grid, wide, 0.0, nearest=True) > 0
        if moved.any():
            values = signed_distance(moved, wide.spacing_mm, HIP_SPACING_MM / 2)
            return Field(wide, values, FAR_MM), True
    return Field(wide, np.full(wide.shape, CAP_MM, np.float32), FAR_MM), False
