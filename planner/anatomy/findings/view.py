"""The CT and the anatomy's distances on one lattice along the sacral frame, for all findings.

The lattice is that of the clearance fields (1 mm, axes of the sacral frame), so that slices of it
are the sacrum's own axial, coronal and sagittal planes and indices are millimetres.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary, ref

import numpy as np
from numpy.typing import NDArray

from planner.anatomy.curve import station
from planner.anatomy.fields import ClearanceFields, clearance_fields
from planner.geometry.grid import Float
from planner.geometry.sampling import resample
from planner.model.anatomy import LABELS, SIDES, Anatomy, Side, side_sign
from planner.model.trajectory import Structure
from planner.model.volume import Volume

NOT_IMAGED_HU = -2000.0
"""Value of lattice points that the CT does not cover; no CT holds it."""
HIP_REACH_MM = 20.0
"""Distance to the hips is not needed further out than this."""


@dataclass(frozen=True, eq=False)
class View:
    """The CT in the sacral frame.

    hu: (I, J, K) float32, NOT_IMAGED_HU where the CT ends. fields: clearance fields, whose grid
    the lattice is. volume, whose: weak references to the CT that was resampled and to its anatomy;
    by a strong one the cache below would keep every anatomy for good.
    """

    whose: ref[Anatomy]
    fields: ClearanceFields
    hu: NDArray[np.float32]
    volume: ref[Volume]

    @property
    def anatomy(self) -> Anatomy:
        """The anatomy of the view; ReferenceError where it is gone."""
        found = self.whose()
        if found is None:
            raise ReferenceError("the anatomy of this view is gone")
        return found

    @cached_property
    def axes(self) -> tuple[Float, Float, Float]:
        """Sacral x, y and z of the lattice's planes, mm; shaped to broadcast over (I, J, K)."""
        grid, frame = self.fields.grid, self.anatomy.frame
        origin = frame.to_sacrum(grid.origin)
        step = self.fields.solid.step_mm
        lines = [origin[n] + step * np.arange(grid.shape[n]) for n in range(3)]
        return lines[0][:, None, None], lines[1][None, :, None], lines[2][None, None, :]

    @property
    def voxel_mm3(self) -> float:
        """Volume of one lattice cell."""
        return float(self.fields.solid.step_mm**3)

    @cached_property
    def depth(self) -> NDArray[np.float32]:
        """(I, J, K) depth in bone: mm to the nearest border, canal or foramen; negative outside."""
        stack = self.fields.stack
        return np.minimum(-self.fields.solid.values, np.minimum(stack[..., 0], stack[..., 1]))

    @cached_property
    def outer_depth(self) -> NDArray[np.float32]:
        """(I, J, K) depth below the sacrum's outer border, channels filled; negative outside."""
        return np.asarray(-self.fields.solid.values)

    def distance(self, structure: Structure) -> NDArray[np.float32]:
        """(I, J, K) distance to a structure, mm."""
        return self.fields.of(structure).values

    def lateral(self, side: Side) -> Float:
        """Distance from the midplane towards a side, mm; broadcasts over (I, J, K)."""
        return side_sign(side) * self.axes[0]

    def points(self, mask: NDArray[np.bool_]) -> Float:
        """(N, 3) sacral-frame points of a mask, mm."""
        index = np.argwhere(mask)
        return np.stack([self.axes[n].ravel()[index[:, n]] for n in range(3)], axis=1)


_CACHE: WeakKeyDictionary[Anatomy, View] = WeakKeyDictionary()


def view_of(anatomy: Anatomy, volume: Volume) -> View:
    """Resample (once per anatomy and volume) the CT into the sacral frame.

    Raises UntrustedAnatomyError when a structure that must be kept clear of was not found.
    """
    known = _CACHE.get(anatomy)
    if known is None or known.volume() is not volume:
        fields = clearance_fields(anatomy)
        values = resample(volume.values, volume.grid, fields.grid, NOT_IMAGED_HU)
        hu = np.asarray(values, np.float32)
        known = _CACHE[anatomy] = View(ref(anatomy), fields, hu, ref(volume))
    return known


def foramen_stations(anatomy: Anatomy) -> dict[str, float]:
    """Place of each level's foramina along the sacral axis, mm below the endplate."""
    out: dict[str, float] = {}
    for level in ("S1", "S2", "S3", "S4", "S5"):
        found = [item.centre for side in SIDES if (item := anatomy.foramen(level, side))]
        if found:
            out[level] = float(station(anatomy.axis, np.array(found)).mean())
    return out


def segment_name(anatomy: Anatomy, points: Float) -> str:
    """Name the vertebral segment of the mean of (N, 3) patient points: S1 to S5, or `above S1`.

    Foramen n opens between segments n and n + 1, so segment n ends there.
    """
    where = float(station(anatomy.axis, np.asarray(points, float).reshape(-1, 3)).mean())
    if where < -5.0:
        return "above S1"
    for level, end in foramen_stations(anatomy).items():
        if where <= end:
            return level
    return "S4/S5"


def side_name(anatomy: Anatomy, points: Float, midline_mm: float = 6.0) -> str:
    """Name the side of the mean of (N, 3) patient points: left, right or midline."""
    x = float(np.mean(anatomy.frame.to_sacrum(points).reshape(-1, 3)[:, 0]))
    if abs(x) < midline_mm:
        return "in the midline"
    return "left" if x > 0 else "right"


def has_label(anatomy: Anatomy, name: str) -> bool:
    """Tell whether a segment is in the label map."""
    return bool((anatomy.labels == LABELS[name]).any())
