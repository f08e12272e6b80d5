"""True label maps from real bone surfaces: the oracle for anatomy, candidates and scoring.

`true_labels("z001", 1.0)` voxelises one person's sacrum and hips on a grid in patient LPS and
labels the canal and the foramina in the void between bone and the sacrum's closed hull. The truth
comes along: mesh, endplate and see-through foramen centres of the data set (made by others), plus
the straight line through each channel (made here).

How canal and foramina are told apart: the void is the 9 mm closing of the sacrum minus the bone.
The canal's core is the first gap behind the vertebral bodies in the plane midway between left and
right foramina. Cores of foramina are the parts of straight lines through their known centres that
keep furthest from bone. A watershed over the distance to bone divides the void among the cores, so
that borders lie in the narrowest necks; what lies far from a core is left as background.

The data folder (`../shared/real_bones` beside the repository) is not part of the repository:
`require_real_bones()` skips a test with that reason where it is absent. Results are cached for the
session; treat the arrays as read-only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vtk
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed
from vtk.util.numpy_support import vtk_to_numpy

from planner.geometry.distance import distance_to, to_polydata
from planner.geometry.grid import Float, Grid
from planner.geometry.sampling import sample
from planner.model.anatomy import LABELS

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "real_bones"
SUBJECTS = ("z001", "z009", "z019", "z023", "z027", "z035", "z042", "z046", "z050", "z055")
DEFAULT_SUBJECTS = ("z001", "z042")
CLOSING_MM = 9.0
FINE_MM = 0.75
CHANNEL_REACH_MM = 9.0
"""Void further than this from a channel's line is a groove of the surface, not the channel."""
CANAL_REACH_MM = 19.0
CANAL_DEPTH_MM = 17.0
CANAL_SIDE_MM = 8.0


def require_real_bones() -> None:
    """Skip the calling test where the real-bone data is absent."""
    if not (DATA / "meshes").is_dir():
        pytest.skip(f"real bones are not available at {DATA}")


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known of one person, patient LPS mm, in the frame of the labels.

    vertices, faces: the sacrum's closed mesh, faces outwards. hips: the same per side.
    endplate_centre, endplate_normal: (3,). foramina: (level, side) -> see-through centre (3,).
    ventral, dorsal: (level, side) -> where the straight line through a channel leaves the hull.
    """

    subject: str
    vertices: Float
    faces: NDArray[np.int64]
    hips: dict[str, tuple[Float, NDArray[np.int64]]]
    endplate_centre: Float
    endplate_normal: Float
    foramina: dict[tuple[str, str], Float]
    ventral: dict[tuple[str, str], Float]
    dorsal: dict[tuple[str, str], Float]


def voxelise(vertices: Float, faces: NDArray[np.int64], grid: Grid) -> NDArray[np.bool_]:
    """(I, J, K) voxels whose centre lies inside a closed mesh; any legal grid."""
    stencil = vtk.vtkPolyDataToImageStencil()
    stencil.SetInputData(to_polydata(grid.to_ijk(vertices), faces))
    stencil.SetOutputOrigin(0, 0, 0)
    stencil.SetOutputSpacing(1, 1, 1)
    extent = [0, grid.shape[0] - 1, 0, grid.shape[1] - 1, 0, grid.shape[2] - 1]
    stencil.SetOutputWholeExtent(extent)
    stencil.SetTolerance(0.0)
    to_image = vtk.vtkImageStencilToImage()
    to_image.SetInputConnection(stencil.GetOutputPort())
    to_image.SetInsideValue(1)
    to_image.SetOutsideValue(0)
    to_image.Update()
    values = vtk_to_numpy(to_image.GetOutput().GetPointData().GetScalars())
    return values.reshape(grid.shape, order="F").astype(bool)


@lru_cache(maxsize=16)
def load_meshes(subject: str) -> dict[str, Any]:
    """Vertices (V, 3) float64 and faces (F, 3) int64 by bone name, as in the file."""
    with np.load(DATA / "meshes" / f"{subject}.npz") as data:
        bones = ("Sacrum", "Hip_L", "Hip_R")
        return {b: (data[f"{b}_v"].astype(float), data[f"{b}_f"].astype(np.int64)) for b in bones}


@lru_cache(maxsize=16)
def load_landmarks(subject: str) -> dict[str, Any]:
    """Return the JSON of known landmarks as it stands."""
    out: dict[str, Any] = json.loads((DATA / "foramina" / f"{subject}.json").read_text())
    return out


def _unit(vector: Float) -> Float:
    return vector / np.linalg.norm(vector)


def _rough_frame(
    centres: dict[tuple[str, str], Float], normal: Float
) -> tuple[Float, Float, Float, Float]:
    """Midpoint of the foramen pairs and axes left, posterior, cranial."""
    levels = [
        lv for lv in ("S1", "S2", "S3", "S4", "S5") if {(lv, "left"), (lv, "right")} <= set(centres)
    ]
    x = _unit(np.sum([_unit(centres[v, "left"] - centres[v, "right"]) for v in levels], axis=0))
    mid = np.mean([(centres[v, "left"] + centres[v, "right"]) / 2 for v in levels], axis=0)
    z = _unit(normal - (normal @ x) * x)
    return mid, x, np.cross(z, x), z


def _channel_line(
    centre: Float,
    clearance: NDArray[np.float32],
    hull: NDArray[np.float32],
    grid: Grid,
    back: Float,
) -> tuple[Float, Float, Float]:
    """Find the straight line through a centre that keeps furthest from bone.

    Returns points inside the hull along it (N, 3), its ventral and its dorsal end (3,).
    """
    rng = np.random.default_rng(0)
    spread = rng.normal(size=(500, 3))
    spread /= np.linalg.norm(spread, axis=1, keepdims=True)
    directions = spread[spread @ back > np.cos(np.deg2rad(65))]
    steps = np.arange(-45.0, 45.01, 0.75)
    best, found = -50.0, (centre[None], centre, centre)
    for shift in [np.zeros(3), *(rng.normal(size=(8, 3)))]:
        points = centre + shift + steps[None, :, None] * directions[:, None, :]
        inside = sample(hull, grid, points, 9.0) < 0
        free = np.where(inside, sample(clearance, grid, points, 99.0), 99.0)
        lowest = free.min(axis=1) - 0.02 * inside.sum(axis=1)
        middle = len(steps) // 2
        lowest[~inside[:, middle]] = -99.0
        pick = int(lowest.argmax())
        if lowest[pick] > best:
            best = float(lowest[pick])
            out = np.flatnonzero(~inside[pick])
            below = out[out < middle].max(initial=-1) + 1
            above = out[out > middle].min(initial=len(steps)) - 1
            line = points[pick, below : above + 1]
            found = (line, line[0], line[-1])
    return found


def _ball(
    markers: NDArray[np.int32], void: NDArray[np.bool_], centre: Any, radius_mm: float, value: int
) -> None:
    """Mark the void within a radius of a voxel."""
    reach = max(int(radius_mm / FINE_MM), 0)
    low = np.maximum(centre - reach, 0)
    box = tuple(slice(a, c + reach + 1) for a, c in zip(low, centre, strict=True))
    offset = [
        np.arange(b.start, min(b.stop, n)) - c
        for b, n, c in zip(box, void.shape, centre, strict=True)
    ]
    far = np.sqrt(sum(o**2 for o in np.ix_(*offset))) * FINE_MM
    markers[box][(far <= max(radius_mm, 0.0)) & void[box]] = value


def _canal_core(
    bone: NDArray[np.bool_],
    void: NDArray[np.bool_],
    grid: Grid,
    frame: tuple[Float, Float, Float, Float],
) -> NDArray[np.bool_]:
    """Voxels of the first gap behind the vertebral bodies, near the midsagittal plane."""
    mid, x, y, z = frame
    up, behind = np.arange(-100.0, 75.0, 0.75), np.arange(-75.0, 75.0, 0.75)
    core = np.zeros(bone.shape, bool)
    for lateral in np.arange(-5.0, 5.1, 1.0):
        points = mid + lateral * x + up[:, None, None] * z + behind[None, :, None] * y
        solid = sample(bone.astype(np.float32), grid, points, 0.0) > 0.5
        gap = sample(void.astype(np.float32), grid, points, 0.0) > 0.5
        for row in range(len(up)):
            runs = np.flatnonzero(solid[row])
            if len(runs) < 6:
                continue
            after = np.flatnonzero(~solid[row, runs[0] :])
            # skip notches thinner than 4 mm of body in front of them
            start = runs[0] + after[0] if len(after) else len(behind)
            if start - runs[0] < 5 or start >= len(behind):
                continue
            stop = start
            while stop < len(behind) and gap[row, stop]:
                stop += 1
            if stop - start < 3:
                continue
            stop = min(stop, start + int(CANAL_DEPTH_MM / 0.75))
            ijk = np.rint(grid.to_ijk(points[row, start + 1 : stop - 1])).astype(int)
            core[tuple(ijk.T)] = True
    core &= void
    parts, count = ndimage.label(ndimage.binary_dilation(core, iterations=2))
    if count > 1:
        sizes = np.bincount(parts.ravel(), core.ravel().astype(float))
        sizes[0] = 0
        core &= parts == int(sizes.argmax())
    return core


@lru_cache(maxsize=16)
def channels_of(subject: str) -> tuple[NDArray[np.uint8], Grid, Truth]:
    """Void labels (canal and foramina only) on a fine grid, and the truth."""
    meshes, marks = load_meshes(subject), load_landmarks(subject)
    vertices, faces = meshes["Sacrum"]
    grid = Grid.around(vertices, FINE_MM, margin_mm=CLOSING_MM + 4.0)
    bone = voxelise(vertices, faces, grid)
    spacing = grid.spacing_mm
    clearance = distance_to(bone, spacing)
    inside_hull = distance_to(clearance >= CLOSING_MM, spacing) > CLOSING_MM
    void = inside_hull & ~bone
    hull = np.where(inside_hull, -1.0, 1.0).astype(np.float32)
    normal = np.array(marks["s1_endplate"]["normal"], float)
    centres = {(f["level"], f["side"]): np.array(f["centre_mm"], float) for f in marks["foramina"]}
    frame = _rough_frame(centres, normal)
    markers = np.zeros(bone.shape, np.int32)
    core = _canal_core(bone, void, grid, frame)
    markers[core] = LABELS["sacral_canal"]
    ventral, dorsal, distances = {}, {}, {}
    for (level, side), centre in centres.items():
        line, front, back = _channel_line(centre, clearance, hull, grid, frame[2])
        ventral[level, side], dorsal[level, side] = front, back
        value = LABELS[f"foramen_{level.lower()}_{side}"]
        on_line = np.zeros(bone.shape, bool)
        on_line[tuple(np.rint(grid.to_ijk(line)).astype(int).T)] = True
        on_line &= void
        distances[value] = distance_to(on_line, spacing)
        # inscribed balls along the line, so that no neighbour can flood the channel first
        for voxel, radius in zip(np.argwhere(on_line), clearance[on_line], strict=True):
            _ball(markers, void, voxel, float(radius) - FINE_MM, value)
    distances[LABELS["sacral_canal"]] = distance_to(core, spacing)
    basins = watershed(-clearance, markers, mask=void)
    labels = np.zeros(bone.shape, np.uint8)
    canal = LABELS["sacral_canal"]
    for value, far in distances.items():
        limit = CANAL_REACH_MM if value == canal else CHANNEL_REACH_MM
        labels[(basins == value) & (far < limit)] = value
    # what a foramen's basin holds beyond its reach but behind the bodies is canal
    labels[void & (labels == 0) & (basins > 0) & (distances[canal] < CANAL_SIDE_MM)] = canal
    truth = Truth(
        subject,
        vertices,
        faces,
        {"left": meshes["Hip_L"], "right": meshes["Hip_R"]},
        np.array(marks["s1_endplate"]["centre_mm"], float),
        normal,
        centres,
        ventral,
        dorsal,
    )
    # carry every label one voxel into bone, for look-ups from coarser grids
    grown = ndimage.grey_dilation(labels, footprint=ndimage.generate_binary_structure(3, 1))
    return np.where(bone & (labels == 0), grown, labels).astype(np.uint8), grid, truth


def labels_on(subject: str, grid: Grid) -> NDArray[np.uint8]:
    """Label any grid (oblique, left-handed, thick-sliced) in the mesh's patient frame."""
    fine, fine_grid, truth = channels_of(subject)
    index = np.stack(np.indices(grid.shape), axis=-1).reshape(-1, 3)
    near = np.rint(fine_grid.to_ijk(grid.to_patient(index))).astype(int)
    legal = ((near >= 0) & (near < np.array(fine.shape))).all(axis=1)
    flat = np.zeros(len(index), np.uint8)
    flat[legal] = fine[tuple(near[legal].T)]
    labels = flat.reshape(grid.shape)
    for side, (vertices, faces) in truth.hips.items():
        labels[voxelise(vertices, faces, grid)] = LABELS[f"hip_{side}"]
    labels[voxelise(truth.vertices, truth.faces, grid)] = LABELS["sacrum"]
    return labels


@lru_cache(maxsize=24)
def true_labels(
    subject: str, spacing_mm: float | tuple[float, float, float] = 1.0, margin_mm: float = 20.0
) -> tuple[NDArray[np.uint8], Grid, Truth]:
    """Label one person on an LPS-aligned grid around the sacrum.

    subject: one of SUBJECTS. spacing_mm: one number or (i, j, k), such as (1, 1, 3).
    margin_mm: how far the grid reaches beyond the sacrum; hips are cut there.
    Returns labels (I, J, K) uint8 with the values of LABELS, the grid, and the truth. Channels are
    labelled, grooves of the surface are not; no L5, the data has none.
    """
    truth = channels_of(subject)[2]
    spacing = np.broadcast_to(np.asarray(spacing_mm, float), 3)
    low = truth.vertices.min(axis=0) - margin_mm
    high = truth.vertices.max(axis=0) + margin_mm
    size = np.ceil((high - low) / spacing).astype(int) + 1
    grid = Grid.from_axes((int(size[0]), int(size[1]), int(size[2])), low, spacing)
    labels = labels_on(subject, grid)
    labels.setflags(write=False)
    return labels, grid, truth
