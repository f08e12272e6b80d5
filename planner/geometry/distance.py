"""Signed distance fields of masks, closed surfaces of fields, and distances of points from them.

Convention: negative inside, in mm. The border of a mask lies half a voxel beyond its outermost
voxel centres, so that a field's zero is the face between two voxels and not a voxel centre.
"""

from __future__ import annotations

from typing import Any

import edt
import numba
import numpy as np
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray, vtk_to_numpy

from planner.geometry.grid import Float, Grid
from planner.geometry.smoothing import gaussian

Box = tuple[slice, slice, slice]


def distance_to(mask: NDArray[np.bool_], spacing_mm: Float) -> NDArray[np.float32]:
    """Distance (mm) from every voxel centre to the nearest centre of a mask voxel; 0 inside."""
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    return _to_other_values(~mask, spacing_mm)


def _to_other_values(values: NDArray[Any], spacing_mm: Float) -> NDArray[np.float32]:
    """Distance (mm) from every voxel to the nearest one with another value; 0 where it is 0."""
    spacing = tuple(float(s) for s in spacing_mm)
    threads = numba.get_num_threads()
    return np.asarray(edt.edt(values, anisotropy=spacing, parallel=threads), dtype=np.float32)


def box_around(mask: NDArray[np.bool_], spacing_mm: Float, reach_mm: float) -> Box:
    """Slices of the smallest box that holds a mask and reach_mm around it; empty without a mask."""
    out = []
    for axis in range(3):
        others = tuple(n for n in range(3) if n != axis)
        where = np.flatnonzero(mask.any(axis=others))
        reach = int(np.ceil(reach_mm / float(spacing_mm[axis])))
        low, high = (where[0], where[-1] + 1) if where.size else (0, -reach)
        out.append(slice(max(int(low) - reach, 0), min(int(high) + reach, mask.shape[axis])))
    return out[0], out[1], out[2]


def within(mask: NDArray[np.bool_], spacing_mm: Float, reach_mm: float) -> NDArray[np.bool_]:
    """(I, J, K) voxels at most reach_mm from a mask's nearest voxel, centre to centre."""
    out = np.zeros(mask.shape, bool)
    box = box_around(mask, spacing_mm, reach_mm)
    out[box] = distance_to(mask[box], spacing_mm) <= reach_mm
    return out


def deeper(mask: NDArray[np.bool_], spacing_mm: Float, depth_mm: float) -> NDArray[np.bool_]:
    """(I, J, K) voxels more than depth_mm from the nearest voxel outside a mask."""
    out = np.zeros(mask.shape, bool)
    box = box_around(mask, spacing_mm, float(np.max(spacing_mm)))
    out[box] = distance_to(~mask[box], spacing_mm) > depth_mm
    return out


def signed_distance(
    mask: NDArray[np.bool_], spacing_mm: Float, smooth_mm: float = 0.0
) -> NDArray[np.float32]:
    """Signed distance (mm) to the border of a mask, negative inside.

    smooth_mm: sigma of a Gaussian over the field; it takes the staircase of the voxels off the
    border without moving flat parts of it. Raises ValueError for an empty mask.
    """
    if not mask.any():
        raise ValueError("the signed distance of an empty mask is not defined")
    half = np.float32(np.min(spacing_mm)) / np.float32(2.0)
    across = _to_other_values(mask.astype(np.uint8) + np.uint8(1), spacing_mm)
    field = np.where(mask, half - across, across - half)
    if smooth_mm > 0:
        field = gaussian(field, smooth_mm / np.asarray(spacing_mm, float), truncate=3.0)
    return field


def to_polydata(vertices: Float, faces: NDArray[np.int64]) -> vtk.vtkPolyData:
    """Make VTK data of (V, 3) vertices and (F, 3) triangles."""
    points = vtk.vtkPoints()
    points.SetData(numpy_to_vtk(np.ascontiguousarray(vertices, np.float64), deep=1))
    cells = vtk.vtkCellArray()
    offsets = np.arange(0, 3 * len(faces) + 1, 3, dtype=np.int64)
    connectivity = np.ascontiguousarray(faces, np.int64).ravel()
    cells.SetData(
        numpy_to_vtkIdTypeArray(offsets, deep=1), numpy_to_vtkIdTypeArray(connectivity, deep=1)
    )
    out = vtk.vtkPolyData()
    out.SetPoints(points)
    out.SetPolys(cells)
    return out


def isosurface(
    field: NDArray[Any], grid: Grid, level: float = 0.0
) -> tuple[Float, NDArray[np.int64]]:
    """Triangulate field == level; returns (V, 3) patient points, mm, and (F, 3) triangles.

    Triangles face outwards (from low to high values) on right- and left-handed grids alike.
    The field is padded, so the surface is closed even where the structure meets the grid's border.
    """
    padded = np.pad(np.asarray(field, np.float32), 1, mode="constant", constant_values=1e3)
    image = vtk.vtkImageData()
    image.SetDimensions(*padded.shape)
    scalars = np.ascontiguousarray(padded.ravel(order="F"))
    image.GetPointData().SetScalars(numpy_to_vtk(scalars, deep=0))
    edges = vtk.vtkFlyingEdges3D()
    edges.SetInputData(image)
    edges.SetValue(0, level)
    edges.ComputeNormalsOff()
    edges.ComputeGradientsOff()
    edges.ComputeScalarsOff()
    edges.Update()
    out = edges.GetOutput()
    if out.GetNumberOfPoints() == 0:
        return np.empty((0, 3)), np.empty((0, 3), np.int64)
    vertices = grid.to_patient(vtk_to_numpy(out.GetPoints().GetData()).astype(float) - 1.0)
    faces = vtk_to_numpy(out.GetPolys().GetConnectivityArray()).reshape(-1, 3).astype(np.int64)
    if enclosed_volume(vertices, faces) < 0:
        faces = np.ascontiguousarray(faces[:, ::-1])
    return vertices, faces


def distances(points: Float, vertices: Float, faces: NDArray[np.int64]) -> Float:
    """(N,) unsigned distances, mm, of (N, 3) points from a triangle surface; inf without any."""
    if len(faces) == 0:
        return np.full(len(points), np.inf)
    locator = vtk.vtkStaticCellLocator()
    locator.SetDataSet(to_polydata(vertices, faces))
    locator.BuildLocator()
    closest, cell = [0.0, 0.0, 0.0], vtk.reference(0)
    part, squared = vtk.reference(0), vtk.reference(0.0)
    out = np.empty(len(points))
    for n, point in enumerate(points):
        locator.FindClosestPoint(point, closest, cell, part, squared)
        out[n] = float(squared) ** 0.5
    return out


def enclosed_volume(vertices: Float, faces: NDArray[np.int64]) -> float:
    """Signed volume (mm3) of a closed triangle surface, positive when triangles face outwards."""
    a, b, c = (vertices[faces[:, n]] for n in range(3))
    return float(np.einsum("ij,ij->", np.cross(a, b), c) / 6.0)


def face_normals(vertices: Float, faces: NDArray[np.int64]) -> Float:
    """(F, 3) unit normals; zero for degenerate triangles."""
    a, b, c = (vertices[faces[:, n]] for n in range(3))
    normal = np.cross(b - a, c - a)
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    return np.asarray(np.divide(normal, length, out=np.zeros_like(normal), where=length > 1e-12))
