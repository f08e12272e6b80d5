"""ply: binary PLY with the frame in its comments, for mesh programs and 3D Slicer.

The comment SPACE=LPS is what 3D Slicer writes and reads; vertices are shared, so that the surface
is closed without joining points.
"""

from __future__ import annotations

from pathlib import Path

import vtk

from planner.exchange.handover import Handover
from planner.exchange.mesh_folder import write_meshes
from planner.exchange.surfaces import Surface
from planner.export.disclaimer import DISCLAIMER
from planner.geometry.distance import to_polydata


def ply(handover: Handover, path: Path) -> None:
    """Make the folder of surfaces and needles in patient LPS, mm."""
    write_meshes(handover, path, ".ply", write_ply)


def write_ply(surface: Surface, path: Path) -> None:
    """Write one surface."""
    writer = vtk.vtkPLYWriter()
    writer.SetInputData(to_polydata(surface.vertices, surface.faces))
    writer.AddComment("SPACE=LPS")
    writer.AddComment("UNIT=mm")
    writer.AddComment(DISCLAIMER)
    writer.SetFileTypeToBinary()
    writer.SetFileName(str(path))
    if not writer.Write():
        raise OSError(f"{path.name} could not be written as PLY")
