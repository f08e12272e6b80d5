"""The parametric pelvis as surfaces to be fitted: what each is, and which way is out.

Everything is in the template's sacral frame, mm. Surfaces come from the signed distances of
`planner.shape`; nothing here knows an image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from planner.geometry.distance import face_normals, isosurface
from planner.geometry.grid import Float, Grid
from planner.geometry.sampling import sample
from planner.model.anatomy import SIDES, Side
from planner.shape.lumbar import l5_distance
from planner.shape.parameters import SacrumParameters
from planner.shape.pelvis import PelvisParameters, hip_distance
from planner.shape.sacrum import (
    canal_distance,
    foramen_distance,
    foramen_landmarks,
    sacrum_distance,
    sacrum_hull_distance,
)

Array = NDArray[Any]
Box = tuple[tuple[float, float, float], tuple[float, float, float]]

# Boxes that hold the structures of the largest adult, sacral frame, mm: (low, high).
SACRUM_BOX = ((-85.0, -45.0, -140.0), (85.0, 75.0, 30.0))
CANAL_BOX = ((-25.0, -10.0, -130.0), (25.0, 70.0, 30.0))
HIP_BOX = ((0.0, -150.0, -190.0), (190.0, 80.0, 70.0))
L5_BOX = ((-62.0, -35.0, -12.0), (62.0, 85.0, 62.0))
FORAMEN_REACH_MM = 30.0
COARSENESS = 3
"""Cells of the first, coarse evaluation against the fine ones."""


@dataclass(frozen=True, eq=False)
class Surface:
    """A closed triangle surface. vertices, normals: (V, 3), outward. faces: (F, 3)."""

    vertices: Float
    faces: NDArray[np.int64]
    normals: Float

    def moved(self, vertices: Float) -> Surface:
        """The same triangles on other vertices, normals recomputed."""
        return Surface(vertices, self.faces, vertex_normals(vertices, self.faces))


@dataclass(frozen=True, eq=False)
class Template:
    """Surfaces of the parametric pelvis in the sacral frame.

    sacrum: bone, with the walls of canal and foramina. hull: its envelope with their contents.
    channels: sacral_canal and foramen_sN_side to their surfaces. landmarks: foramen to its
    (3, 3) rows ventral, centre, dorsal.
    """

    sacrum: Surface
    hull: Surface
    hips: dict[Side, Surface]
    l5: Surface
    channels: dict[str, Surface]
    landmarks: dict[str, Float]


def vertex_normals(vertices: Float, faces: NDArray[np.int64]) -> Float:
    """(V, 3) area-free mean of the unit normals of the triangles around each vertex."""
    total = np.zeros((len(vertices), 3))
    _gather(np.ascontiguousarray(faces), face_normals(vertices, faces), total)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.asarray(total / np.maximum(length, 1e-9))


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _gather(faces: Array, normals: Array, total: Array) -> None:
    """Add the (F, 3) normals of triangles to their vertices, corner after corner."""
    for corner in range(3):
        for f in range(faces.shape[0]):
            vertex = faces[f, corner]
            for axis in range(3):
                total[vertex, axis] += normals[f, axis]


def _surface(
    distance: Callable[[Float], NDArray[np.float32]],
    box: Box,
    spacing_mm: float,
) -> Surface:
    """Triangulate distance == 0 in a box; only cells near a coarse zero are evaluated finely."""
    coarse = Grid.around(np.array(box), COARSENESS * spacing_mm)
    rough = np.asarray(distance(_centres(coarse)), np.float32).reshape(coarse.shape)
    grid = Grid.around(np.array(box), spacing_mm)
    points = _centres(grid)
    field = sample(rough, coarse, points, 99.0)
    near = np.abs(field) < 1.3 * COARSENESS * spacing_mm
    field[near] = distance(points[near])
    vertices, faces = isosurface(field.reshape(grid.shape), grid)
    return Surface(vertices, faces, vertex_normals(vertices, faces))


def _around(centre: Float, reach_mm: float) -> Box:
    low, high = centre - reach_mm, centre + reach_mm
    return (float(low[0]), float(low[1]), float(low[2])), (
        float(high[0]),
        float(high[1]),
        float(high[2]),
    )


def _box(side: Side) -> Box:
    """The box of one hip: the right one's is the left one's mirror image."""
    low, high = HIP_BOX
    if side == "left":
        return HIP_BOX
    return (-high[0], low[1], low[2]), (-low[0], high[1], high[2])


def _centres(grid: Grid) -> Float:
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)
    return grid.to_patient(index.reshape(-1, 3))


@lru_cache(maxsize=4)
def build_template(
    sacrum: SacrumParameters | None = None, pelvis: PelvisParameters | None = None
) -> Template:
    """Triangulate the parametric pelvis; population means unless parameters are given."""
    p = sacrum or SacrumParameters()
    q = pelvis or PelvisParameters()
    landmarks = foramen_landmarks(p)
    names = {f"foramen_{mark.level.lower()}_{mark.side}": mark for mark in landmarks}
    channels = {"sacral_canal": _surface(partial(canal_distance, p=p), CANAL_BOX, 1.5)}
    hips: dict[Side, Surface] = {}
    for name, mark in names.items():
        one = partial(foramen_distance, p=p, level=mark.level, side=mark.side)
        channels[name] = _surface(one, _around(np.asarray(mark.centre), FORAMEN_REACH_MM), 1.5)
    for side in SIDES:
        one = partial(hip_distance, side=side, sacrum_params=p, pelvis_params=q)
        hips[side] = _surface(one, _box(side), 3.0)
    lumbar = partial(l5_distance, sacrum_params=p, pelvis_params=q)
    return Template(
        sacrum=_surface(partial(sacrum_distance, p=p), SACRUM_BOX, 1.5),
        hull=_surface(partial(sacrum_hull_distance, p=p), SACRUM_BOX, 1.5),
        hips=hips,
        l5=_surface(lumbar, L5_BOX, 2.0),
        channels=channels,
        landmarks={
            name: np.array([mark.ventral, mark.centre, mark.dorsal]) for name, mark in names.items()
        },
    )
