"""Hard limits, one file each: a needle that breaks one is refused, and the first is counted.

`CONSTRAINTS` gives the order: clearances first, then entry and shaft, then the way to the skin.
"""

from __future__ import annotations

from typing import Protocol

from planner.model.configuration import Limits
from planner.model.trajectory import Rejection, Structure
from planner.scoring.constraints.clearance import ClearanceLimit
from planner.scoring.constraints.entry_incidence import EntryIncidence
from planner.scoring.constraints.entry_on_bone import EntryOnBone
from planner.scoring.constraints.hip_clearance import HipClearance
from planner.scoring.constraints.posterior_cortex import PosteriorCortex
from planner.scoring.constraints.shaft_foramina import ShaftForamina
from planner.scoring.constraints.single_bone_entry import SingleBoneEntry
from planner.scoring.constraints.single_skin_crossing import SingleSkinCrossing
from planner.scoring.constraints.skin_in_view import SkinInView
from planner.scoring.constraints.skin_to_tip import SkinToTip
from planner.scoring.constraints.tip_to_anterior import TipToAnterior
from planner.scoring.evidence import Evidence


class Constraint(Protocol):
    """A hard limit."""

    @property
    def name(self) -> str:
        """Key of the tally of rejections."""
        ...

    def check(self, evidence: Evidence, limits: Limits) -> Rejection | None:
        """Return why a needle is refused, or None."""
        ...


CONSTRAINTS: tuple[Constraint, ...] = (
    ClearanceLimit(Structure.FORAMINA),
    ClearanceLimit(Structure.CANAL),
    ClearanceLimit(Structure.ANTERIOR),
    ClearanceLimit(Structure.SACROILIAC),
    ClearanceLimit(Structure.SUPERIOR),
    TipToAnterior(),
    EntryOnBone(),
    SingleBoneEntry(),
    EntryIncidence(),
    PosteriorCortex(),
    ShaftForamina(),
    HipClearance(),
    SkinInView(),
    SingleSkinCrossing(),
    SkinToTip(),
)


def broken_limits(evidence: Evidence, limits: Limits) -> tuple[Rejection, ...]:
    """List every limit that a needle breaks, in the order of CONSTRAINTS."""
    checked = (constraint.check(evidence, limits) for constraint in CONSTRAINTS)
    return tuple(rejection for rejection in checked if rejection is not None)
