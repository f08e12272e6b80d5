"""The entry map as a mesh with scalars (VTK XML) and as a picture of the sacrum from behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import vtk
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.tri import Triangulation
from vtk.util.numpy_support import numpy_to_vtk

from planner.errors import OutputError
from planner.export.disclaimer import DISCLAIMER
from planner.geometry.distance import to_polydata
from planner.model.anatomy import Region
from planner.model.plan import Plan

MESH_FILE, PICTURE_FILE = "entry_map.vtp", "entry_map.png"
EDGES_MM = (0.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
COLOURS = ("#8a6d8f", "#440154", "#3b528b", "#21918c", "#5ec962", "#b5de2b", "#fde725")
"""Viridis: even steps in grey, safe for colour-blind readers. Below the default limit of 2 mm,
which only a lowered one lets through, another hue."""
BONE, MARK = "#3a4149", "#ff5470"
INK, GROUND = "#e8edf2", "#14181d"
MOST_MARKS = 8


def write_entry_mesh(plan: Plan, path: Path) -> None:
    """Write the posterior surface with clearance (mm, NaN for none) and technique per vertex."""
    found = plan.entry_map
    if found is None:
        raise ValueError("the plan has no entry map")
    mesh = to_polydata(found.vertices, found.faces)
    for name, values in (
        ("clearance_mm", found.clearance_mm.astype(np.float32)),
        ("technique", found.technique),
    ):
        array = numpy_to_vtk(np.ascontiguousarray(values), deep=True)
        array.SetName(name)
        mesh.GetPointData().AddArray(array)
    mesh.GetPointData().SetActiveScalars("clearance_mm")
    writer = vtk.vtkXMLPolyDataWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(mesh)
    if writer.Write() != 1:
        raise OutputError(f"{path} could not be written; check the free space and the rights.")


def write_entry_picture(plan: Plan, path: Path) -> None:
    """Draw the map as seen from behind, with the entries of the best paths, to a PNG file."""
    figure = draw_entry_map(plan)
    with path.open("wb") as file:
        figure.savefig(file, format="png", metadata={"Software": None})


def draw_entry_map(plan: Plan) -> Figure:
    """Draw the sacrum's back in its own frame: the patient's left is on the left, as one sees it
    from behind."""
    found, frame = plan.entry_map, plan.anatomy.frame
    if found is None:
        raise ValueError("the plan has no entry map")
    figure = Figure(figsize=(7.2, 7.0), dpi=150, facecolor=GROUND)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.09, 0.12, 0.76, 0.78), facecolor=GROUND)
    _silhouette(axes, plan)
    local = frame.to_sacrum(found.vertices)
    values = np.nan_to_num(found.clearance_mm, nan=-1.0)
    shape = Triangulation(-local[:, 0], local[:, 2], found.faces)
    worst = values[found.faces].min(axis=1)
    shape.set_mask(worst < 0)
    norm = BoundaryNorm((*EDGES_MM, 20.0), len(COLOURS))
    drawn = axes.tripcolor(shape, facecolors=worst, cmap=ListedColormap(COLOURS), norm=norm)
    bar = figure.colorbar(drawn, cax=figure.add_axes((0.88, 0.2, 0.025, 0.6)), ticks=EDGES_MM)
    bar.set_label("best achievable clearance, mm", color=INK)
    bar.ax.tick_params(colors=INK)
    for item in plan.trajectories[:MOST_MARKS]:
        x, _, z = frame.to_sacrum(item.trajectory.bone_entry)
        axes.plot(-x, z, "o", mfc="none", mec=MARK, ms=9, mew=1.6)
        axes.annotate(
            str(item.rank), (-x, z), (5, 5), textcoords="offset points", color=MARK, fontsize=9
        )
    for letter, x in (("L", 0.03), ("R", 0.97)):
        axes.text(x, 0.95, letter, color=INK, fontsize=13, ha="center", transform=axes.transAxes)
    axes.set_aspect("equal")
    axes.set_xlabel("mm from the midplane", color=INK)
    axes.set_ylabel("mm over the S1 endplate, in the sacrum's frame", color=INK)
    axes.tick_params(colors=INK)
    axes.set_title("Where a needle may enter, seen from behind", color=INK)
    figure.text(0.02, 0.015, DISCLAIMER, color=INK, fontsize=6.5, wrap=True)
    return figure


def _silhouette(axes: Axes, plan: Plan) -> None:
    """Grey: the back of the sacrum with its canal and foramina, so that places are known."""
    surface, frame = plan.anatomy.surface, plan.anatomy.frame
    vertices = frame.to_sacrum(surface.vertices)
    for regions, colour in (((Region.POSTERIOR,), BONE), ((Region.FORAMEN,), "#6b4a52")):
        _, faces = surface.part(*regions)
        if len(faces) == 0:
            continue
        shape = Triangulation(-vertices[:, 0], vertices[:, 2], faces)
        axes.tripcolor(shape, facecolors=np.zeros(len(faces)), cmap=ListedColormap([colour]))
    for item in plan.anatomy.foramina:
        x, _, z = frame.to_sacrum(item.dorsal)
        axes.text(-x, z, item.level, color=INK, fontsize=8, ha="center", va="center")
