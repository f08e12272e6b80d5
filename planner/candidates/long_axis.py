"""Long axis: from low behind, cranially and anteriorly, in the V between foramina and joint.

Smith and Gilula 2006: the entry lies midway between the inferior end of the sacroiliac joint and
the lateral edge of the S3 foramen. That midpoint lies off the surface, so it is compared in the
coronal plane.
"""

from __future__ import annotations

from math import inf

from planner.candidates.windows import Window
from planner.model.trajectory import Technique

WINDOWS = (
    Window(
        technique=Technique.LONG_AXIS,
        level_name="S3",
        levels=(2.75, 3.25),
        inclination_deg=(50.0, 85.0),
        ap_deg=22.0,
        low_entry_mm=8.0,
        tip_height_mm=(2.0, inf),
        tip_y_mm=10.0,
        tip_to_anterior_mm=5.0,
    ),
)
