"""Signed distance fields of masks, and closed surfaces of fields.

Convention: negative inside, in mm. The border of a mask lies half a voxel beyond its outermost
voxel centres, so that a field's zero is the face between two voxels and not a voxel centre.
"""

from __future__ import annotations

from typing import Any

import edt
import numpy as np
import vtk
from numpy.typing import NDArray
from scipy import ndimage
from vtk.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray, vtk_to_numpy

from planner.geometry.grid import Float, Grid

THREADS = 2


def distance_to(mask: NDArray[np.bool_], spacing_mm: Float) -> NDArray[np.float32]:
    """Distance (mm) from every voxel centre to the nearest centre of a mask voxel; 0 inside."""
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    spacing = tuple(float(s) for s in spacing_mm)
    return np.asarray(edt.edt(~mask, anisotropy=spacing, parallel=THREADS), dtype=np.float32)


def signed_distance(
    mask: NDArray[np.bool_], spacing_mm: Float, smooth_mm: float = 0.0
) -> NDArray[np.float32]:
    """Signed distance (mm) to the border of a mask, negative inside.

    smooth_mm: sigma of a Gaussian over the field; it takes the staircase of the voxels off the
    border without moving flat parts of it. Raises ValueError for an empty mask.
    """
    if not mask.any():
        raise ValueError("the signed distance of an empty mask is not defined")
    half = float(np.min(spacing_mm)) / 2.0
    outside = distance_to(mask, spacing_mm)
    inside = distance_to(~mask, spacing_mm)
    field = np.where(mask, half - inside, outside - half).astype(np.float32)
    if smooth_mm > 0:
        sigma = tuple(smooth_mm / float(s) for s in spacing_mm)
        field = ndimage.gaussian_filter(field, sigma, truncate=3.0)
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
