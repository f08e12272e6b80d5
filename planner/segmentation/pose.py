"""The pose of a template: nine degrees of freedom between its sacral frame and the patient.

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
