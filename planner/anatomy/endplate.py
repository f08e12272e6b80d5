"""The S1 superior endplate: centre and normal of the flattest large patch on top of the sacrum.

The search is deterministic. Candidate triangles look roughly along the canal's upper course, lie
between the alae and in front of the canal. For every normal on a 4 degree lattice the area of the
candidates is summed in slabs of one offset; the best slab is then refined by refitting. Midpoint
and tilt are checked against the promontory and the canal's top by `orientation`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.anatomy.material import Material
from planner.errors import UntrustedAnatomyError
from planner.geometry.grid import Float

HALF_WIDTH_MM = 24.0
"""Half the width of an S1 body (47.0 +- 5.0 mm, dry bones, n=32)."""
LEAN_DEG = 14.0
"""The canal's first 40 mm lean backwards against the endplate's normal by 1 to 29 degrees, mean
16 (ten people); the search starts there."""
SEARCH_DEG = 32.0
"""Sagittal reach of the search about that start: twice the largest departure seen."""
CORONAL_DEG = 16.0
"""Coronal reach: endplates tilt by up to 4 degrees against the midplane."""
ABOVE_CANAL_MM = (-15.0, 40.0)
"""Height of the endplate over the canal label's top: 8 to 22 mm in ten people, whose canals begin
at the arch of S1; a label may begin at the disc or above it."""
BEHIND_CANAL_MM = 2.0
"""Triangles further back than the canal's top belong to the articular processes."""
LATTICE_DEG = 4.0
SLAB_MM = 1.6
"""Half depth of the slab that counts as one flat patch: an endplate's rim stands 1 to 2 mm high."""
NORMAL_DEG = 26.0
"""Triangles of the patch look within this of its normal: the staircase of voxels and the rim."""
REACH_MM = 26.0
"""Largest distance of the patch's triangles from its centre: half the width and a little."""
REFIT_MM = 2.5
"""Depth at which a triangle's weight in the refit has fallen to none (biweight): labels carry
errors of 1 mm, and a hard border at the slab would cut them off unevenly."""
REFIT_DEG = 40.0
"""Errors of 1 mm over centimetres turn triangles by 15 degrees; the refit still counts those."""
REFITS = 12
SMALLEST_MM2 = 350.0
"""An endplate measures about 1000 mm2 (47 x 28 mm ellipse); a third of it must be found flat."""


@dataclass(frozen=True, eq=False)
class Endplate:
    """centre: (3,) patient LPS, mm. normal: (3,) unit, cranial. area_mm2: of the flat patch."""

    centre: Float
    normal: Float
    area_mm2: float


def find_endplate(
    material: Material, canal_top: Float, canal_up: Float, left: Float, middle: Float
) -> Endplate:
    """Find the S1 superior endplate on the sacrum's surface.

    canal_top: (3,) cranial end of the canal's centreline. canal_up: (3,) direction of its first
    40 mm, cranial. left: (3,) unit vector to the patient's left. middle: (3,) a point of the
    midplane.
    Raises UntrustedAnatomyError when no flat patch of sufficient size exists.
    """
    centres, normals, areas = material.centres, material.normals, material.areas
    canal_up = _unit(canal_up - (canal_up @ left) * left)
    lean = np.deg2rad(LEAN_DEG)
    up = np.cos(lean) * canal_up + np.sin(lean) * np.cross(canal_up, left)
    usable = (np.abs((centres - middle) @ left) < HALF_WIDTH_MM) & (
        normals @ up > np.cos(np.deg2rad(SEARCH_DEG + REFIT_DEG))
    )
    patch = _Candidates(centres[usable], normals[usable], areas[usable], canal_top, left)
    seed = _best_slab(patch, up)
    if seed is None:
        raise UntrustedAnatomyError(_MISSING.format(area=0.0, least=SMALLEST_MM2))
    return _refine(patch, *seed)


@dataclass(frozen=True, eq=False)
class _Candidates:
    """Triangles that may belong to the endplate: centres, normals (N, 3) and areas (N,)."""

    points: Float
    looks: Float
    areas: Float
    canal_top: Float
    left: Float

    def like(self, normal: Float, within_deg: float) -> NDArray[np.bool_]:
        """(N,) triangles that look along a normal, in front of the canal, near its top."""
        offset = self.points - self.canal_top
        height = offset @ normal
        low, high = ABOVE_CANAL_MM
        return np.asarray(
            (self.looks @ normal > np.cos(np.deg2rad(within_deg)))
            & (offset @ np.cross(normal, self.left) < BEHIND_CANAL_MM)
            & (height > low)
            & (height < high)
        )


_MISSING = (
    "no S1 superior endplate was found: the largest flat patch on top of the sacrum in front of "
    "the canal has {area:.0f} mm2, at least {least:.0f} mm2 are expected. The top of the sacrum "
    "may be cut off, or fused with L5 in the label map."
)


def _unit(vector: Float) -> Float:
    return np.asarray(vector / np.linalg.norm(vector))


def _lattice(up: Float, left: Float) -> Float:
    """(N, 3) unit normals about `up`, LATTICE_DEG apart; fewer to the sides."""
    back = np.cross(up, left)
    sagittal = np.deg2rad(np.arange(-SEARCH_DEG, SEARCH_DEG + 0.1, LATTICE_DEG))
    coronal = np.deg2rad(np.arange(-CORONAL_DEG, CORONAL_DEG + 0.1, LATTICE_DEG))
    s, c = (a.ravel()[:, None] for a in np.meshgrid(sagittal, coronal, indexing="ij"))
    out = np.cos(c) * (np.cos(s) * up + np.sin(s) * back) + np.sin(c) * left
    return np.asarray(out)


def _best_slab(patch: _Candidates, up: Float) -> tuple[Float, NDArray[np.bool_]] | None:
    """Return normal and members of the slab that holds most area over all lattice normals."""
    best, found = 0.0, None
    for normal in _lattice(up, patch.left):
        alike = patch.like(normal, NORMAL_DEG)
        if patch.areas[alike].sum() <= best:
            continue
        bins = np.floor((patch.points @ normal) / (SLAB_MM / 2)).astype(int)
        bins -= bins.min()
        area = np.bincount(bins[alike], patch.areas[alike], minlength=int(bins.max()) + 1)
        slab = np.convolve(area, np.ones(4), mode="valid") if len(area) >= 4 else area[:0]
        if len(slab) and slab.max() > best:
            best = float(slab.max())
            first = int(slab.argmax())
            found = normal, alike & (bins >= first) & (bins < first + 4)
    return found


def _refine(patch: _Candidates, normal: Float, members: NDArray[np.bool_]) -> Endplate:
    """Refit plane and membership until they agree."""
    centre = np.average(patch.points[members], axis=0, weights=patch.areas[members])
    for _ in range(REFITS):
        offset = patch.points - centre
        height = offset @ normal
        across = np.linalg.norm(offset - height[:, None] * normal, axis=1)
        members = patch.like(normal, REFIT_DEG) & (np.abs(height) < REFIT_MM)
        members &= across < REACH_MM
        area = float(patch.areas[members].sum())
        if area < SMALLEST_MM2:
            raise UntrustedAnatomyError(_MISSING.format(area=area, least=SMALLEST_MM2))
        weights = patch.areas[members] * (1.0 - (height[members] / REFIT_MM) ** 2) ** 2
        centre = np.average(patch.points[members], axis=0, weights=weights)
        looks = np.average(patch.looks[members], axis=0, weights=weights)
        plane = _plane_normal(patch.points[members] - centre, weights, normal)
        normal = _unit(_unit(looks) + plane)
    return Endplate(centre, normal, area)


def _plane_normal(offsets: Float, weights: Float, like: Float) -> Float:
    """Unit normal of the plane through weighted points, turned to the side of `like`.

    Averaged with the triangles' normals: steps of a coarse grid turn those by degrees, a rim that
    stands up on one side turns this one.
    """
    spread = (offsets * weights[:, None]).T @ offsets
    normal = np.linalg.eigh(spread)[1][:, 0]
    return np.asarray(normal if normal @ like > 0 else -normal)
