"""The working copy of a label map: cropped to the sacrum, fine enough everywhere, with its surface.

Everything here is a function of the label map and its grid alone. The crop is anchored at voxels
and thick axes are split into whole parts, so equal labels give equal numbers wherever they were
cut from. Distances are negative inside bone, in mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from planner.anatomy.patches import smooth_over_mesh
from planner.errors import UntrustedAnatomyError
from planner.geometry.distance import distance_to, face_normals, isosurface, signed_distance
from planner.geometry.grid import Float, Grid
from planner.geometry.sampling import resample, sample
from planner.model.anatomy import LABELS, LEVELS, SIDES

MARGIN_MM = 12.0
"""Reach beyond the sacrum: the 4 mm of the joint, and room for the fields' smoothing."""
COARSEST_MM = 1.3
"""Axes with larger spacing are split: triangles stay near 1 mm and thin slices stay whole."""
FINEST_MM = 0.7
"""Axes with smaller spacing are thinned out for the surface, which would quadruple otherwise."""
SURFACE_MM = 0.85
SMOOTH_MM = 0.6
"""Sigma on the signed distance: takes the staircase off, moves a 5 mm curve by 0.07 mm."""
SMOOTH_PER_SPACING = 0.35
"""Sigma along an axis is at least this part of its spacing, or 3 mm slices remain as steps."""
FRAGMENT_MM3 = 500.0
"""Loose parts of the sacrum label smaller than this are specks, larger ones (coccyx) bone."""
SMALLEST_SACRUM_MM3 = 40_000.0
"""Adult sacra measure 150 to 260 ml; a third of that is a cut-off or a failed one."""

FAR_MM = 1000.0
NORMAL_ROUNDS = 4
"""Normals are averaged this often over neighbouring triangles: the staircase of voxels goes, ridges
of 3 mm stay."""
Box = tuple[NDArray[np.int64], NDArray[np.int64]]
FORAMINA = tuple(f"foramen_{level.lower()}_{side}" for level in LEVELS for side in SIDES)


@dataclass(frozen=True, eq=False)
class Material:
    """A sacrum cut out of its label map.

    grid: the crop, split along thick axes. labels: (I, J, K) uint8 on it.
    bone: (I, J, K) the sacrum without specks and without cavities that nothing opens into.
    field: (I, J, K) smoothed signed distance to that bone, mm.
    vertices, faces: its closed surface, patient LPS, mm, facing outwards.
    """

    grid: Grid
    labels: NDArray[np.uint8]
    bone: NDArray[np.bool_]
    field: NDArray[np.float32]
    vertices: Float
    faces: NDArray[np.int64]

    @cached_property
    def centres(self) -> Float:
        """(F, 3) centres of the triangles, patient LPS, mm."""
        return np.asarray(self.vertices[self.faces].mean(axis=1))

    @cached_property
    def areas(self) -> Float:
        """(F,) areas of the triangles, mm2."""
        a, b, c = (self.vertices[self.faces[:, n]] for n in range(3))
        return np.asarray(0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1))

    @cached_property
    def normals(self) -> Float:
        """(F, 3) unit normals of the triangles, outwards, averaged over their neighbourhood."""
        rough = smooth_over_mesh(face_normals(self.vertices, self.faces), self.faces, NORMAL_ROUNDS)
        length = np.linalg.norm(rough, axis=1, keepdims=True)
        return np.asarray(rough / np.maximum(length, 1e-9))

    @cached_property
    def boxes(self) -> dict[str, Box]:
        """Index box (start, stop) of every segment present."""
        found = ndimage.find_objects(self.labels, max_label=max(LABELS.values()))
        return {
            name: (np.array([s.start for s in where]), np.array([s.stop for s in where]))
            for name, value in LABELS.items()
            if (where := found[value - 1]) is not None
        }

    def box(self, names: tuple[str, ...], margin_mm: float) -> Box | None:
        """Index box around the named segments and a margin; None where all are absent."""
        mine = [self.boxes[name] for name in names if name in self.boxes]
        if not mine:
            return None
        reach = np.ceil(margin_mm / self.grid.spacing_mm).astype(int)
        start = np.min([b[0] for b in mine], axis=0) - reach
        stop = np.max([b[1] for b in mine], axis=0) + reach
        return np.maximum(start, 0), np.minimum(stop, self.labels.shape)

    def cut(self, box: Box) -> tuple[Grid, tuple[slice, ...]]:
        """Grid and array slices of an index box."""
        where = tuple(slice(int(a), int(b)) for a, b in zip(*box, strict=True))
        return self.grid.crop(*box), where

    def points(self, name: str) -> Float:
        """(N, 3) voxel centres of a segment, patient LPS, mm; none where it is absent."""
        box = self.box((name,), 0.0)
        if box is None:
            return np.empty((0, 3))
        grid, where = self.cut(box)
        return grid.to_patient(np.argwhere(self.labels[where] == LABELS[name]))

    def near(self, names: tuple[str, ...], points: Float, reach_mm: float) -> Float:
        """(N,) distance (mm) of points from the named segments' border; no less than -half a voxel.

        Beyond reach_mm the answer is larger than reach_mm, but no distance; FAR_MM where the
        segments are absent.
        """
        box = self.box(names, reach_mm + 2.0 * float(self.grid.spacing_mm.max()))
        if box is None:
            return np.full(len(points), FAR_MM)
        grid, where = self.cut(box)
        mask = np.isin(self.labels[where], [LABELS[name] for name in names])
        far = distance_to(mask, grid.spacing_mm) - 0.5 * float(grid.spacing_mm.min())
        return np.asarray(sample(far, grid, points, 2.0 * reach_mm + 10.0), float)


def prepare(labels: NDArray[np.uint8], grid: Grid) -> Material:
    """Cut the sacrum out of a label map and build its fields and surface.

    Raises ValueError when labels do not fit the grid or hold unknown values, and
    UntrustedAnatomyError when there is no sacrum or no canal to speak of.
    """
    _check_labels(labels, grid)
    sacrum = labels == LABELS["sacrum"]
    volume = float(sacrum.sum()) * float(np.prod(grid.spacing_mm))
    if volume < SMALLEST_SACRUM_MM3:
        raise UntrustedAnatomyError(
            f"the label map holds {volume / 1000:.0f} ml of sacrum, an adult's has at least "
            f"{SMALLEST_SACRUM_MM3 / 1000:.0f} ml: the sacrum is cut off by the scan or was not "
            "found. Check the segmentation or supply one with --anatomy."
        )
    if not (labels == LABELS["sacral_canal"]).any():
        raise UntrustedAnatomyError(
            "the label map holds no sacral_canal; without it neither the midline nor the "
            "posterior wall is known. Check the segmentation or supply one with --anatomy."
        )
    reach = np.ceil(MARGIN_MM / grid.spacing_mm).astype(int)
    occupied = [
        np.flatnonzero(sacrum.any(axis=tuple(a for a in range(3) if a != n))) for n in range(3)
    ]
    start = np.maximum([o[0] for o in occupied] - reach, 0)
    stop = np.minimum([o[-1] + 1 for o in occupied] + reach, grid.shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
    return _build(np.ascontiguousarray(labels[box]), grid.crop(start, stop))


def _check_labels(labels: NDArray[np.uint8], grid: Grid) -> None:
    if labels.shape != grid.shape:
        raise ValueError(f"labels of shape {labels.shape} do not fit the grid {grid.shape}")
    if labels.dtype != np.uint8:
        raise ValueError(f"labels must be uint8 with the values of LABELS, got {labels.dtype}")
    highest = int(labels.max(initial=0))
    if highest > max(LABELS.values()):
        raise ValueError(f"labels hold the value {highest}, the highest of LABELS is {len(LABELS)}")


def _build(labels: NDArray[np.uint8], crop: Grid) -> Material:
    bone = _clean(labels, crop)
    rough = signed_distance(bone, crop.spacing_mm)
    factors = np.maximum(np.ceil(crop.spacing_mm / COARSEST_MM), 1).astype(int)
    grid = crop.subdivide((int(factors[0]), int(factors[1]), int(factors[2])))
    field = refine(rough, crop, grid)
    vertices, faces = _surface(field, grid)
    for axis, factor in enumerate(factors):
        labels, bone = np.repeat(labels, factor, axis), np.repeat(bone, factor, axis)
    return Material(grid, labels, bone, field, vertices, faces)


def refine(rough: NDArray[np.float32], crop: Grid, grid: Grid) -> NDArray[np.float32]:
    """Carry a signed distance onto the split grid and smooth it there.

    Distances, unlike masks, are nearly linear between slices, so that a surface that slants
    through thick slices comes out as a slope.
    """
    if grid.shape != crop.shape:
        rough = np.asarray(resample(rough, crop, grid, float(rough.max())), np.float32)
    width = np.maximum(SMOOTH_MM, SMOOTH_PER_SPACING * crop.spacing_mm) / grid.spacing_mm
    return np.asarray(ndimage.gaussian_filter(rough, tuple(width), mode="nearest", truncate=3.0))


def _surface(field: NDArray[np.float32], grid: Grid) -> tuple[Float, NDArray[np.int64]]:
    """Triangulate the zero of a field with edges of about 1 mm."""
    spacing = grid.spacing_mm
    if (spacing >= FINEST_MM).all():
        return isosurface(field, grid)
    wanted = np.where(spacing < FINEST_MM, SURFACE_MM, spacing)
    size = np.ceil(np.array(grid.shape) * spacing / wanted).astype(int) + 1
    thinned = Grid.from_axes(
        (int(size[0]), int(size[1]), int(size[2])), grid.origin, wanted, grid.direction
    )
    return isosurface(resample(field, grid, thinned, float(field.max())), thinned)


def _clean(labels: NDArray[np.uint8], grid: Grid) -> NDArray[np.bool_]:
    """Fill cavities that nothing opens into and drop specks; channels and the canal stay open."""
    bone = labels == LABELS["sacrum"]
    open_space = np.isin(labels, [LABELS[name] for name in ("sacral_canal", *FORAMINA)])
    empty, _ = ndimage.label(~(bone | open_space))
    rim = np.concatenate([np.unique(empty.take((0, -1), axis=axis)) for axis in range(3)])
    bone = ~open_space & (bone | ~np.isin(empty, [0, *rim.tolist()]) & (empty > 0))
    parts, count = ndimage.label(bone, ndimage.generate_binary_structure(3, 3))
    if count > 1:
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        voxel_mm3 = float(np.prod(grid.spacing_mm))
        keep = sizes * voxel_mm3 >= FRAGMENT_MM3
        keep[sizes.argmax()] = True
        bone = keep[parts]
    return np.asarray(bone, bool)
