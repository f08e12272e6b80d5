"""The sacrum and its neighbours: labels, landmarks, surfaces and the patient's own sacral frame.

The sacral frame is right-handed: origin in the midsagittal plane at the S1 superior endplate, x to
the patient's left, y to the patient's back, z along the endplate's normal (cranial). It is LPS
turned by the sacral slope, and what `_sacrum` in a name means.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from planner.geometry.grid import Float, Grid
from planner.geometry.order import in_common_order

Side = Literal["left", "right"]
SIDES: tuple[Side, Side] = ("left", "right")
LEVELS = ("S1", "S2", "S3", "S4", "S5")


def side_sign(side: Side) -> int:
    """+1 for the patient's left, -1 for the right: the sign of x in LPS and in the sacral frame."""
    return 1 if side == "left" else -1


def _label_values() -> dict[str, int]:
    names = ["sacrum", "sacral_canal"]
    names += [f"foramen_{level.lower()}_{side}" for level in LEVELS for side in SIDES]
    names += ["hip_left", "hip_right", "l5", "facet_left", "facet_right"]
    return {name: value for value, name in enumerate(names, start=1)}


LABELS = MappingProxyType(_label_values())
"""Segment name to value in a label map; 0 is background. Facets are the joints of L5 and S1."""
CHANNELS = tuple(n for n in LABELS if n == "sacral_canal" or n.startswith("foramen"))
"""Segments that nerves run through."""


class Region(StrEnum):
    """Named parts of the sacrum's outer surface."""

    ANTERIOR = "anterior_cortex"
    POSTERIOR = "posterior_cortex"
    SACROILIAC = "sacroiliac_joint"
    SUPERIOR = "superior_cortex"
    INFERIOR = "inferior"
    CANAL = "canal_wall"
    FORAMEN = "foramen_wall"


REGIONS = tuple(Region)
"""Order of the values in `SacralSurface.regions`."""


@dataclass(frozen=True, eq=False)
class SacralFrame:
    """The patient's sacral frame.

    origin: (3,) patient LPS, mm. axes: (3, 3), columns x (left), y (posterior), z (cranial).
    """

    origin: Float
    axes: Float

    def __post_init__(self) -> None:
        axes = np.asarray(self.axes, float)
        if axes.shape != (3, 3) or not np.allclose(axes.T @ axes, np.eye(3), atol=1e-6):
            raise ValueError(f"the axes of a frame must be orthonormal columns, got {axes}")
        if np.linalg.det(axes) < 0:
            raise ValueError("the sacral frame must be right-handed")

    def to_sacrum(self, points: ArrayLike) -> Float:
        """Map (..., 3) patient points, mm, into the sacral frame, mm."""
        return np.asarray((np.asarray(points, float) - self.origin) @ self.axes)

    def to_patient(self, points_sacrum: ArrayLike) -> Float:
        """Map (..., 3) points of the sacral frame to patient LPS, mm."""
        return np.asarray(np.asarray(points_sacrum, float) @ self.axes.T + self.origin)

    def direction_to_patient(self, direction_sacrum: ArrayLike) -> Float:
        """Turn (..., 3) directions of the sacral frame into patient LPS."""
        return np.asarray(np.asarray(direction_sacrum, float) @ self.axes.T)

    def direction_to_sacrum(self, direction: ArrayLike) -> Float:
        """Turn (..., 3) patient directions into the sacral frame."""
        return np.asarray(np.asarray(direction, float) @ self.axes)


@dataclass(frozen=True, eq=False)
class Foramen:
    """One foramen: the channel from its dorsal to its ventral opening.

    centre, ventral, dorsal: (3,) patient LPS, mm. width_mm: diameter of the narrowest section.
    confidence: 0 to 1.
    """

    level: str
    side: Side
    centre: Float
    ventral: Float
    dorsal: Float
    width_mm: float
    confidence: float

    @property
    def name(self) -> str:
        """Segment name, such as foramen_s1_left."""
        return f"foramen_{self.level.lower()}_{self.side}"


@dataclass(frozen=True, eq=False)
class SacralSurface:
    """The sacrum's bone surface with a region for every triangle.

    vertices: (V, 3) patient LPS, mm. faces: (F, 3), facing outwards.
    regions: (F,) index into REGIONS.
    """

    vertices: Float
    faces: NDArray[np.int64]
    regions: NDArray[np.uint8]

    def part(self, *regions: Region) -> tuple[Float, NDArray[np.int64]]:
        """Return vertices and faces of the named regions only (vertices not renumbered)."""
        wanted = np.isin(self.regions, [REGIONS.index(region) for region in regions])
        return self.vertices, self.faces[wanted]


@dataclass(frozen=True)
class Check:
    """One thing that was asked of the anatomy, and what was measured.

    limit: least and most that is expected, in unit. structures: names of the segments that it
    speaks for or against. factor: what their confidence is multiplied by where it fails. message:
    in words, where it fails.
    """

    name: str
    measured: float
    limit: tuple[float, float]
    unit: str
    structures: tuple[str, ...] = ()
    factor: float = 1.0
    message: str = ""

    @property
    def passed(self) -> bool:
        """Whether what was measured lies within the limit."""
        return self.limit[0] <= self.measured <= self.limit[1]


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Everything that planning knows of the patient's bones.

    labels: (I, J, K) uint8 on grid, values of LABELS.
    axis: (N, 3) curved sacral axis through the vertebral bodies from S1 downwards, patient LPS, mm.
    canal_axis: (N, 3) centreline of the sacral canal from cranial to caudal, patient LPS, mm.
    foramina: those that were found; a foramen that is missing is absent here and named in warnings.
    confidence: 0 to 1, overall. confidences: per structure. checks: what they rest on.
    source: builtin, provided or totalsegmentator.
    """

    grid: Grid
    labels: NDArray[np.uint8]
    frame: SacralFrame
    endplate_centre: Float
    endplate_normal: Float
    axis: Float
    canal_axis: Float
    foramina: tuple[Foramen, ...]
    surface: SacralSurface
    source: str
    confidence: float
    confidences: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()

    def __post_init__(self) -> None:
        if self.labels.shape != self.grid.shape:
            raise ValueError(f"labels {self.labels.shape} do not fit the grid {self.grid.shape}")
        self.labels.setflags(write=False)

    @cached_property
    def ordered(self) -> tuple[NDArray[np.uint8], Grid]:
        """Labels and grid in the common order: what is measured must not depend on the storage."""
        return in_common_order(self.labels, self.grid)

    def mask(self, *names: str) -> NDArray[np.bool_]:
        """(I, J, K) voxels of the named segments."""
        return np.isin(self.labels, [LABELS[name] for name in names])

    def foramen(self, level: str, side: Side) -> Foramen | None:
        """Return the foramen of a level and side, or None where it was not found."""
        for item in self.foramina:
            if item.level == level and item.side == side:
                return item
        return None
