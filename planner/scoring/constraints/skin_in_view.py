"""The CT must show the skin where the needle starts, where the user asks for that."""

from __future__ import annotations

from dataclasses import dataclass

from planner.model.configuration import Limits
from planner.model.trajectory import Rejection
from planner.scoring.evidence import Evidence


@dataclass(frozen=True)
class SkinInView:
    """The CT must show the skin where the needle starts, where the user asks for that.

    A field cropped close to the sacrum hides the skin of steep paths, which are no worse in bone
    for it: by default they stay, with a warning.
    """

    name: str = "skin_in_view"

    def check(self, evidence: Evidence, limits: Limits) -> Rejection | None:
        """Return why a needle is refused, or None."""
        if evidence.skin_reached or not limits.skin_in_view:
            return None
        return Rejection(self.name, 0.0, 1.0, "skin crossings")
