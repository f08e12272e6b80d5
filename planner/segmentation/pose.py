"""The pose of a template between its sacral frame and the patient, and the bend of its sacrum.

Scales are kept as bounded logarithms: unbounded, a fit to edges shrinks to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation

from planner.geometry.grid import Float


@dataclass(frozen=True, eq=False)
class Pose:
    """patient = rotation @ (scale * sacrum) + translation.

    translation: (3,) patient LPS, mm. rotation_deg: (3,) extrinsic angles about the patient's
    x, y and z. log_scale: (3,) natural logarithms of the scales along the template's axes.
    """

    translation: Float
    rotation_deg: Float
    log_scale: Float

    @property
    def axes(self) -> Float:
        """(3, 3) columns: the template's axes in patient LPS."""
        return np.asarray(Rotation.from_euler("xyz", self.rotation_deg, degrees=True).as_matrix())

    def apply(self, points_sacrum: ArrayLike) -> Float:
        """Map (..., 3) template points to patient LPS, mm."""
        scaled = np.asarray(points_sacrum, float) * np.exp(self.log_scale)
        return np.asarray(scaled @ self.axes.T + self.translation)

    def turn(self, directions_sacrum: ArrayLike) -> Float:
        """Turn (..., 3) template normals into patient LPS (unit length)."""
        scaled = np.asarray(directions_sacrum, float) / np.exp(self.log_scale)
        turned = scaled @ self.axes.T
        return np.asarray(turned / np.maximum(np.linalg.norm(turned, axis=-1, keepdims=True), 1e-9))

    def vector(self) -> Float:
        """(9,) translation mm, rotation deg, log scale."""
        return np.concatenate([self.translation, self.rotation_deg, self.log_scale])

    @classmethod
    def from_vector(cls, vector: ArrayLike) -> Pose:
        """Build from (9,) translation mm, rotation deg, log scale."""
        v = np.asarray(vector, float)
        return cls(v[:3], v[3:6], v[6:9])


BEND_REFERENCE_MM = 100.0
"""Depth below the endplate at which a bend's figures are reached; sacra are 94 to 108 mm long."""


@dataclass(frozen=True)
class Bend:
    """How a sacrum's shape departs from the mean where scales cannot follow: in the sagittal plane.

    curve_mm: how far back the lower end goes. stretch_mm: how far down. pitch_deg: turn about the
    endplate's transverse axis against the hips. rise_mm, back_mm: shift against the hips.
    """

    curve_mm: float = 0.0
    stretch_mm: float = 0.0
    pitch_deg: float = 0.0
    rise_mm: float = 0.0
    back_mm: float = 0.0

    def apply(self, points_sacrum: ArrayLike) -> Float:
        """Map (..., 3) template points to the bent sacrum, both in the template's frame, mm."""
        points = np.array(points_sacrum, float)
        depth = np.clip(-points[..., 2] / BEND_REFERENCE_MM, 0.0, 1.5) ** 2
        points[..., 1] += self.curve_mm * depth
        points[..., 2] -= self.stretch_mm * depth
        turn = Rotation.from_euler("x", self.pitch_deg, degrees=True).as_matrix()
        return np.asarray(points @ turn.T + (0.0, self.back_mm, self.rise_mm))
