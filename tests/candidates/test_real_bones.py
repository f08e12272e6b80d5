"""The whole search on real bone: every technique finds room, and no clearance is overstated."""

from __future__ import annotations

import numpy as np
import pytest
import vtk
from scipy.spatial import cKDTree

from planner.anatomy import derive_anatomy
from planner.candidates import belongs, propose
from planner.geometry.distance import to_polydata
from planner.geometry.grid import Grid
from planner.model.anatomy import REGIONS, Anatomy, Region
from planner.model.configuration import Configuration
from planner.model.trajectory import Technique
from planner.model.volume import CtSource, Volume
from planner.scoring import rank, score
from tests.support.real_bones import DEFAULT_SUBJECTS, Truth, require_real_bones, true_labels

# Labels of 0.8 mm stand for the true surface to about half a voxel.
LABEL_ERROR_MM = 0.4


def flesh(anatomy: Anatomy) -> Volume:
    """Soft tissue 45 mm behind the sacrum and wide around it, air outside."""
    points = anatomy.surface.vertices
    low, high = points.min(axis=0), points.max(axis=0)
    grid = Grid.around(np.array([low - (110, 110, 170), high + (110, 85, 120)]), 2.5)
    y = grid.to_patient(np.stack(np.indices(grid.shape), -1))[..., 1]
    values = np.where((y < high[1] + 45) & (y > low[1] - 100), 40, -1000).astype(np.int16)
    return Volume(values, grid, CtSource("phantom", "0" * 64))


def true_clearance(truth: Truth, anatomy: Anatomy, entry, tip, radius: float) -> float:
    """Least distance to the true bone surface, the posterior cortex left out."""
    implicit = vtk.vtkImplicitPolyDataDistance()
    implicit.SetInput(to_polydata(truth.vertices, truth.faces))
    surface = anatomy.surface
    tree = cKDTree(surface.vertices[surface.faces].mean(axis=1))
    best = np.inf
    for part in np.linspace(0, 1, 120):
        point = entry + part * (tip - entry)
        nearest = [0.0, 0.0, 0.0]
        distance = -implicit.EvaluateFunctionAndGetClosestPoint(point, nearest)
        region = REGIONS[surface.regions[tree.query(nearest)[1]]]
        if region not in (Region.POSTERIOR, Region.INFERIOR):
            best = min(best, distance - radius)
    return best


@pytest.mark.slow
@pytest.mark.parametrize("subject", DEFAULT_SUBJECTS)
def test_every_technique_finds_room_on_both_sides(subject: str) -> None:
    require_real_bones()
    labels, grid, truth = true_labels(subject, 0.8)
    anatomy = derive_anatomy(labels, grid, source="provided")
    volume, configuration = flesh(anatomy), Configuration()
    proposed = propose(anatomy, volume, configuration)
    assert all(belongs(t, anatomy) == () for t in proposed)
    scored = score(proposed, anatomy, volume, configuration)
    assert len(scored.accepted) + sum(scored.rejections.values()) == len(proposed)
    found = {(x.trajectory.technique, x.trajectory.side) for x in scored.accepted}
    assert {(t, s) for t in Technique for s in ("left", "right")} <= found
    for item in rank(scored, configuration):
        t = item.trajectory
        true = true_clearance(truth, anatomy, t.bone_entry, t.tip, t.needle.radius_mm)
        assert item.measures["min_clearance_mm"] <= true + LABEL_ERROR_MM, item.id
