"""Needles, trajectories and what is measured on them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import numpy as np

from planner.geometry.grid import Float
from planner.model.anatomy import Side


class Technique(StrEnum):
    """The four ways of putting a needle into the sacral ala."""

    SHORT_AXIS = "short_axis"
    LONG_AXIS = "long_axis"
    S2_ENTRY = "s2_entry"
    S2_S3_ENTRY = "s2_s3_entry"


class Structure(StrEnum):
    """What a needle must keep clear of; the names of `clearance` in plan.json."""

    FORAMINA = "foramina"
    CANAL = "canal"
    ANTERIOR = "anterior_cortex"
    SACROILIAC = "sacroiliac_joint"
    SUPERIOR = "superior_cortex"
    POSTERIOR = "posterior_cortex"


# Outer diameters, mm: hypodermic gauge as listed by needle makers for bone access needles.
OUTER_DIAMETERS_MM = MappingProxyType({"8G": 4.191, "10G": 3.404, "11G": 3.048, "13G": 2.413})


@dataclass(frozen=True)
class Needle:
    """A needle by its gauge."""

    gauge: str = "11G"

    def __post_init__(self) -> None:
        if self.gauge not in OUTER_DIAMETERS_MM:
            raise ValueError(
                f"needle gauge must be one of {list(OUTER_DIAMETERS_MM)}, got {self.gauge!r}"
            )

    @property
    def outer_diameter_mm(self) -> float:
        """Outer diameter, mm."""
        return OUTER_DIAMETERS_MM[self.gauge]

    @property
    def radius_mm(self) -> float:
        """Outer radius, mm."""
        return self.outer_diameter_mm / 2.0


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A straight needle path from the skin through the posterior cortex to its tip.

    Points are (3,) patient LPS, mm. level: the sacral level at which the needle enters the bone
    (S1, S2, S2/S3, S3).
    """

    technique: Technique
    side: Side
    level: str
    skin_entry: Float
    bone_entry: Float
    tip: Float
    needle: Needle

    @property
    def direction(self) -> Float:
        """(3,) unit vector from bone entry to tip."""
        along = self.tip - self.bone_entry
        return np.asarray(along / np.linalg.norm(along))

    @property
    def intraosseous_length_mm(self) -> float:
        """Length from bone entry to tip, mm."""
        return float(np.linalg.norm(self.tip - self.bone_entry))

    @property
    def skin_to_tip_mm(self) -> float:
        """Length from skin to tip, mm."""
        return float(np.linalg.norm(self.tip - self.skin_entry))


@dataclass(frozen=True, eq=False)
class Clearance:
    """Distance from the needle's surface to a structure over the path from bone entry to tip.

    distance_mm: negative inside the structure. witness: (3,) nearest point of the structure.
    depth_mm: how far behind the bone entry it is nearest.
    label: the segment where there are several.
    """

    structure: Structure
    distance_mm: float
    witness: Float
    depth_mm: float
    label: str = ""


@dataclass(frozen=True)
class Rejection:
    """Why a candidate was refused."""

    constraint: str
    measured: float
    limit: float
    unit: str


@dataclass(frozen=True)
class Criterion:
    """One soft criterion: its value, how good that is (0 to 1), and how much it counts."""

    name: str
    value: float
    unit: str
    utility: float
    weight: float


@dataclass(frozen=True, eq=False)
class ScoredTrajectory:
    """A trajectory that passed the hard limits, with everything measured on it.

    breach_probability: structure to probability, and `any`. rank: 1 is best, over all trajectories.
    non_dominated: no other one of its side is at least as good by every criterion that counts, and
    better by one.
    """

    id: str
    rank: int
    trajectory: Trajectory
    clearances: dict[Structure, Clearance]
    breach_probability: dict[str, float]
    criteria: tuple[Criterion, ...]
    score: float
    measures: dict[str, float]
    warnings: tuple[str, ...] = ()
    non_dominated: bool = True
