"""stl: binary STL, for printing and for programs that read nothing else.

STL knows neither units nor axes; the header of every file says them, as 3D Slicer writes and reads
it (SPACE=LPS). A program that takes STL for RAS shows everything turned about the head-foot axis
by half a turn: left is right then. That is what the header, and the README beside, are for.
"""

from __future__ import annotations

from pathlib import Path

import vtk

from planner.exchange.handover import Handover
from planner.exchange.mesh_folder import write_meshes
from planner.exchange.surfaces import Surface
from planner.geometry.distance import to_polydata

HEADER = "planner: SPACE=LPS UNIT=mm, planned, not for clinical use"
"""At most 80 bytes; it must not begin with the word that marks STL as text."""


def stl(handover: Handover, path: Path) -> None:
    """Make the folder of surfaces and needles in patient LPS, mm."""
    write_meshes(handover, path, ".stl", _write)


def _write(surface: Surface, path: Path) -> None:
    writer = vtk.vtkSTLWriter()
    writer.SetInputData(to_polydata(surface.vertices, surface.faces))
    writer.SetHeader(HEADER)
    writer.SetFileTypeToBinary()
    writer.SetFileName(str(path))
    if not writer.Write():
        raise OSError(f"{path.name} could not be written as STL")
