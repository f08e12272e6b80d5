"""S2-S3 entry: between the S2 and S3 posterior foramina, otherwise as the S2 entry.

Tabilo 2025, the authors' preference: slightly more caudal. It shares one corridor with the long
axis (7 mm and 8 degrees apart on real bone).
"""

from __future__ import annotations

from math import inf

from planner.candidates.windows import Window
from planner.model.trajectory import Technique

WINDOWS = (
    Window(
        technique=Technique.S2_S3_ENTRY,
        level_name="S2/S3",
        levels=(2.25, 2.75),
        inclination_deg=(35.0, 70.0),
        ap_deg=22.0,
        ap_fraction=0.6,
        tip_height_mm=(2.0, inf),
        tip_to_anterior_mm=5.0,
    ),
)
