"""Where on the back of the sacrum a needle may enter, and how much room it finds from there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.geometry.grid import Float


@dataclass(frozen=True, eq=False)
class EntryMap:
    """The best achievable clearance per entry point, as scalars on the posterior surface.

    vertices: (V, 3) patient LPS, mm. faces: (F, 3). clearance_mm: (V,) the largest least clearance
    of all paths of the search's lattice that enter here and keep every limit on bone and shaft, NaN
    where there is none. technique: (V,) number of its technique in the order of Technique, 255
    where there is none.
    """

    vertices: Float
    faces: NDArray[np.int64]
    clearance_mm: Float
    technique: NDArray[np.uint8]
