"""The entry map against the paths that the search itself proposes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import vtk
from scipy.spatial import cKDTree
from vtk.util.numpy_support import vtk_to_numpy

from planner.anatomy.fields import GUARDED
from planner.candidates import entry_map, propose
from planner.export.entry_map import write_entry_mesh, write_entry_picture
from planner.model.configuration import Configuration
from planner.model.plan import Plan
from planner.scoring import rank, score
from tests.scoring import toy

CONFIGURATION = Configuration(techniques=("short_axis", "long_axis"))  # type: ignore[arg-type]
# Entries 2 mm and tips 3 mm apart: what a refined path can win over the lattice.
LATTICE_MM = 1.0


def test_paths_found_lie_where_the_map_promises_room(tmp_path: Path) -> None:
    subject, volume = toy.standard()
    found = entry_map(subject, volume, CONFIGURATION)
    assert found.clearance_mm.shape == (len(found.vertices),)
    legal = np.isfinite(found.clearance_mm)
    assert 0.01 < legal.mean() < 0.9
    assert found.clearance_mm[legal].min() >= 2.0
    assert ((found.technique == 255) == ~legal).all()

    ranked = rank(
        score(propose(subject, volume, CONFIGURATION), subject, volume, CONFIGURATION),
        CONFIGURATION,
    )
    assert ranked
    tree = cKDTree(found.vertices[legal])
    for item in ranked:
        near = tree.query_ball_point(item.trajectory.bone_entry, 4.0)
        assert near, item.id
        promised = found.clearance_mm[legal][near].max()
        reached = min(item.clearances[s].distance_mm for s in GUARDED)
        assert promised >= reached - LATTICE_MM

    # nothing promises more than there is: no entry is deeper in bone than the bone allows
    local = subject.frame.to_sacrum(found.vertices[legal])
    beside_foramen = np.hypot(
        np.abs(local[:, 0:1]) - toy.FORAMEN_X, local[:, 2:3] - np.array(toy.FORAMEN_Z)
    ).min(axis=1)
    room = beside_foramen - toy.FORAMEN_RADIUS - 1.524  # to the nearest foramen, at the entry
    assert (found.clearance_mm[legal] <= room + 2.5 + 0.5).all()  # its vertices are 2.5 mm off
    # a vertex beside a foramen has no path of its own, and does not borrow one
    rim = np.hypot(
        np.abs(subject.frame.to_sacrum(found.vertices)[:, 0:1]) - toy.FORAMEN_X,
        subject.frame.to_sacrum(found.vertices)[:, 2:3] - np.array(toy.FORAMEN_Z),
    ).min(axis=1)
    assert np.isnan(found.clearance_mm[rim < toy.FORAMEN_RADIUS + 1.5]).all()

    plan = Plan(volume.source, volume.grid, subject, ranked, {}, CONFIGURATION, entry_map=found)
    write_entry_mesh(plan, tmp_path / "map.vtp")
    reader = vtk.vtkXMLPolyDataReader()
    reader.SetFileName(str(tmp_path / "map.vtp"))
    reader.Update()
    data = reader.GetOutput().GetPointData()
    assert np.allclose(
        vtk_to_numpy(data.GetArray("clearance_mm")), found.clearance_mm, atol=1e-5, equal_nan=True
    )
    assert np.array_equal(vtk_to_numpy(data.GetArray("technique")), found.technique)
    write_entry_picture(plan, tmp_path / "map.png")
    assert (tmp_path / "map.png").read_bytes()[:4] == b"\x89PNG"


def test_one_side_asked_for_maps_one_side() -> None:
    subject, volume = toy.standard()
    left = Configuration(techniques=("short_axis",), sides=("left",))  # type: ignore[arg-type]
    found = entry_map(subject, volume, left)
    legal = np.isfinite(found.clearance_mm)
    assert legal.any()
    assert (subject.frame.to_sacrum(found.vertices[legal])[:, 0] > 0).all()
    assert set(np.unique(found.technique[legal])) == {0}
