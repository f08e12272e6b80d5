"""A saved plan as the object it was written from: what plan.json holds, to the digit it holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from planner.export.plan_document import (
    BeamViewObject,
    ForaminaClearanceObject,
    GuidanceObject,
    PlanDocument,
    TrajectoryObject,
)
from planner.geometry.grid import Grid
from planner.model.anatomy import Anatomy
from planner.model.configuration import Configuration
from planner.model.entry_map import EntryMap
from planner.model.feasibility import Feasibility
from planner.model.finding import Finding, Weight
from planner.model.guidance import BeamView, Guidance
from planner.model.pair import NeedlePair, PairKind
from planner.model.plan import Plan
from planner.model.trajectory import (
    Clearance,
    Criterion,
    Needle,
    ScoredTrajectory,
    Structure,
    Technique,
    Trajectory,
)
from planner.model.volume import CtSource


def plan_of(
    document: PlanDocument, anatomy: Anatomy, ct_grid: Grid, entry_map: EntryMap | None = None
) -> Plan:
    """Make a plan of its document and of the anatomy that was saved beside it."""
    ct = document.ct.model_dump(exclude={"size", "spacing_mm"})
    provenance = document.provenance.model_dump(exclude={"timings_s"})
    target = document.target
    return Plan(
        ct=CtSource(**ct),
        ct_grid=ct_grid,
        anatomy=anatomy,
        trajectories=tuple(scored_of(item) for item in document.trajectories),
        rejections=dict(document.rejections),
        configuration=Configuration.from_mapping(document.config),
        findings=tuple(
            Finding(item.name, item.message, Weight(item.weight), dict(item.measures))
            for item in document.findings
        ),
        pairs=tuple(
            NeedlePair(**{**dict(item), "kind": PairKind(item.kind), "warnings": (*item.warnings,)})
            for item in document.pairs
        ),
        feasibility=tuple(
            Feasibility(Technique(item.technique), item.side, item.paths, item.best_clearance_mm)
            for item in document.feasibility
        ),
        guidance={
            item.id: guidance_of(item.guidance)
            for item in document.trajectories
            if item.guidance is not None
        },
        entry_map=entry_map,
        target=None if target is None else np.array(target.points_mm, float),
        warnings=tuple(document.warnings),
        timings_s=dict(document.provenance.timings_s),
        provenance=provenance,
    )


def scored_of(item: TrajectoryObject) -> ScoredTrajectory:
    """Make a trajectory of its object in plan.json."""
    path = Trajectory(
        Technique(item.technique),
        item.side,
        item.level,
        np.array(item.skin_entry_mm),
        np.array(item.bone_entry_mm),
        np.array(item.tip_mm),
        Needle(item.needle.gauge),
    )
    clearances = {}
    for structure in Structure:
        found = getattr(item.clearance, structure.value)
        if found is None:
            continue
        label = found.structure if isinstance(found, ForaminaClearanceObject) else ""
        label = "sacral_canal" if structure is Structure.CANAL else label
        witness = np.array(found.witness_mm)
        clearances[structure] = Clearance(
            structure, found.distance_mm, witness, found.depth_mm, label
        )
    return ScoredTrajectory(
        item.id,
        item.rank,
        path,
        clearances,
        item.breach_probability.model_dump(exclude_none=True),
        tuple(Criterion(c.name, c.value, c.unit, c.utility, c.weight) for c in item.criteria),
        item.score,
        dict(item.measures),
        tuple(item.warnings),
        non_dominated=item.non_dominated,
    )


def guidance_of(item: GuidanceObject) -> Guidance:
    """Make a set-up of its object in plan.json."""
    views = {name: _beam(getattr(item.views, name)) for name in type(item.views).model_fields}
    barrel = _beam(item.down_the_barrel)
    return Guidance(**{**dict(item), "down_the_barrel": barrel, "views": views})


def _beam(view: BeamViewObject) -> BeamView:
    return BeamView(view.rotation_deg, view.tilt_deg)


def read_entry_map(path: Path) -> EntryMap | None:
    """Read an entry map that write_entry_mesh wrote; None where there is no such file."""
    if not path.is_file():
        return None
    reader = vtk.vtkXMLPolyDataReader()
    reader.SetFileName(str(path))
    reader.Update()
    mesh = reader.GetOutput()
    scalars = mesh.GetPointData()
    arrays = [scalars.GetArray(name) for name in ("clearance_mm", "technique")]
    if mesh.GetNumberOfPoints() == 0 or any(array is None for array in arrays):
        return None
    faces = vtk_to_numpy(mesh.GetPolys().GetConnectivityArray()).reshape(-1, 3)
    return EntryMap(
        vtk_to_numpy(mesh.GetPoints().GetData()).astype(float),
        faces.astype(np.int64),
        vtk_to_numpy(arrays[0]).astype(float),
        vtk_to_numpy(arrays[1]).astype(np.uint8),
    )
