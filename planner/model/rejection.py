"""What was found in a CT and not trusted: for a reviewer's eyes, never to plan on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.geometry.grid import Grid
from planner.model.volume import Volume


@dataclass(frozen=True, eq=False)
class RejectedAnatomy:
    """Labels that were refused.

    volume: the CT. labels: (I, J, K) uint8 on grid, values of LABELS. confidences: 0 to 1 by
    segment name, as stated in the reason. reason: why it was refused, in words. confidence: in the
    anatomy as a whole.
    """

    volume: Volume
    labels: NDArray[np.uint8]
    grid: Grid
    confidences: dict[str, float]
    reason: str
    confidence: float = 0.0
