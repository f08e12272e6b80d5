"""The sacrum and the needles in space, rendered off the screen.

The projection is parallel, so that the picture is to scale and points can be labelled afterwards
with `View.project`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import numpy as np
import vtk
from numpy.typing import NDArray
from scipy import ndimage
from vtk.util.numpy_support import vtk_to_numpy

from planner.export.overview.slices import Masks
from planner.export.overview.views import View
from planner.export.terminology import COLOURS, NEEDLE, Colour
from planner.geometry.distance import isosurface, to_polydata
from planner.geometry.grid import Float, Grid
from planner.model.anatomy import Anatomy
from planner.model.trajectory import Trajectory

BACKGROUND: Colour = (0.063, 0.078, 0.094)
OPACITY = {"sacrum": 0.42, "hip": 0.10, "l5": 0.12, "facet": 0.6}
SHAFT_MM = 45.0  # shaft shown behind the bone entry
CAMERA_MM = 600.0
# Bones in the background are thinned to about this voxel size: they are drawn faintly.
COARSE_MM = 1.6


def render(
    view: View,
    anatomy: Anatomy,
    masks: Masks,
    paths: Sequence[Trajectory],
    size: tuple[int, int],
    height_mm: float,
) -> NDArray[np.uint8]:
    """Render a view of size (columns, rows); returns (rows, columns, 3) RGB, row 0 at the top."""
    renderer = vtk.vtkRenderer()
    renderer.SetBackground(*BACKGROUND)
    renderer.SetUseDepthPeeling(1)
    renderer.SetMaximumNumberOfPeels(6)
    renderer.SetOcclusionRatio(0.0)
    surface = anatomy.surface
    _add(renderer, to_polydata(surface.vertices, surface.faces), COLOURS["sacrum"], "sacrum")
    for name, (mask, grid) in masks.parts.items():
        if name != "sacrum":
            vertices, faces = smooth_surface(mask, grid, coarse=name.startswith(("hip", "l5")))
            if len(faces):
                _add(renderer, to_polydata(vertices, faces), COLOURS[name], name)
    for path in paths:
        _add(renderer, tube(hub_point(path), path.tip, path.needle.radius_mm), NEEDLE, "needle")
    _aim(renderer.GetActiveCamera(), view, height_mm)
    renderer.ResetCameraClippingRange()
    return _capture(renderer, size)


def hub_point(path: Trajectory) -> Float:
    """The end of the shaft as it is shown, patient LPS, mm."""
    outside = min(SHAFT_MM, float(np.linalg.norm(path.bone_entry - path.skin_entry)))
    return np.asarray(path.bone_entry - outside * path.direction)


def _add(renderer: vtk.vtkRenderer, data: vtk.vtkPolyData, colour: Colour, name: str) -> None:
    normals = vtk.vtkPolyDataNormals()
    normals.SetInputData(data)
    normals.SplittingOff()
    mapper = vtk.vtkPolyDataMapper()
    mapper.SetInputConnection(normals.GetOutputPort())
    mapper.ScalarVisibilityOff()
    actor = vtk.vtkActor()
    actor.SetMapper(mapper)
    kind = name.split("_")[0]
    looks = actor.GetProperty()
    looks.SetColor(*((0.86, 0.84, 0.78) if kind == "sacrum" else colour))
    looks.SetOpacity(OPACITY.get(kind, 1.0))
    looks.SetAmbient(0.25)
    looks.SetSpecular(0.15)
    renderer.AddActor(actor)


def smooth_surface(
    mask: NDArray[np.uint8], grid: Grid, coarse: bool
) -> tuple[Float, NDArray[np.int64]]:
    """Triangulate a mask for the eye: (V, 3) patient points, mm, and (F, 3) triangles.

    coarse: thin the mask first, for bones in the background.
    """
    if coarse:
        step = np.maximum(np.round(COARSE_MM / grid.spacing_mm), 1).astype(int)
        mask = np.ascontiguousarray(mask[:: step[0], :: step[1], :: step[2]])
        affine = grid.patient_from_ijk.copy()
        affine[:3, :3] = affine[:3, :3] * step
        grid = Grid((mask.shape[0], mask.shape[1], mask.shape[2]), affine)
    soft = ndimage.gaussian_filter(mask.astype(np.float32), 0.8)
    return isosurface(0.5 - soft, grid)


def tube(start: Float, stop: Float, radius_mm: float) -> vtk.vtkPolyData:
    """Make the closed surface of a needle between two (3,) points."""
    line = vtk.vtkLineSource()
    line.SetPoint1(*(float(v) for v in start))
    line.SetPoint2(*(float(v) for v in stop))
    tube = vtk.vtkTubeFilter()
    tube.SetInputConnection(line.GetOutputPort())
    tube.SetRadius(radius_mm)
    tube.SetNumberOfSides(20)
    tube.CappingOn()
    tube.Update()
    out: vtk.vtkPolyData = tube.GetOutput()
    return out


def _aim(camera: vtk.vtkCamera, view: View, height_mm: float) -> None:
    towards_viewer = np.cross(view.right, view.up)
    camera.ParallelProjectionOn()
    camera.SetFocalPoint(*(float(v) for v in view.centre))
    camera.SetPosition(*(float(v) for v in view.centre + CAMERA_MM * towards_viewer))
    camera.SetViewUp(*(float(v) for v in view.up))
    camera.SetParallelScale(height_mm / 2.0)


def _capture(renderer: vtk.vtkRenderer, size: tuple[int, int]) -> NDArray[np.uint8]:
    window = _window()
    window.SetOffScreenRendering(1)
    window.SetMultiSamples(0)
    window.SetAlphaBitPlanes(1)
    window.SetSize(*size)
    window.AddRenderer(renderer)
    window.Render()
    grab = vtk.vtkWindowToImageFilter()
    grab.SetInput(window)
    grab.SetInputBufferTypeToRGB()
    grab.ReadFrontBufferOff()
    grab.ShouldRerenderOff()
    grab.Update()
    image = grab.GetOutput()
    columns, rows, _ = image.GetDimensions()
    pixels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, 3)
    out = np.ascontiguousarray(pixels[::-1])
    window.Finalize()
    return out


def _window() -> vtk.vtkRenderWindow:
    """A window off the screen; where there is no display, VTK's own choice would warn on stderr."""
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        for name in ("vtkEGLRenderWindow", "vtkOSOpenGLRenderWindow"):
            kind = getattr(vtk, name, None)
            window = None if kind is None else kind()
            if window is not None and window.SupportsOpenGL():
                return window
    return vtk.vtkRenderWindow()
