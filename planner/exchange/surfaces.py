"""Closed surfaces for other programs: of every segment, and of the needles.

Points are patient LPS, mm; triangles face outwards. A segment's surface is smoothed over its
voxels, at the level that holds their volume, and then thinned: no point of the thinned surface is
further than THINNED_MM from the smooth one, nor the other way round, at all vertices and all
centres of triangles. That is measured for each surface; one that cannot be thinned within it stays
as it is. A structure that the grid's border cuts is closed by a flat face near its last voxel
centres.
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import vtk
from numpy.typing import NDArray
from scipy import ndimage
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from planner.exchange.handover import Handover
from planner.export.flat import skin_shown
from planner.export.plan_document import TrajectoryObject
from planner.geometry.distance import box_around, enclosed_volume, isosurface, to_polydata
from planner.geometry.grid import Float, Grid
from planner.model.anatomy import LABELS, Anatomy

THINNED_MM = 0.2
"""Thinning moves a surface by no more than this."""
THINNER = (0.8, 0.7, 0.5)
"""Parts of the triangles that thinning tries to take away, in turn."""
SIGMA_VOXELS = 0.7
"""Smoothing: it takes the staircase off a border, and leaves narrow channels open."""
BESIDE = 1e-3
"""How far beside the value of a voxel a level is kept."""
SIDES = 48
"""Of a needle's cylinder: between its corners it is 0.2 % of the radius too thin."""

Faces = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Surface:
    """A closed surface.

    vertices: (V, 3) patient LPS, mm. faces: (F, 3), facing outwards. thinned_mm: the largest
    distance that thinning moved it; smooth_faces: triangles before it. voxels_ml: volume of the
    segment's voxels.
    """

    name: str
    vertices: Float
    faces: Faces
    thinned_mm: float = 0.0
    smooth_faces: int = 0
    voxels_ml: float = 0.0

    @property
    def volume_ml(self) -> float:
        """The volume inside."""
        return enclosed_volume(self.vertices, self.faces) / 1000.0


_MADE: WeakKeyDictionary[Anatomy, tuple[Surface, ...]] = WeakKeyDictionary()


def segment_surfaces(handover: Handover) -> tuple[Surface, ...]:
    """Make the surface of every segment that has voxels, in the order of LABELS.

    They are made once for an anatomy, as several formats want them.
    """
    anatomy = handover.opened.anatomy
    if anatomy not in _MADE:
        made = (surface_of(name, anatomy.mask(name), anatomy.grid) for name in LABELS)
        _MADE[anatomy] = tuple(item for item in made if item is not None)
    return _MADE[anatomy]


def surface_of(name: str, mask: NDArray[np.bool_], grid: Grid) -> Surface | None:
    """Make the surface of an (I, J, K) mask; None where it is empty."""
    if not mask.any():
        return None
    reach = (np.ceil(3.0 * SIGMA_VOXELS) + 1.0) * float(grid.spacing_mm.max())
    box = box_around(mask, grid.spacing_mm, reach)
    part = mask[box].astype(np.float32)
    here = grid.crop([s.start for s in box], [s.stop for s in box])
    soft = ndimage.gaussian_filter(part, SIGMA_VOXELS, mode="nearest")
    vertices, faces = isosurface(_level(soft, int(mask.sum())) - soft, here)
    voxels_ml = float(part.sum()) * abs(float(np.linalg.det(grid.patient_from_ijk[:3, :3]))) / 1e3
    thin, thinned, moved = _thin(vertices, faces)
    return Surface(name, thin, thinned, moved, len(faces), voxels_ml)


def _level(soft: NDArray[np.float32], voxels: int) -> float:
    """Level of a smoothed mask that as many voxels lie above as the mask has.

    At one half, what is narrow would shrink: foramina of a few voxels by a tenth of their volume,
    which would draw them further from a needle than they are.
    """
    if voxels >= soft.size:
        return 0.5
    two = np.partition(soft.ravel(), (-voxels - 1, -voxels))[[-voxels - 1, -voxels]]
    if two[0] == two[1]:  # no level is between them; a surface through voxel centres is no good
        return float(two[0]) - BESIDE
    return float(two.mean())


def needle_surface(item: TrajectoryObject) -> Surface:
    """Make the needle of a path: a closed cylinder of its outer diameter, from tip to `needle_end`.

    The tip is a flat face: the bevel is not drawn.
    """
    tip, end = np.array(item.tip_mm, float), needle_end(item)
    along = (tip - end) / np.linalg.norm(tip - end)
    across = np.cross(along, np.eye(3)[int(np.argmin(np.abs(along)))])
    across /= np.linalg.norm(across)
    angle = 2.0 * np.pi * np.arange(SIDES)[:, None] / SIDES
    ring = np.cos(angle) * across + np.sin(angle) * np.cross(along, across)
    ring *= item.needle.outer_diameter_mm / 2.0
    vertices = np.vstack([end + ring, tip + ring, end[None], tip[None]])
    here = np.arange(SIDES)
    after = (here + 1) % SIDES
    back, front = np.full(SIDES, 2 * SIDES), np.full(SIDES, 2 * SIDES + 1)
    corners = [
        (here, after, here + SIDES),
        (after, after + SIDES, here + SIDES),
        (back, after, here),
        (front, here + SIDES, after + SIDES),
    ]
    faces = np.vstack([np.column_stack(each) for each in corners]).astype(np.int64)
    return Surface(item.id, vertices, faces, smooth_faces=len(faces))


def path_start(item: TrajectoryObject) -> Float:
    """(3,) where a path begins as far as it is known: the skin entry, else the bone entry."""
    return np.array(item.skin_entry_mm if skin_shown(item) else item.bone_entry_mm, float)


def needle_end(item: TrajectoryObject) -> Float:
    """(3,) where a needle's shaft ends behind: at its hub where the needle's length is known.

    Elsewhere it is drawn to where the path begins.
    """
    length = None if item.guidance is None else item.guidance.needle_length_mm
    if length is None or not skin_shown(item):
        return path_start(item)
    tip, bone = np.array(item.tip_mm, float), np.array(item.bone_entry_mm, float)
    return np.asarray(tip - length * (tip - bone) / np.linalg.norm(tip - bone))


def _thin(vertices: Float, faces: Faces) -> tuple[Float, Faces, float]:
    """Thin a closed surface within THINNED_MM; returns the distance it moved, too."""
    middle = vertices.mean(axis=0)  # about its own middle, as scanners may count far
    smooth = to_polydata(vertices - middle, faces)
    for part in THINNER:
        thinner = vtk.vtkQuadricDecimation()
        thinner.SetInputData(smooth)
        thinner.SetTargetReduction(part)
        thinner.VolumePreservationOn()
        thinner.Update()
        thin, triangles = _stored(*_arrays(thinner.GetOutput(), middle))
        if len(triangles) == 0 or not is_closed(triangles):
            continue
        moved = apart_mm(thin, triangles, vertices, faces)
        if moved <= THINNED_MM:
            return thin, triangles, moved
    stored, triangles = _stored(vertices, faces)
    return (stored, triangles, 0.0) if is_closed(triangles) else (vertices, faces, 0.0)


def _stored(vertices: Float, faces: Faces) -> tuple[Float, Faces]:
    """Round to the single precision of all these files, and join what then is one point.

    Who joins the corners of a file by their coordinates, as every reader of STL does, would
    otherwise find other edges than were checked here.
    """
    rounded, which = np.unique(vertices.astype(np.float32), axis=0, return_inverse=True)
    joined = which.reshape(-1)[faces]
    a, b, c = joined.T
    kept = joined[(a != b) & (b != c) & (c != a)]
    return rounded.astype(float), np.ascontiguousarray(kept, np.int64)


def is_closed(faces: Faces) -> bool:
    """Tell whether every edge of (F, 3) triangles is met by just two, once in each direction."""
    edges = np.vstack([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    code = edges[:, 0] * (int(faces.max()) + 1) + edges[:, 1]
    back = edges[:, 1] * (int(faces.max()) + 1) + edges[:, 0]
    return len(np.unique(code)) == len(code) and bool(np.isin(back, code).all())


def apart_mm(vertices: Float, faces: Faces, others: Float, other_faces: Faces) -> float:
    """Largest distance (mm) of two surfaces, from either's vertices and triangles' centres."""
    there = _furthest(vertices, faces, others, other_faces)
    return max(there, _furthest(others, other_faces, vertices, faces))


def _furthest(vertices: Float, faces: Faces, others: Float, other_faces: Faces) -> float:
    middle = others.mean(axis=0)
    distance = vtk.vtkImplicitPolyDataDistance()
    distance.SetInput(to_polydata(others - middle, other_faces))
    points = np.vstack([vertices, vertices[faces].mean(axis=1)]) - middle
    found = vtk.vtkDoubleArray()
    distance.FunctionValue(numpy_to_vtk(np.ascontiguousarray(points), deep=1), found)
    return float(np.abs(vtk_to_numpy(found)).max())


def _arrays(data: vtk.vtkPolyData, middle: Float) -> tuple[Float, Faces]:
    """Vertices that triangles use, moved back by middle, and the triangles."""
    vertices = vtk_to_numpy(data.GetPoints().GetData()).astype(float) + middle
    faces = vtk_to_numpy(data.GetPolys().GetConnectivityArray()).reshape(-1, 3).astype(np.int64)
    used, renumbered = np.unique(faces, return_inverse=True)
    return vertices[used], renumbered.reshape(-1, 3).astype(np.int64)
