"""Entry maps of many patients on one sacrum.

Every patient's back of the sacrum is laid flat in the sacral frame, as seen from behind, and warped
so that the posterior openings of the foramina and the middle of the S1 endplate come to lie on
those of the mean sacrum: a thin-plate spline (Bookstein 1989), which is the straightest map that
does so. What lies lateral of the openings is carried along, not fitted: there the atlas is a few
millimetres unsure. On a fixed grid maps of many patients can then be counted, one after the other.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

from planner.geometry.grid import Float
from planner.model.anatomy import Anatomy
from planner.model.entry_map import EntryMap
from planner.shape.parameters import SacrumParameters
from planner.shape.sacrum import foramen_landmarks

STEP_MM = 2.0
X_MM = np.arange(-64.0, 64.0 + STEP_MM, STEP_MM)
"""Towards the patient's left."""
Z_MM = np.arange(-100.0, 14.0 + STEP_MM, STEP_MM)
"""Over the S1 endplate."""
NEAR_MM = 2.0
"""A place of the grid takes what lies this near; vertices of a map lie about 1 mm apart."""
LEVELS = ("S1", "S2", "S3", "S4")
FEWEST = 2
"""Openings of a side under which no warp is made: a side that shows fewer would only be guessed."""
LIMITS_MM = (2.0, 3.0, 5.0)
BINS_MM = np.arange(0.0, 15.25, 0.25)


def mean_openings() -> dict[tuple[str, str], Float]:
    """(2,) x and z of the mean sacrum's posterior openings by level and side, sacral frame, mm."""
    return {
        (item.level, item.side): np.asarray(item.dorsal, float)[[0, 2]]
        for item in foramen_landmarks(SacrumParameters())
        if item.level in LEVELS
    }


@dataclass(frozen=True, eq=False)
class AtlasMap:
    """One patient on the grid.

    covered: (X, Z) whether there is bone of the sacrum's back. clearance_mm: (X, Z) best achievable
    clearance there, NaN for none.
    """

    covered: NDArray[np.bool_]
    clearance_mm: NDArray[np.float32]

    def save(self, path: Path) -> None:
        """Write it to an .npz file."""
        with path.open("wb") as file:
            np.savez_compressed(file, covered=self.covered, clearance_mm=self.clearance_mm)

    @classmethod
    def load(cls, path: Path) -> AtlasMap:
        """Read what `save` wrote; raises ValueError or OSError where it is something else."""
        try:
            with np.load(path, allow_pickle=False) as saved:
                covered, clearance = saved["covered"], saved["clearance_mm"]
        except (BadZipFile, zlib.error, EOFError, KeyError, TypeError) as error:
            raise ValueError(f"{path.name} is damaged: {error}") from error
        if covered.shape != (len(X_MM), len(Z_MM)) or clearance.shape != covered.shape:
            raise ValueError(f"{path.name} has another grid, {covered.shape}")
        return cls(covered.astype(bool), clearance.astype(np.float32))


def map_onto_mean(entries: EntryMap, anatomy: Anatomy) -> AtlasMap | None:
    """Carry a patient's entry map to the mean sacrum; None where too few landmarks were found."""
    warp = _warp(anatomy)
    if warp is None or len(entries.vertices) == 0:
        return None
    flat = anatomy.frame.to_sacrum(entries.vertices)[:, [0, 2]]
    tree = cKDTree(warp(flat))
    nodes = np.stack(np.meshgrid(X_MM, Z_MM, indexing="ij"), axis=-1)
    distance, nearest = tree.query(nodes.reshape(-1, 2), distance_upper_bound=NEAR_MM)
    shape = nodes.shape[:2]
    covered = np.isfinite(distance)
    values = np.full(covered.shape, np.nan, np.float32)
    values[covered] = entries.clearance_mm[nearest[covered]]
    return AtlasMap(covered.reshape(shape), values.reshape(shape))


def _warp(anatomy: Anatomy) -> RBFInterpolator | None:
    mean = mean_openings()
    here, there = [np.zeros(2)], [np.zeros(2)]
    for item in anatomy.foramina:
        if (item.level, item.side) in mean:
            here.append(anatomy.frame.to_sacrum(item.dorsal)[[0, 2]])
            there.append(mean[item.level, item.side])
    left = sum(float(point[0]) > 0 for point in there)
    if min(left, len(there) - 1 - left) < FEWEST:
        return None
    return RBFInterpolator(np.array(here), np.array(there), kernel="thin_plate_spline")


@dataclass
class Atlas:
    """Many patients on the grid, counted.

    patients: how many were added. covered: (X, Z) patients with bone there. at_least: (limits, X,
    Z) patients with at least so much room. histogram: (bins, X, Z) of the clearance, for medians.
    """

    patients: int = 0
    covered: NDArray[np.int64] = field(default_factory=lambda: _zeros())
    at_least: NDArray[np.int64] = field(default_factory=lambda: _zeros(len(LIMITS_MM)))
    histogram: NDArray[np.int32] = field(
        default_factory=lambda: _zeros(len(BINS_MM)).astype(np.int32)
    )

    def add(self, one: AtlasMap) -> None:
        """Count a patient."""
        self.patients += 1
        self.covered += one.covered
        values = np.nan_to_num(one.clearance_mm, nan=-1.0)
        for number, limit in enumerate(LIMITS_MM):
            self.at_least[number] += values >= limit
        x, z = np.nonzero(one.covered)
        bins = np.clip(np.searchsorted(BINS_MM, values[x, z], side="right") - 1, 0, None)
        self.histogram[bins, x, z] += 1

    def share(self, limit_mm: float, fewest: int = 1) -> Float:
        """(X, Z) share of the patients with bone there who have so much room; NaN where fewer than
        `fewest` have."""
        counted = self.at_least[LIMITS_MM.index(limit_mm)]
        known = self.covered >= max(fewest, 1)
        return np.where(known, counted / np.maximum(self.covered, 1), np.nan)

    def median(self, fewest: int = 1) -> Float:
        """(X, Z) median room of the patients with bone there, mm to a bin of 0.25; no room is 0."""
        half = (self.covered + 1) // 2
        index = (np.cumsum(self.histogram, axis=0) < half).sum(axis=0)
        values = BINS_MM[np.minimum(index, len(BINS_MM) - 1)]
        return np.where(self.covered >= max(fewest, 1), values, np.nan)


def gather_atlas(paths: Sequence[Path]) -> tuple[Atlas, int]:
    """Count the maps of many patients, one after the other; returns how many were not readable."""
    atlas, lost = Atlas(), 0
    for path in paths:
        try:
            atlas.add(AtlasMap.load(path))
        except (OSError, ValueError):
            lost += 1
    return atlas, lost


def _zeros(*lead: int) -> NDArray[np.int64]:
    return np.zeros((*lead, len(X_MM), len(Z_MM)), np.int64)
