"""Closed triangle surfaces to masks on a grid."""

from __future__ import annotations

import numpy as np
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import vtk_to_numpy

from planner.geometry.distance import to_polydata
from planner.geometry.grid import Float, Grid


def voxelise(vertices: Float, faces: NDArray[np.int64], grid: Grid) -> NDArray[np.bool_]:
    """(I, J, K) voxels whose centres lie inside a closed surface.

    vertices: (V, 3) patient LPS, mm. faces: (F, 3). Works on oblique and left-handed grids, since
    the surface is taken into index space first.
    """
    ijk = grid.to_ijk(vertices)
    low = np.maximum(np.floor(ijk.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(ijk.max(axis=0)).astype(int), np.array(grid.shape) - 1)
    out = np.zeros(grid.shape, bool)
    if (high < low).any():
        return out
    stencil = vtk.vtkPolyDataToImageStencil()
    stencil.SetInputData(to_polydata(ijk - low, faces))
    stencil.SetOutputOrigin(0, 0, 0)
    stencil.SetOutputSpacing(1, 1, 1)
    size = high - low
    stencil.SetOutputWholeExtent(0, int(size[0]), 0, int(size[1]), 0, int(size[2]))
    stencil.SetTolerance(0.0)
    image = vtk.vtkImageStencilToImage()
    image.SetInputConnection(stencil.GetOutputPort())
    image.SetInsideValue(1)
    image.SetOutsideValue(0)
    image.SetOutputScalarTypeToUnsignedChar()
    image.Update()
    scalars = vtk_to_numpy(image.GetOutput().GetPointData().GetScalars())
    box = tuple(slice(int(a), int(b) + 1) for a, b in zip(low, high, strict=True))
    out[box] = scalars.reshape(tuple(size + 1), order="F").astype(bool)
    return out
