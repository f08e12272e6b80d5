"""S2 entry: at the height of the S2 posterior foramen, cranially along the interforaminal line.

Tabilo 2025. The 15-20 mm lateral of S2 given there is a mark on the skin (as an entry into bone it
was feasible on 1 of 20 real sides); aiming at the middle of the endplate meets the S1 foramen.
The lateral rim of the foramen reaches below its middle: with entries up to lambda 2.25, 3 of 20
real sides had no room of 2 mm, with 2.4 all have.
"""

from __future__ import annotations

from math import inf

from planner.candidates.windows import Window
from planner.model.trajectory import Technique

WINDOWS = (
    Window(
        technique=Technique.S2_ENTRY,
        level_name="S2",
        levels=(1.75, 2.4),
        inclination_deg=(25.0, 55.0),
        ap_deg=22.0,
        ap_fraction=0.6,
        tip_height_mm=(2.0, inf),
        tip_to_anterior_mm=5.0,
    ),
)
