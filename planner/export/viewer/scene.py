"""What the scene shows, as K3D's objects, and what its switches need to know.

All in patient LPS, mm. Surfaces are thinned for the screen; needles stand at their true diameter.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import vtk_to_numpy

from planner.export.overview import views
from planner.export.overview.scene import hub_point, smooth_surface, tube
from planner.export.overview.slices import WINDOW_HU, Masks
from planner.export.overview.views import View
from planner.export.terminology import COLOURS, NEEDLE, Colour
from planner.geometry.distance import to_polydata
from planner.geometry.grid import Float
from planner.geometry.sampling import sample
from planner.model.anatomy import Anatomy
from planner.model.trajectory import ScoredTrajectory, Trajectory
from planner.model.volume import Volume

SACRUM_TRIANGLES, OTHER_TRIANGLES = 24_000, 5_000
VOXEL_MM, MARGIN_MM = 1.25, 12.0
SLICE_MM = 90.0
# The patient's sides: letter, axis of the sacral frame (left, posterior, cranial), sign, mm.
LETTERS = (
    ("L", 0, 1, 88.0),
    ("R", 0, -1, 88.0),
    ("P", 1, 1, 70.0),
    ("A", 1, -1, 70.0),
    ("H", 2, 1, 92.0),
    ("F", 2, -1, 92.0),
)
LETTER_MM = 9.0
BEYOND_MM = 15.0  # how far a slice may be moved past entry and tip
ASIDE_MM = 25.0  # how far a slice along a needle may be moved off it
WITNESS_MM = 0.8
OTHER_OPACITY = 0.22  # of the needles that are not chosen
CAMERA_MM, FIELD_DEG = 520.0, 24.0  # 220 mm high: a sacrum and its needles
NO_LEGEND = 0  # -1 would let K3D choose an object
BACKGROUND: Colour = (0.063, 0.078, 0.094)
BONE: Colour = (0.86, 0.84, 0.78)
REJECTED: Colour = (0.55, 0.55, 0.55)
WITNESS: Colour = (0.95, 0.95, 0.95)
GROUPS = {
    "sacrum": ("Sacrum", 0.35),
    "sacral_canal": ("Canal", 0.9),
    "foramen": ("Foramina", 0.9),
    "hip": ("Hip bones", 0.12),
    "l5": ("L5", 0.12),
    "facet": ("L5/S1 facet joints", 0.6),
}
"""Name and opacity of what can be switched on and off; by the beginning of a segment's name."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A scene for the viewer.

    data: K3D's binary snapshot. facts: what the switches need, fit for JSON: groups of objects,
    one entry per needle with the planes its slice can lie in, and the camera's places.
    """

    data: bytes
    facts: dict[str, Any]


def build_scene(
    items: Sequence[ScoredTrajectory],
    anatomy: Anatomy,
    volume: Volume,
    masks: Masks,
    rejected: Collection[str] = (),
) -> Scene:
    """Build the scene of a plan; items: its trajectories, best first; rejected: shown in grey."""
    objects = _Objects()
    groups = []
    for start, (title, opacity) in GROUPS.items():
        numbers = [
            objects.mesh(*surface, BONE if start == "sacrum" else COLOURS[name], opacity)
            for name, surface in _surfaces(start, anatomy, masks)
        ]
        if numbers:
            groups.append({"name": start, "title": title, "opacity": opacity, "objects": numbers})
    _letters(objects, anatomy)
    needles = [
        _needle(objects, item, anatomy, k == 0, REJECTED if item.id in rejected else NEEDLE)
        for k, item in enumerate(items)
    ]
    piece = _slice(objects, anatomy, volume)
    facts: dict[str, Any] = {
        "groups": groups,
        "needles": needles,
        "slice": {"object": piece, "size_mm": SLICE_MM},
        "other_opacity": OTHER_OPACITY,
        "cameras": _cameras(anatomy),
    }
    return Scene(objects.packed(facts["cameras"]["From behind"]), facts)


class _Objects:
    """K3D's objects, numbered from 1 in the order in which they were made."""

    def __init__(self) -> None:
        import k3d  # two seconds, for the report alone

        self._k3d = k3d
        self._made: list[dict[str, Any]] = []

    def mesh(
        self, vertices: Float, faces: NDArray[Any], colour: Colour, opacity: float, **more: Any
    ) -> int:
        return self._add(
            self._k3d.mesh(
                np.asarray(vertices, np.float32),
                np.asarray(faces, np.uint32),
                color=_packed(colour),
                opacity=opacity,
                flat_shading=False,
                side="double",
                **more,
            )
        )

    def segments(self, ends: Float, visible: bool) -> int:
        """Add straight lines; ends: (N, 2, 3)."""
        return self._add(
            self._k3d.lines(
                np.asarray(ends, np.float32).reshape(-1, 3),
                np.arange(2 * len(ends), dtype=np.uint32),
                indices_type="segment",
                color=_packed(WITNESS),
                width=WITNESS_MM,
                shader="mesh",
                visible=visible,
            )
        )

    def letter(self, text: str, place: Float) -> int:
        return self._add(
            self._k3d.texture_text(
                text,
                position=tuple(float(x) for x in place),
                color=_packed(WITNESS),
                size=LETTER_MM,
                font_face="sans-serif",
            )
        )

    def packed(self, camera: list[float]) -> bytes:
        plot = {
            "camera": camera,
            "cameraAutoFit": False,
            "gridVisible": False,
            "menuVisibility": False,
            "axesHelper": 0,
            "cameraFov": FIELD_DEG,
            "colorbarObjectId": NO_LEGEND,
            "clearColor": _packed(BACKGROUND),
        }
        snapshot = {"objects": self._made, "chunkList": [], "plot": plot}
        return zlib.compress(msgpack.packb(snapshot, use_bin_type=True), 6)

    def _add(self, item: Any) -> int:
        number = len(self._made) + 1
        item.id = number  # K3D counts over the whole process: the file would depend on the past
        self._made.append(item.get_binary())
        item.close()
        return number


def _surfaces(
    start: str, anatomy: Anatomy, masks: Masks
) -> list[tuple[str, tuple[Float, NDArray[np.int64]]]]:
    if start == "sacrum":
        surface = anatomy.surface
        return [("sacrum", _thinned(surface.vertices, surface.faces, SACRUM_TRIANGLES))]
    found = []
    for name, (mask, grid) in masks.parts.items():
        if name.startswith(start):
            vertices, faces = smooth_surface(mask, grid, coarse=start in ("hip", "l5"))
            if len(faces):
                found.append((name, _thinned(vertices, faces, OTHER_TRIANGLES)))
    return found


def _thinned(
    vertices: Float, faces: NDArray[np.int64], most: int
) -> tuple[Float, NDArray[np.int64]]:
    if len(faces) <= most:
        return vertices, faces
    thin = vtk.vtkQuadricDecimation()
    thin.SetInputData(to_polydata(vertices, faces))
    thin.SetTargetReduction(1.0 - most / len(faces))
    thin.VolumePreservationOn()
    thin.Update()
    return _arrays(thin.GetOutput())


def _arrays(mesh: vtk.vtkPolyData) -> tuple[Float, NDArray[np.int64]]:
    flat = vtk.vtkTriangleFilter()
    flat.SetInputData(mesh)
    flat.PassLinesOff()
    flat.PassVertsOff()
    flat.Update()
    out = flat.GetOutput()
    faces = vtk_to_numpy(out.GetPolys().GetConnectivityArray()).reshape(-1, 3)
    return vtk_to_numpy(out.GetPoints().GetData()).astype(float), faces.astype(np.int64)


def _needle(
    objects: _Objects, item: ScoredTrajectory, anatomy: Anatomy, chosen: bool, colour: Colour
) -> dict[str, Any]:
    facts = needle_facts(item, anatomy)
    vertices, faces = shaft_of(item.trajectory)
    return {
        "rank": item.rank,
        "object": objects.mesh(vertices, faces, colour, 1.0 if chosen else OTHER_OPACITY),
        "lines": objects.segments(_ends(item), chosen),
        "ends": facts["ends"],
        "planes": facts["planes"],
        "camera": facts["camera"],
    }


def needle_facts(item: ScoredTrajectory, anatomy: Anatomy) -> dict[str, Any]:
    """What the viewer needs to put a needle elsewhere: planes of its slice, camera, points.

    ends: bone entry and tip. shaft, lines: coordinates in a row, of the points that `shaft_of`
    returns and of the ends of the lines to the nearest points.
    """
    path = item.trajectory
    length = float(np.linalg.norm(path.tip - path.bone_entry))
    along = path.direction
    across = views.square_view(path, anatomy, path.bone_entry)
    planes = [
        _plane("along, left to right", views.across_needle(path, anatomy), ASIDE_MM),
        _plane("along, front to back", views.beside_needle(path, anatomy), ASIDE_MM),
        _plane("across", across, 0.0)
        | {"normal": along.tolist(), "from": -BEYOND_MM, "to": length + BEYOND_MM, "start": length},
    ]
    return {
        "ends": [path.bone_entry.tolist(), path.tip.tolist()],
        "planes": planes,
        "camera": camera(path.bone_entry, -along, across.up),
        "shaft": np.round(shaft_of(path)[0], 3).ravel().tolist(),
        "lines": np.round(_ends(item), 3).ravel().tolist(),
    }


def _ends(item: ScoredTrajectory) -> Float:
    """(N, 2, 3) points on the needle's axis and the structure's nearest points to them."""
    path = item.trajectory
    return np.array(
        [
            [path.bone_entry + each.depth_mm * path.direction, each.witness]
            for each in item.clearances.values()
        ]
    )


def shaft_of(path: Trajectory) -> tuple[Float, NDArray[np.int64]]:
    """(V, 3) patient points and (F, 3) triangles of a needle; V and F never change."""
    return _arrays(tube(hub_point(path), path.tip, path.needle.radius_mm))


def _letters(objects: _Objects, anatomy: Anatomy) -> None:
    """Write the patient's sides around the sacrum; letters turn with it and always face the eye."""
    centre = views.from_behind(anatomy).centre
    for letter, axis, sign, reach in LETTERS:
        objects.letter(letter, centre + sign * reach * anatomy.frame.axes[:, axis])


def _plane(title: str, view: View, reach_mm: float) -> dict[str, Any]:
    return {
        "title": title,
        "centre": view.centre.tolist(),
        "right": view.right.tolist(),
        "up": view.up.tolist(),
        "normal": np.cross(view.right, view.up).tolist(),
        "from": -reach_mm,
        "to": reach_mm,
        "start": 0.0,
    }


def _slice(objects: _Objects, anatomy: Anatomy, volume: Volume) -> int:
    """Add a unit square that takes its grey from the CT wherever the page puts it."""
    low = anatomy.surface.vertices.min(axis=0) - MARGIN_MM
    high = anatomy.surface.vertices.max(axis=0) + MARGIN_MM
    counts = np.ceil((high - low) / VOXEL_MM).astype(int)
    axes = [low[k] + VOXEL_MM * (np.arange(counts[k]) + 0.5) for k in range(3)]
    z, y, x = np.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
    hu = sample(volume.values, volume.grid, np.stack([x, y, z], axis=-1), WINDOW_HU[0])
    grey = np.clip((hu - WINDOW_HU[0]) / (WINDOW_HU[1] - WINDOW_HU[0]), 0, 1) * 255
    # Past the box, the viewer goes on with the values of its outermost layer: make that black.
    inner = np.zeros_like(grey)
    inner[1:-1, 1:-1, 1:-1] = grey[1:-1, 1:-1, 1:-1]
    ends = low + VOXEL_MM * counts
    corners = np.array([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]])
    return objects.mesh(
        corners,
        np.array([[0, 1, 2], [0, 2, 3]]),
        (1.0, 1.0, 1.0),
        1.0,
        volume=np.round(inner).astype(np.float16),
        volume_bounds=np.stack([low, ends], axis=1).ravel().astype(np.float32),
        color_map=[0.0, 0, 0, 0, 1.0, 1, 1, 1],
        color_range=[0.0, 255.0],
        opacity_function=[0.0, 1.0, 1.0, 1.0],
    )


def _cameras(anatomy: Anatomy) -> dict[str, list[float]]:
    """Places to look from, as K3D writes them: the eye, what it looks at, what is up."""
    left, posterior, cranial = anatomy.frame.axes.T
    centre = views.from_behind(anatomy).centre
    places = {
        "From behind": (posterior, cranial),
        "From the front": (-posterior, cranial),
        "From the patient's left": (left, cranial),
        "From the patient's right": (-left, cranial),
        "From the head": (cranial, -posterior),
    }
    return {name: camera(centre, towards, up) for name, (towards, up) in places.items()}


def camera(centre: Float, towards: Float, up: Float) -> list[float]:
    """Place K3D's camera; towards, up: (3,) unit vectors, to the viewer and up in the picture."""
    return [*(centre + CAMERA_MM * towards).tolist(), *centre.tolist(), *up.tolist()]


def _packed(colour: Colour) -> int:
    red, green, blue = (round(255 * part) for part in colour)
    return int(red << 16 | green << 8 | blue)
