"""Fit the whole template to a CT: pose it, then bend its bones together and apart.

Sacrum and hips are bent by one displacement while the window is wide (they belong together), and
each by its own when it narrows. Canal, foramina and hull have no wishes of their own: they follow
the walls around them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from planner.geometry.grid import Float, Grid
from planner.geometry.sampling import resample
from planner.model.anatomy import Side
from planner.model.volume import Volume
from planner.segmentation.deform import (
    NOT_IMAGED_HU,
    STAGES,
    Stage,
    border_wishes,
    endplate_wishes,
    imaged,
    joint_wishes,
    smooth_displacement,
)
from planner.segmentation.joint import JointSheet, find_joint
from planner.segmentation.localise import Localisation
from planner.segmentation.lowest import ROWS, carry_along, seek
from planner.segmentation.template import Surface, Template

IMAGE_MM = 1.0
TOGETHER_MM = 18.0
"""Windows wider than this bend sacrum, hips and L5 as one."""
HIP_WINDOW_MM = 7.0
"""Hips are smooth: a narrower window only follows noise and the acetabulum's rim."""
JOINT_REACH_MM = 9.0
JOINT_WINDOW_MM = 7.0
"""After this window the joints are sought as sheets; narrower ones follow them."""
SHEET_TRUST = (0.3, 0.5)
"""Weight of a sheet where the image does not show it, and support from which it counts in full."""
MARGIN_MM = 16.0
LOWER_MM = -60.0
"""Height in the template's frame below which nothing but sacrum has the sacrum's shape."""
DISC_MM = 13.0
"""Reach for the S1 endplate: a disc's height and its neighbours' endplates."""
DISC_WINDOW_MM = 14.0
"""Windows from which on the endplate is sought that far."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """The template's surfaces in patient LPS, mm, as bent to the image.

    moved_mm: (V,) how far the bending took each vertex of the sacrum from its pose.
    endplate, lower: (V,) vertices of the sacrum on the S1 endplate, and below the S2 foramina.
    joints: the sheets that bound the sacrum at the sacroiliac joints.
    """

    sacrum: Surface
    hips: dict[Side, Surface]
    l5: Surface
    hull: Surface
    channels: dict[str, Surface]
    landmarks: dict[str, Float]
    moved_mm: Float
    endplate: NDArray[np.bool_]
    lower: NDArray[np.bool_]
    joints: tuple[JointSheet, ...] = ()


def crop_image(volume: Volume, points: Float) -> tuple[NDArray[np.float32], Grid]:
    """Resample the CT to 1 mm along the patient's axes in the box of (N, 3) patient points.

    What the CT does not cover is NOT_IMAGED_HU.
    """
    inside = np.clip(points, volume.grid.corners().min(axis=0), volume.grid.corners().max(axis=0))
    grid = Grid.around(
        inside,
        IMAGE_MM,
        MARGIN_MM,
        frame_of_reference_uid=volume.grid.frame_of_reference_uid,
    )
    image = resample(volume.values, volume.grid, grid, NOT_IMAGED_HU)
    return np.ascontiguousarray(image, np.float32), grid  # the fields around it are in C order


def facing(surface: Surface, others: list[Surface], reach_mm: float) -> NDArray[np.bool_]:
    """(V,) vertices that another surface faces within reach_mm."""
    vertices = np.concatenate([other.vertices for other in others])
    normals = np.concatenate([other.normals for other in others])
    distance, nearest = cKDTree(vertices).query(surface.vertices, distance_upper_bound=reach_mm)
    near = np.isfinite(distance)
    nearest = np.where(near, nearest, 0)
    toward = (vertices[nearest] - surface.vertices) / np.maximum(distance, 1e-6)[:, None]
    opposed = (normals[nearest] * surface.normals).sum(axis=1) < -0.3
    ahead = np.nan_to_num((toward * surface.normals).sum(axis=1)) > 0.3
    return np.asarray(near & opposed & ahead)


def on_endplate(sacrum: Surface) -> NDArray[np.bool_]:
    """(V,) vertices of a template's S1 endplate, in the template's frame."""
    x, y, z = sacrum.vertices.T
    return np.asarray(
        (np.abs(x) < 20.0) & (np.abs(y) < 14.0) & (z > -5.0) & (sacrum.normals[:, 2] > 0.7)
    )


@dataclass(eq=False)
class _Bone:
    """A surface on its way into the image; which of its vertices look into a joint, or a disc."""

    surface: Surface
    joint: NDArray[np.bool_]
    endplate: NDArray[np.bool_]
    sheets: tuple[JointSheet, ...] = ()

    def wishes(
        self, image: NDArray[np.float32], grid: Grid, stage: Stage
    ) -> tuple[Float, Float, Float, Float]:
        """Points, normals, wished shifts (mm) and weights of a share of the vertices."""
        reach_mm, share = stage.reach_mm, slice(None, None, stage.every)
        points, normals = self.surface.vertices[share], self.surface.normals[share]
        joint = self.joint[share]
        shifts, weights = border_wishes(image, grid, points, normals, reach_mm)
        if joint.any():
            shifts[joint], weights[joint] = joint_wishes(
                image, grid, points[joint], normals[joint], reach_mm
            )
        for sheet in self.sheets:
            height, support = sheet.above(points)
            on = joint & np.isfinite(height)
            shifts[on] = -height[on] * (normals[on] @ sheet.out)
            weights[on] = np.clip(support[on] / SHEET_TRUST[1], SHEET_TRUST[0], 1.0)
        plate = self.endplate[share]
        if plate.any():
            far_mm = max(reach_mm, DISC_MM) if stage.sigma_mm >= DISC_WINDOW_MM else reach_mm
            shifts[plate], weights[plate] = endplate_wishes(
                image, grid, points[plate], normals[plate], far_mm
            )
        for offset_mm in (-reach_mm, 0.0, reach_mm):  # the image's edge is no border of bone
            weights[~imaged(image, grid, points + offset_mm * normals)] = 0.0
        return points, normals, shifts, weights

    def move(self, displacement: Float) -> None:
        self.surface = self.surface.moved(self.surface.vertices + displacement)


def fit(
    volume: Volume,
    template: Template,
    found: Localisation,
    progress: Callable[[float], None] | None = None,
) -> tuple[Fitted, NDArray[np.float32], Grid]:
    """Bend a posed template to the image.

    Returns the fitted surfaces, and the 1 mm image (HU, from crop_image) with its grid that they
    were fitted to.
    """
    pose, bend = found.pose, found.bend

    def place(points: Float) -> Float:
        return pose.apply(bend.apply(points))

    everything = np.concatenate(
        [template.hull.vertices, *(h.vertices for h in template.hips.values())]
    )
    image, grid = crop_image(volume, pose.apply(everything))
    sacrum, hips, l5 = _posed_bones(template, place, pose.apply)
    start = sacrum.surface.vertices.copy()
    riders = {
        "hull": template.hull.vertices,
        **{n: s.vertices for n, s in template.channels.items()},
    }
    riders |= {f"mark {name}": points for name, points in template.landmarks.items()}
    carried = place(np.concatenate(list(riders.values())))
    for number, stage in enumerate(STAGES):
        for _ in range(stage.repetitions):
            carried = _bend(image, grid, sacrum, hips, l5, carried, stage)
        if stage.sigma_mm == JOINT_WINDOW_MM:
            sacrum.sheets = _joints(image, grid, sacrum, hips)
            carried = _reseat(image, grid, template, sacrum, carried, riders)
        if progress is not None:
            progress((number + 1) / len(STAGES))
    parts = _apart(carried, riders)
    moved = np.linalg.norm(sacrum.surface.vertices - start, axis=1)
    fitted = Fitted(
        sacrum=sacrum.surface,
        hips={side: hip.surface for side, hip in hips.items()},
        l5=l5.surface,
        hull=template.hull.moved(parts["hull"]),
        channels={name: s.moved(parts[name]) for name, s in template.channels.items()},
        landmarks={name: parts[f"mark {name}"] for name in template.landmarks},
        moved_mm=moved,
        endplate=sacrum.endplate,
        lower=template.sacrum.vertices[:, 2] < LOWER_MM,
        joints=sacrum.sheets,
    )
    return fitted, image, grid


def _posed_bones(
    template: Template, place: Callable[[Float], Float], carry: Callable[[Float], Float]
) -> tuple[_Bone, dict[Side, _Bone], _Bone]:
    """Sacrum, hips and L5 at the start of the bending: place bends the sacrum, carry is rigid."""
    sacrum = _Bone(
        template.sacrum.moved(place(template.sacrum.vertices)),
        facing(template.sacrum, list(template.hips.values()), JOINT_REACH_MM),
        on_endplate(template.sacrum),
    )
    hips = {
        side: _Bone(
            hip.moved(carry(hip.vertices)),
            facing(hip, [template.sacrum], JOINT_REACH_MM),
            np.zeros(len(hip.vertices), bool),
        )
        for side, hip in template.hips.items()
    }
    nowhere = np.zeros(len(template.l5.vertices), bool)
    l5 = _Bone(template.l5.moved(carry(template.l5.vertices)), nowhere, nowhere.copy())
    return sacrum, hips, l5


def _apart(carried: Float, riders: dict[str, Float]) -> dict[str, Float]:
    """Divide carried points by the riders they are."""
    ends = np.cumsum([len(points) for points in riders.values()])[:-1]
    return dict(zip(riders, np.split(carried, ends), strict=True))


def _reseat(
    image: NDArray[np.float32],
    grid: Grid,
    template: Template,
    sacrum: _Bone,
    carried: Float,
    riders: dict[str, Float],
) -> Float:
    """Move lower foramina where they clearly lie elsewhere; returns the carried points."""
    for row in ROWS:
        parts = _apart(carried, riders)
        channels = {name: s.moved(parts[name]) for name, s in template.channels.items()}
        marks = {name: parts[f"mark {name}"] for name in template.landmarks}
        shifts = seek(image, grid, channels, marks, row)
        if shifts:
            sacrum.move(carry_along(sacrum.surface.vertices, shifts, marks, row))
            carried = carried + carry_along(carried, shifts, marks, row)
    return carried


def _joints(
    image: NDArray[np.float32], grid: Grid, sacrum: _Bone, hips: dict[Side, _Bone]
) -> tuple[JointSheet, ...]:
    """Find the sheets of both joints, as far as they are in the image."""
    found = []
    for hip in hips.values():
        near = facing(sacrum.surface, [hip.surface], JOINT_REACH_MM)
        near &= imaged(image, grid, sacrum.surface.vertices)
        sheet = find_joint(image, grid, sacrum.surface, near, hip.surface)
        if sheet is not None:
            found.append(sheet)
    return tuple(found)


def _bend(
    image: NDArray[np.float32],
    grid: Grid,
    sacrum: _Bone,
    hips: dict[Side, _Bone],
    l5: _Bone,
    carried: Float,
    stage: Stage,
) -> Float:
    """One round of wishes and displacements; returns where the carried points go."""
    others, sigma_mm = [*hips.values(), l5], stage.sigma_mm
    if sigma_mm > TOGETHER_MM:
        bones = [sacrum, *others]
        wishes = [
            np.concatenate(w)
            for w in zip(*(b.wishes(image, grid, stage) for b in bones), strict=True)
        ]
        at = np.concatenate([*(b.surface.vertices for b in bones), carried])
        shift = smooth_displacement(wishes[0], wishes[1], wishes[2], wishes[3], sigma_mm, at)
        pieces = np.split(shift, np.cumsum([len(b.surface.vertices) for b in bones]))
        for bone, piece in zip(bones, pieces[:-1], strict=True):
            bone.move(piece)
        return np.asarray(carried + pieces[-1])
    own = sacrum.wishes(image, grid, stage)
    size = len(sacrum.surface.vertices)
    shift = smooth_displacement(*own, sigma_mm, np.concatenate([sacrum.surface.vertices, carried]))
    sacrum.move(shift[:size])
    if sigma_mm >= HIP_WINDOW_MM:
        for bone in others:
            mine = bone.wishes(image, grid, stage)
            bone.move(smooth_displacement(*mine, sigma_mm, bone.surface.vertices))
    return np.asarray(carried + shift[size:])
