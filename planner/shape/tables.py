"""Coarse mean sections of the human sacrum: the figures that every parametric sacrum scales.

Source of every table here: mean of section measurements on seven of the ten sacra of
M. C. M. Fischer, Sci Data 10:763, 2023. The seven bones were put into the sacral frame, their
channels closed, their signed distances averaged over people and over left and right, and the
level that keeps the mean volume read off at these few stations. Millimetres, rounded to 0.5 mm.
They describe a population's mean and can rebuild no single person.

Conventions: a *level* is a position along the curved sacral axis, 0 at the S1 endplate, 1 to 4 at
the S1 to S4 foramina, 5 at the end of S5. In a section perpendicular to the axis, u is the lateral
offset from the midplane and v the dorsal offset from the axis. Heights are given at fractions of
the section's own half width.
"""

from typing import Final, TypeAlias

Row: TypeAlias = tuple[float, ...]
Table: TypeAlias = tuple[Row, ...]

SECTION_LEVELS: Final[Row] = (
    0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.5, 1.8, 2.1, 2.5, 2.9, 3.2, 3.6, 4.0, 4.5, 4.9, 5.3,
)  # fmt: skip
WIDTH_FRACTIONS: Final[Row] = (0.0, 0.12, 0.25, 0.4, 0.55, 0.7, 0.87, 1.0)

HALF_WIDTH_MM: Final[Row] = (
    54, 58, 57, 55, 53, 51, 48, 47.5, 47, 47, 45.5, 42, 39, 36.5, 30, 17, 12,
)  # fmt: skip

VENTRAL_HEIGHT_MM: Final[Table] = (
    (-17, -16.5, -14, -11, -5.5, 1, 3, 5),
    (-13.5, -13, -12, -11, -11, -11, -11, -8),
    (-11, -11, -10, -11, -13.5, -17, -21.5, -18.5),
    (-10, -9, -8, -6.5, -11, -17, -22.5, -19),
    (-9, -8.5, -6.5, -3, -7, -15, -21, -13),
    (-8, -7.5, -6.5, -5, -8, -14, -19, -12),
    (-6.5, -6.5, -7, -7.5, -9.5, -13, -16.5, -13),
    (-6, -6, -6, -4.5, -5, -9, -14, -12),
    (-6, -5.5, -4.5, -1.5, -2, -7, -13, -12),
    (-3.5, -3.5, -3, -2, -4, -7, -11, -10),
    (-2.5, -2, -1.5, 0.5, 0, -3, -6, -5),
    (-2, -2, -1, 1.5, 2, 0, -3, -1.5),
    (0, 0.5, 0.5, 1, 0.5, 0, -1, 1),
    (0, 0.5, 1, 2, 2, 0, -2, -0.5),
    (-2, -2, -2, -2, -2, -3, -5, -4.5),
    (-6.5, -6.5, -6, -6, -6, -5, -4, -3),
    (-10, -10, -9.5, -9, -9, -8.5, -7, -7),
)

DORSAL_HEIGHT_MM: Final[Table] = (
    (15, 15, 21, 26.5, 30, 26.5, 26, 16),
    (14.5, 16, 23, 26.5, 29, 27, 20, 9),
    (15, 17.5, 24, 24, 27, 24.5, 14, 7.5),
    (19, 24.5, 24, 21.5, 24, 20.5, 10, 4.5),
    (28, 26, 24, 20, 19, 19, 8.5, 2),
    (29.5, 25.5, 23, 20, 18, 19, 9, 1),
    (29.5, 23.5, 20.5, 19, 18, 17, 8, 3),
    (26.5, 21, 18, 16, 16, 15, 9, 5),
    (25, 20, 17.5, 15, 14.5, 16, 10, 5),
    (22, 18.5, 16, 13, 12, 12, 8, 2),
    (21, 18.5, 16, 10.5, 10, 11, 8, 1),
    (19, 18, 17, 12, 10, 10, 9.5, 4.5),
    (18, 18.5, 18, 13, 9, 8, 8, 6),
    (15, 16, 17, 12, 7, 7, 7, 5),
    (11.5, 12, 14, 13, 8, 4.5, 1, -0.5),
    (8, 8, 9, 10, 10, 9, 3, 1.5),
    (2, 2, 2, 2.5, 3, 3, 2, 1),
)

TOP_LATERAL_MM: Final[Row] = (0, 10, 20, 26, 32, 40, 50, 58)
TOP_DORSAL_MM: Final[Row] = (-16, -8, 0, 8, 14, 20, 26)
TOP_HEIGHT_MM: Final[Table] = (
    # Cranial height of endplate, articular process, ala and lamina over (dorsal, lateral).
    (-1, -1, 0, -9.5, -17, -22, -22, -22),
    (0, 0.5, 0, -9.5, -14.5, -15.5, -16, -18),
    (-0.5, 0, 1, -2, -6, -8.5, -9.5, -12),
    (-0.5, 0.5, 0, -1.5, -2.5, -3.5, -4, -8),
    (-3, -1.5, 0, -1, -1, 0, -1.5, -6),
    (-18, -11, 3, 1, -0.5, 1, -1, -6),
    (-19, -14.5, -10, 3, -1, -2, -1, -6),
)

# Turning of the sacral axis away from the endplate normal at levels 0..5; positive runs dorsally.
AXIS_ANGLE_DEG: Final[Row] = (0.0, 19.0, 7.0, -20.0, -23.0, -11.0)

CANAL_LEVELS: Final[Row] = (0.0, 0.5, 1.0, 1.4, 1.8, 2.4, 3.0, 3.5, 4.0, 4.5)
CANAL_CENTRE_MM: Final[Row] = (24, 20, 17.5, 14.5, 14, 12.5, 11.5, 13, 12.5, 11)
# Lowering of the canal's lateral recesses below its middle (bodies bulge into the canal).
CANAL_DROOP_MM: Final[Row] = (2, 10, 8, 4, 7, 2, 2, 2, 0.5, 0)
