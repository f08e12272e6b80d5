"""Short axis: from behind, in the plane of the S1 endplate, into the ala at S1 or S2.

Whitlow 2007 and Strub 2007: parallel to the L5/S1 disc, from straight posterior-anterior to
parallel with the joint of the same side. Paths run between the foramina: above S1, or between S1
and S2. At S2 the bone is about 28 mm deep, where the anterior third and 5 mm exclude each other.
"""

from __future__ import annotations

from math import inf

from planner.candidates.windows import Window
from planner.model.trajectory import Technique

WINDOWS = (
    Window(
        technique=Technique.SHORT_AXIS,
        level_name="S1",
        levels=(0.3, 1.3),
        inclination_deg=(-10.0, 10.0),
        azimuth_past_joint_deg=5.0,
        azimuth_hub_lateral_deg=5.0,
        path_fraction=0.6,
        tip_height_mm=(-2.0, inf),
        tip_to_anterior_mm=5.0,
    ),
    Window(
        technique=Technique.SHORT_AXIS,
        level_name="S2",
        levels=(1.3, 2.4),
        inclination_deg=(-10.0, 10.0),
        azimuth_past_joint_deg=5.0,
        azimuth_hub_lateral_deg=5.0,
        path_fraction=0.6,
        tip_height_mm=(-inf, -2.0),
        tip_to_anterior_mm=4.0,
    ),
)
