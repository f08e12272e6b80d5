"""What the tests of surfaces share: VTK's readers, whether they are closed, paths with a skin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import vtk_to_numpy

from planner.export.plan_document import TrajectoryObject
from planner.model.trajectory import OUTER_DIAMETERS_MM


def read_stl(path: Path) -> vtk.vtkPolyData:
    reader = vtk.vtkSTLReader()  # joins equal points, as STL has none that are shared
    reader.SetFileName(str(path))
    reader.Update()
    return reader.GetOutput()


def read_ply(path: Path) -> vtk.vtkPolyData:
    reader = vtk.vtkPLYReader()
    reader.SetFileName(str(path))
    reader.Update()
    return reader.GetOutput()


def bad_edges(data: vtk.vtkPolyData) -> int:
    """Edges that are not met by just two triangles."""
    edges = vtk.vtkFeatureEdges()
    edges.SetInputData(data)
    edges.BoundaryEdgesOn()
    edges.NonManifoldEdgesOn()
    edges.FeatureEdgesOff()
    edges.ManifoldEdgesOff()
    edges.Update()
    return int(edges.GetOutput().GetNumberOfCells())


def volume_mm3(data: vtk.vtkPolyData) -> float:
    """VTK's own volume, which has no sign."""
    mass = vtk.vtkMassProperties()
    mass.SetInputData(data)
    return float(mass.GetVolume())


def flux_mm3(data: vtk.vtkPolyData) -> float:
    """Volume with the sign of the triangles' way round: negative where they face inwards."""
    points = vertices(data)
    points = points - points.mean(axis=0)
    corners = vtk_to_numpy(data.GetPolys().GetConnectivityArray()).reshape(-1, 3)
    a, b, c = (points[corners[:, n]] for n in range(3))
    return float(np.linalg.det(np.stack([a, b, c], axis=1)).sum() / 6.0)


def vertices(data: vtk.vtkPolyData) -> NDArray[np.float64]:
    return vtk_to_numpy(data.GetPoints().GetData()).astype(float)


def assert_is_cylinder(points: NDArray[np.float64], start, stop, gauge: str) -> None:
    """Points lie on a cylinder between two points, as thick as the needle, and reach both ends."""
    start, stop = np.asarray(start, float), np.asarray(stop, float)
    along = (stop - start) / np.linalg.norm(stop - start)
    depth = (points - start) @ along
    assert abs(depth.min()) < 1e-3
    assert abs(depth.max() - np.linalg.norm(stop - start)) < 1e-3
    off = np.linalg.norm(points - start - depth[:, None] * along, axis=1)
    radius = OUTER_DIAMETERS_MM[gauge] / 2.0
    rim = off > radius / 2.0
    np.testing.assert_allclose(off[rim], radius, atol=1e-3)
    assert off[~rim].max() < 1e-3


def skin_in_view(item: TrajectoryObject, needle_mm: float | None) -> TrajectoryObject:
    """The same path where the CT shows the skin; needle_mm: the needle that reaches, if any."""
    assert item.guidance is not None
    seen = item.guidance.model_copy(update={"skin_in_view": True, "needle_length_mm": needle_mm})
    measures = {**item.measures, "skin_in_view": 1.0}
    return item.model_copy(update={"guidance": seen, "measures": measures})
