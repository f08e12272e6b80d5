"""How far a label map is from true surfaces: the measures that `evaluate_anatomy.py` prints.

Surfaces are compared as surfaces: the true triangle mesh against the half-voxel isosurface of a
label, unsmoothed, as distances from points of the one to the triangles of the other. A perfect
label of 0.8 x 0.8 x 1.25 mm voxels measures about 0.25 mm that way, because of its staircase.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from planner.geometry.distance import distances, face_normals, isosurface
from planner.geometry.grid import Float, Grid
from planner.geometry.voxelise import voxelise
from planner.model.anatomy import LABELS, SIDES

SAMPLES = 6000
JOINT_MM = 5.0
"""The auricular surface: sacral surface that faces a hip's within this distance."""
FACING = 0.5
"""Cosine between the sacrum's normal and the way to the hip from which it faces it."""
FOUND_MM = 2.0
"""A foramen is found where its true centre lies inside its label or this close to it."""
RIGHT_MM, LEAST_DICE = 3.0, 0.8
LEVELS = ("s1", "s2", "s3", "s4")
FORAMINA = tuple(f"foramen_{level}_{side}" for level in LEVELS for side in SIDES)


@dataclass(frozen=True, eq=False)
class TrueAnatomy:
    """What is known of a case, patient LPS of its CT, mm.

    vertices, faces: the sacrum's closed mesh. hips: (N, 3) points of both hips' surfaces.
    walls: indices of vertices on walls of canal and foramina. foramina: centres, (3,) each.
    endplate_centre, endplate_normal: (3,).
    """

    vertices: Float
    faces: NDArray[np.int64]
    hips: Float
    walls: NDArray[np.int64]
    foramina: dict[str, Float]
    endplate_centre: Float
    endplate_normal: Float


@dataclass
class Measures:
    """One case. Distances in mm, angles in degrees, shares from 0 to 1.

    foramina: name to distance of its true centre from its label, inf where the label is missing.
    centroids: name to distance of its true centre from its label's centroid.
    mislabelled: names whose true centre lies within FOUND_MM of another foramen's label only.
    """

    dice: float
    surface: float
    joint_p95: float
    walls: float
    bone_in_channels: float
    endplate_centre: float
    endplate_height: float
    endplate_normal: float
    foramina: dict[str, float] = field(default_factory=dict)
    centroids: dict[str, float] = field(default_factory=dict)
    mislabelled: list[str] = field(default_factory=list)

    @property
    def right(self) -> bool:
        """Whether every S1 to S3 foramen is named right and within RIGHT_MM, on a true sacrum."""
        upper = {name: away for name, away in self.foramina.items() if "_s4_" not in name}
        return (
            all(away <= RIGHT_MM for away in upper.values())
            and not upper.keys() & set(self.mislabelled)
            and self.dice >= LEAST_DICE
        )

    @property
    def found(self) -> tuple[int, int, int, int]:
        """Foramina found and known, S1 to S3, then S4."""
        upper = [d <= FOUND_MM for name, d in self.foramina.items() if "_s4_" not in name]
        lower = [d <= FOUND_MM for name, d in self.foramina.items() if "_s4_" in name]
        return sum(upper), len(upper), sum(lower), len(lower)


def _thin(points: Float, count: int = SAMPLES) -> Float:
    """At most about `count` of the points, evenly through their order."""
    return points[:: max(1, len(points) // count)]


def auricular(truth: TrueAnatomy) -> NDArray[np.int64]:
    """Indices of the sacrum's vertices that face a hip across the joint."""
    normals = np.zeros_like(truth.vertices)
    for corner in range(3):
        np.add.at(normals, truth.faces[:, corner], face_normals(truth.vertices, truth.faces))
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    distance, nearest = cKDTree(truth.hips).query(truth.vertices, distance_upper_bound=JOINT_MM)
    near = np.flatnonzero(np.isfinite(distance))
    toward = (truth.hips[nearest[near]] - truth.vertices[near]) / distance[near, None].clip(1e-6)
    facing = (toward * normals[near]).sum(axis=1) > FACING
    return np.asarray(near[facing], np.int64)


def measure_labels(
    labels: NDArray[np.uint8],
    grid: Grid,
    truth: TrueAnatomy,
    endplate: tuple[Float, Float] | None,
) -> Measures:
    """Compare a label map, (I, J, K) with the values of LABELS, to the truth.

    endplate: centre and normal as derived from the labels, or None where that was refused.
    """
    inside = grid.contains(truth.vertices)
    bone = labels == LABELS["sacrum"]
    true_bone = voxelise(truth.vertices, truth.faces, grid)
    both = 2.0 * np.count_nonzero(bone & true_bone)
    where = np.argwhere(bone)
    low = np.maximum(where.min(axis=0) - 2, 0)
    high = np.minimum(where.max(axis=0) + 3, grid.shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    vertices, faces = isosurface(np.where(bone[box], -0.5, 0.5), grid.crop(low, high))
    there = distances(_thin(truth.vertices[inside]), vertices, faces)
    back = distances(_thin(vertices), truth.vertices, truth.faces)
    facing = auricular(truth)
    joint = _thin(truth.vertices[facing[inside[facing]]], 3000)
    walls = _thin(truth.vertices[truth.walls[inside[truth.walls]]], 3000)
    channel = np.isin(labels, [LABELS[name] for name in (*FORAMINA, "sacral_canal")])
    centre = normal = height = np.nan
    if endplate is not None:
        offset = endplate[0] - truth.endplate_centre
        centre = float(np.linalg.norm(offset))
        height = float(abs(offset @ truth.endplate_normal))
        cosine = np.clip(endplate[1] @ truth.endplate_normal, -1.0, 1.0)
        normal = float(np.degrees(np.arccos(cosine)))
    out = Measures(
        dice=both / float(np.count_nonzero(bone) + np.count_nonzero(true_bone)),
        surface=float(there.mean() + back.mean()) / 2.0,
        joint_p95=float(np.percentile(distances(joint, vertices, faces), 95)),
        walls=float(distances(walls, vertices, faces).mean()),
        bone_in_channels=float(np.count_nonzero(channel & true_bone) / max(channel.sum(), 1)),
        endplate_centre=centre,
        endplate_height=height,
        endplate_normal=normal,
    )
    _find_foramina(out, labels, grid, truth)
    return out


def _find_foramina(
    out: Measures, labels: NDArray[np.uint8], grid: Grid, truth: TrueAnatomy
) -> None:
    trees = {}
    for name in FORAMINA:
        voxels = np.argwhere(labels == LABELS[name])
        if len(voxels):
            trees[name] = cKDTree(grid.to_patient(voxels))
    half = float(grid.spacing_mm.max()) / 2.0
    for name, centre in truth.foramina.items():
        if not grid.contains(centre[None])[0]:
            continue
        far = {
            other: max(float(tree.query(centre)[0]) - half, 0.0) for other, tree in trees.items()
        }
        out.foramina[name] = far.get(name, np.inf)
        if name in trees:
            middle = trees[name].data.mean(axis=0)
            out.centroids[name] = float(np.linalg.norm(middle - centre))
        others = [other for other, distance in far.items() if distance <= FOUND_MM]
        if out.foramina[name] > FOUND_MM and others:
            out.mislabelled.append(name)
