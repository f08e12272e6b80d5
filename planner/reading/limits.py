"""What a CT must offer before a plan may rest on it, whatever file it came from."""

from __future__ import annotations

import math

import numpy as np

from planner.geometry.grid import Float

# A foramen is 5 to 10 mm wide and its bony wall about 1 mm: beyond this voxel size the wall and the
# foramina of S3 and S4 vanish in partial volume.
COARSEST_VOXEL_MM = 3.5
# From here on a plan is possible, with a margin that must be said.
COARSE_VOXEL_MM = 2.0
# A stack of fewer slices holds no sacrum at any spacing that is accepted.
FEWEST_SLICES = 20
# The sacrum is 90 to 130 mm tall; S1 to S3, the least a plan needs, takes 60 mm.
SHORTEST_EXTENT_MM = 60.0
# A field of this height holds the whole sacrum with its neighbours: more is no longer better.
ADEQUATE_EXTENT_MM = 140.0
# CT holds air (-1000 HU) around or in the patient; the least value of a volume without is above.
AIR_HU = -500
# Cortical bone reaches far above this; a volume without it shows no skeleton or is not in HU.
BONE_HU = 150

# Twice the largest CT of a whole body (1024 x 1024 x 2000): 8 GiB of int16, more than planning has.
MOST_VOXELS = 4 * 1024**3
# Photon-counting CT and micro-CT of bone end at about 0.05 mm; finer is a damaged header.
FINEST_VOXEL_MM = 0.01
# A scanner's own origin lies within metres of the patient.
FURTHEST_MM = 1e5


def cranio_caudal_axis(direction: Float) -> int:
    """Return the index axis nearest to the patient's long axis; direction: (3, 3) columns, LPS."""
    return int(np.argmax(np.abs(direction[2])))


def cranio_caudal_extent_mm(shape: tuple[int, int, int], spacing: Float, direction: Float) -> float:
    """Height (mm) of the field along the index axis nearest to the patient's long axis."""
    axis = cranio_caudal_axis(direction)
    return float(shape[axis] * spacing[axis])


def size_problems(
    shape: tuple[int, int, int], spacing: Float, direction: Float, slice_axis: int
) -> list[str]:
    """Name every reason for which a lattice is too coarse or too small to plan on.

    spacing: (3,) mm along i, j, k. direction: (3, 3) columns, patient LPS. slice_axis: the index
    axis whose planes count as slices.
    """
    problems = []
    if shape[slice_axis] < FEWEST_SLICES:
        problems.append(
            f"it has {shape[slice_axis]} slices and at least {FEWEST_SLICES} are needed; give the "
            "whole series"
        )
    if spacing.max() > COARSEST_VOXEL_MM:
        problems.append(
            f"its voxels are {_size(spacing)} mm and at most {COARSEST_VOXEL_MM} mm can show the "
            "wall of a foramen; give a thinner reconstruction"
        )
    extent = cranio_caudal_extent_mm(shape, spacing, direction)
    if extent < SHORTEST_EXTENT_MM:
        problems.append(
            f"its field is {extent:.1f} mm tall and a sacrum needs at least "
            f"{SHORTEST_EXTENT_MM:.0f} mm; give a series that covers the sacrum"
        )
    return problems


def memory_problems(shape: tuple[int, ...]) -> list[str]:
    """Refuse a lattice that no CT fills, before memory is set aside for it."""
    if math.prod(shape) <= MOST_VOXELS:
        return []
    size = " x ".join(str(n) for n in shape)
    return [f"its {size} voxels are more than the {MOST_VOXELS:.1e} read; crop it to the pelvis"]


def size_notes(spacing: Float) -> list[str]:
    """Say what coarse voxels do to a plan; spacing: (3,) mm."""
    coarsest = float(spacing.max())
    if not COARSE_VOXEL_MM < coarsest <= COARSEST_VOXEL_MM:
        return []
    return [
        f"the voxels are {_size(spacing)} mm: along the coarse axis a cortex is seen within about "
        f"half a voxel only, so clearances may be wrong by {coarsest / 2:.1f} mm; a reconstruction "
        f"of at most {COARSE_VOXEL_MM:.0f} mm is better"
    ]


def _size(spacing: Float) -> str:
    return " x ".join(f"{s:.4g}" for s in spacing)
