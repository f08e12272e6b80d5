"""The shaft behind the entry must not pass through the sacrum a second time."""

from __future__ import annotations

from dataclasses import dataclass

from planner.model.configuration import Limits
from planner.model.trajectory import Rejection
from planner.scoring.evidence import Evidence


@dataclass(frozen=True)
class SingleBoneEntry:
    """The shaft behind the entry must not pass through the sacrum a second time."""

    name: str = "single_bone_entry"

    def check(self, evidence: Evidence, limits: Limits) -> Rejection | None:
        """Return why a needle is refused, or None."""
        return Rejection(self.name, 2.0, 1.0, "entries") if evidence.returns_to_bone else None
