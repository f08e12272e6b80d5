"""Planes to look at: where they lie, what is right and up in them, and the letters on their edges.

Pictures follow the radiological convention: the patient's left is at the image's right, in axial
and in coronal pictures; sagittal pictures have the patient's back at the right. The view from
behind is the exception and is labelled as such. Letters come from the axes themselves (L, R, A, P,
H, F; the second letter of an oblique axis names its smaller part), never from a view's name.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from planner.anatomy.orientation import ASKEW_DEG, body_axes, lie_of
from planner.geometry.grid import IDENTITY, Float
from planner.model.anatomy import Anatomy
from planner.model.trajectory import Trajectory

LETTERS = (("L", "R"), ("P", "A"), ("H", "F"))  # of +x, -x, +y, -y, +z, -z in LPS
# An axis counts as oblique, and gets a second letter, from about 20 degrees.
SECOND_LETTER = 0.34

# Heights below the S1 endplate of a mean sacrum (segment heights 28 and 30 mm), for a level whose
# foramina were not found.
TYPICAL_LEVEL_MM = {"S1": -18.0, "S2": -45.0}

# Below this part of "cranial" left square to a needle, the needle runs within 12 degrees of the
# patient's axis and the direction of what is left is a matter of rounding: the front is up then.
LEAST_UP = 0.2

# Bone within this distance of a plane decides where the picture is centred.
BONE_SLAB_MM = 4.0


@dataclass(frozen=True, eq=False)
class View:
    """A plane to look at.

    centre: (3,) patient LPS, mm. right, up: (3,) unit vectors of the picture, patient LPS.
    sides: (3, 3) columns: left, back and up, by which the picture's edges are lettered.
    """

    name: str
    centre: Float
    right: Float
    up: Float
    sides: Float = field(default_factory=lambda: IDENTITY)

    def points(self, width_mm: float, height_mm: float, columns: int, rows: int) -> Float:
        """(rows, columns, 3) pixel centres, patient LPS; row 0 is the lowest."""
        x = (np.arange(columns) + 0.5) / columns * width_mm - width_mm / 2.0
        y = (np.arange(rows) + 0.5) / rows * height_mm - height_mm / 2.0
        return np.asarray(self.centre + x[None, :, None] * self.right + y[:, None, None] * self.up)

    def project(self, points: ArrayLike) -> Float:
        """Map (..., 3) patient points to (..., 2) mm right and up of the centre."""
        along = np.asarray(points, float) - self.centre
        return np.asarray(np.stack([along @ self.right, along @ self.up], axis=-1))

    @property
    def edges(self) -> dict[str, str]:
        """Orientation letters at the left, right, bottom and top edge."""
        return {
            "left": direction_letters(-self.right @ self.sides),
            "right": direction_letters(self.right @ self.sides),
            "bottom": direction_letters(-self.up @ self.sides),
            "top": direction_letters(self.up @ self.sides),
        }


def sides_of(anatomy: Anatomy) -> Float:
    """(3, 3) columns: what a picture calls left, back and up.

    The scan's own, as other programs have it; the body's where the scan's do not fit the body.
    """
    turn = body_axes(anatomy.frame)
    return turn if abs(lie_of(turn).yaw_deg) > ASKEW_DEG else IDENTITY


def direction_letters(direction: ArrayLike) -> str:
    """Name a (3,) direction to left, back and up by the side of the patient that it points to."""
    vector = np.asarray(direction, float)
    vector = vector / np.linalg.norm(vector)
    order = np.argsort(-np.abs(vector), kind="stable")
    letters = LETTERS[order[0]][int(vector[order[0]] < 0)]
    if abs(vector[order[1]]) >= SECOND_LETTER:
        letters += LETTERS[order[1]][int(vector[order[1]] < 0)]
    return letters


def axial(anatomy: Anatomy, level: str) -> View:
    """Cut parallel to the S1 endplate, at the height of a level's foramina."""
    centres = [item.centre for item in anatomy.foramina if item.level == level]
    found = [float(anatomy.frame.to_sacrum(centre)[2]) for centre in centres]
    z = float(np.mean(found)) if found else TYPICAL_LEVEL_MM[level]
    middle = _bone_middle(anatomy, 2, z)
    left, posterior, _ = anatomy.frame.axes.T
    centre = anatomy.frame.to_patient((0.0, middle[1], z))
    return View(
        f"Axial, parallel to the S1 endplate, at {level} foramina",
        centre,
        left,
        -posterior,
        sides_of(anatomy),
    )


def midsagittal(anatomy: Anatomy) -> View:
    """Cut along the patient's own midplane."""
    _, posterior, cranial = anatomy.frame.axes.T
    centre = anatomy.frame.to_patient(_bone_middle(anatomy, 0, 0.0) * (0.0, 1.0, 1.0))
    return View("Midsagittal", centre, posterior, cranial, sides_of(anatomy))


def coronal(anatomy: Anatomy) -> View:
    """Cut along the line of the foramina, in the sense of a long-axis coronal."""
    left = anatomy.frame.axes[:, 0]
    points = anatomy.frame.to_sacrum(
        [item.centre for item in anatomy.foramina] if anatomy.foramina else anatomy.axis
    )
    middle = points.mean(axis=0)
    offsets = points[:, 1:] - middle[1:]
    along = np.linalg.svd(offsets, full_matrices=False)[2][0] if len(points) > 1 else (0.0, 1.0)
    up = anatomy.frame.direction_to_patient((0.0, along[0], along[1]))
    if up @ anatomy.frame.axes[:, 2] < 0:
        up = -up
    centre = anatomy.frame.to_patient((0.0, middle[1], middle[2]))
    up = up / np.linalg.norm(up)
    return View("Coronal, along the foramina", centre, left, up, sides_of(anatomy))


def from_behind(anatomy: Anatomy) -> View:
    """Look at the sacrum from behind: the patient's left is at the image's left."""
    left, _, cranial = anatomy.frame.axes.T
    middle = anatomy.frame.to_sacrum(anatomy.surface.vertices)
    low, high = middle.min(axis=0), middle.max(axis=0)
    centre = anatomy.frame.to_patient(((low + high) / 2.0) * (0.0, 1.0, 1.0))
    return View("From behind", centre, -left, cranial, sides_of(anatomy))


def across_needle(path: Trajectory, anatomy: Anatomy) -> View:
    """Cut along a needle and the patient's left-right axis; the needle runs upwards."""
    left = anatomy.frame.axes[:, 0]
    along = path.direction
    up = along - (along @ left) * left
    middle = (path.bone_entry + path.tip) / 2.0
    up = up / np.linalg.norm(up)
    return View("needle + left-right", middle, left, up, sides_of(anatomy))


def beside_needle(path: Trajectory, anatomy: Anatomy) -> View:
    """Cut along a needle, as close to sagittal as the needle allows."""
    left, _, cranial = anatomy.frame.axes.T
    along = path.direction
    normal = left - (left @ along) * along
    normal = normal / np.linalg.norm(normal)
    up = cranial - (cranial @ normal) * normal
    up = up / np.linalg.norm(up)
    middle = (path.bone_entry + path.tip) / 2.0
    return View("needle, sagittal", middle, np.cross(up, normal), up, sides_of(anatomy))


def square_view(path: Trajectory, anatomy: Anatomy, point: Float) -> View:
    """Cut square to a needle at a (3,) point, as seen from its hub."""
    along = path.direction
    up = _square_to(anatomy.frame.axes[:, 2], along)
    if np.linalg.norm(up) < LEAST_UP:
        up = _square_to(-anatomy.frame.axes[:, 1], along)
    up = up / np.linalg.norm(up)
    right = np.cross(along, up)
    return View("across", np.asarray(point, float), right, up, sides_of(anatomy))


def _square_to(direction: Float, along: Float) -> Float:
    return np.asarray(direction - (direction @ along) * along)


def _bone_middle(anatomy: Anatomy, axis: int, height: float) -> Float:
    """Middle of the box around the bone near a plane of the sacral frame, in that frame."""
    points = anatomy.frame.to_sacrum(anatomy.surface.vertices)
    near = points[np.abs(points[:, axis] - height) < BONE_SLAB_MM]
    chosen = near if len(near) else points
    return np.asarray((chosen.min(axis=0) + chosen.max(axis=0)) / 2.0)
