"""What is known of a phantom without measuring it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from planner.geometry.grid import Float, Grid
from planner.model.anatomy import LABELS, SIDES, Foramen, SacralFrame, Side, side_sign
from planner.phantom.anatomy import PhantomAnatomy, label_map
from planner.phantom.lattice import Floats
from planner.phantom.tissue import FRACTURE_LEVEL_MM
from planner.shape import sacrum

TRUTH_VERSION = 1


@dataclass(frozen=True, eq=False)
class PhantomTruth:
    """Labels, landmarks and analytic distances of a phantom; points are patient LPS, mm.

    labels: (I, J, K) uint8 on grid, values of LABELS, by the sign of the analytic distance at the
    voxel centre; where structures overlap sacrum, canal, foramina, L5, hips win in this order.
    foramina: with their landmarks, S1 first, left before right.
    """

    anatomy: PhantomAnatomy
    grid: Grid
    labels: NDArray[np.uint8]
    foramina: tuple[Foramen, ...]

    @classmethod
    def of(cls, anatomy: PhantomAnatomy, grid: Grid) -> PhantomTruth:
        """Work out the truth of a phantom on a grid."""
        labels = label_map(anatomy, grid)
        labels.setflags(write=False)
        return cls(anatomy, grid, labels, anatomy.landmarks())

    @property
    def frame(self) -> SacralFrame:
        """The sacral frame."""
        return self.anatomy.frame

    @property
    def structures(self) -> tuple[str, ...]:
        """Names of the segments that this phantom has."""
        return self.anatomy.structures

    @property
    def endplate_centre(self) -> Float:
        """(3,) centre of the S1 superior endplate."""
        return self.frame.origin

    @property
    def endplate_normal(self) -> Float:
        """(3,) unit normal of the S1 superior endplate, cranial."""
        return np.asarray(self.frame.axes[:, 2])

    @property
    def sacral_axis(self) -> Float:
        """(N, 3) curved axis through the vertebral bodies, from S1 downwards."""
        return self.frame.to_patient(sacrum.sacral_axis(self.anatomy.parameters.sacrum))

    @property
    def canal_axis(self) -> Float:
        """(N, 3) centreline of the canal from cranial to caudal."""
        return self.frame.to_patient(sacrum.canal_centreline(self.anatomy.parameters.sacrum))

    def foramen(self, level: str, side: Side) -> Foramen:
        """Return the foramen of a level (S1..S5) and side; KeyError where there is none."""
        for item in self.foramina:
            if item.level == level and item.side == side:
                return item
        raise KeyError(f"this phantom has no foramen {level} {side}")

    def mask(self, *names: str) -> NDArray[np.bool_]:
        """(I, J, K) voxels of the named segments."""
        return np.isin(self.labels, [LABELS[name] for name in names])

    def distance(self, structure: str, points: ArrayLike) -> Floats:
        """Analytic signed distance (...) in mm, negative inside, at (..., 3) patient points.

        structure: one of `structures`, or sacrum_hull, femur_left, femur_right. First-order: true
        near the surface, a bound far away. Raises ValueError for an unknown structure.
        """
        where = np.asarray(points, float)
        found = self.anatomy.distance(structure, where.reshape(-1, 3))
        return found.reshape(where.shape[:-1])

    def distance_volume(self, structure: str, grid: Grid | None = None) -> Floats:
        """Analytic signed distance (mm) at every voxel centre of a grid, by default the truth's."""
        on = self.grid if grid is None else grid
        out = np.empty(on.shape, np.float32)
        rows = np.stack(np.meshgrid(*(np.arange(n) for n in on.shape[1:]), indexing="ij"), -1)
        ijk = np.zeros((*on.shape[1:], 3))
        ijk[..., 1:] = rows
        for i in range(on.shape[0]):
            ijk[..., 0] = i
            out[i] = self.distance(structure, on.to_patient(ijk))
        return out

    def fracture_line(self, side: Side) -> Float:
        """(N, 3) mean line of an alar fracture at the depth of the bodies' back, cranial first.

        Empty (0, 3) where that ala is whole. The rendered line wavers about it by a few mm.
        """
        fracture = self.anatomy.parameters.fracture(side)
        if fracture is None:
            return np.empty((0, 3))
        z = -np.arange(0.0, fracture.length_mm + 1.0, 5.0)
        run = np.tan(np.deg2rad(fracture.slant_deg)) * (-z - FRACTURE_LEVEL_MM)
        x = side_sign(side) * (fracture.lateral_mm + run)
        return self.frame.to_patient(np.stack([x, np.zeros_like(z), z], axis=1))

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the label map, as it goes into truth.json."""
        foramina = [
            {
                "level": item.level,
                "side": item.side,
                "centre_mm": _plain(item.centre),
                "ventral_mm": _plain(item.ventral),
                "dorsal_mm": _plain(item.dorsal),
                "width_mm": round(item.width_mm, 4),
            }
            for item in self.foramina
        ]
        lines = [
            {"side": side, "line_mm": _plain(self.fracture_line(side))}
            for side in SIDES
            if self.anatomy.parameters.fracture(side) is not None
        ]
        return {
            "truth_version": TRUTH_VERSION,
            "note": "Synthetic phantom, not a patient.",
            "frame": {
                "coordinate_system": "LPS",
                "unit": "mm",
                "frame_of_reference_uid": self.grid.frame_of_reference_uid,
            },
            "grid": {
                "size": list(self.grid.shape),
                "spacing_mm": _plain(self.grid.spacing_mm),
                "patient_from_ijk": _plain(self.grid.patient_from_ijk),
            },
            "labels": {name: LABELS[name] for name in self.structures},
            "sacral_frame": {
                "origin_mm": _plain(self.frame.origin),
                "axes": _plain(self.frame.axes, 9),
            },
            "s1_endplate": {
                "centre_mm": _plain(self.endplate_centre),
                "normal": _plain(self.endplate_normal, 9),
            },
            "foramina": foramina,
            "sacral_axis_mm": _plain(self.sacral_axis[::5]),
            "canal_axis_mm": _plain(self.canal_axis[::3]),
            "fractures": lines,
            "parameters": self.anatomy.parameters.to_dict(),
        }


def _plain(values: ArrayLike, digits: int = 4) -> Any:
    """Nested lists of rounded numbers, without negative zeros."""
    return (np.round(np.asarray(values, float), digits) + 0.0).tolist()
