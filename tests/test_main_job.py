"""The main job on real input: a real CT as it lies there, and CTs simulated from real bones."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from planner.geometry.grid import Grid
from planner.geometry.sampling import resample
from planner.model.anatomy import LABELS, SIDES
from planner.model.configuration import Configuration
from planner.model.plan import Plan
from planner.model.trajectory import Structure, Technique
from planner.pipeline import plan_ct

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
REAL = SHARED / "real_ct" / "Pelvic-Ref-002"
BONES = SHARED / "real_bones"

pytestmark = pytest.mark.slow


def assert_every_technique_on_both_sides(plan: Plan) -> None:
    found = {(t.trajectory.technique, t.trajectory.side) for t in plan.trajectories}
    assert found == {(technique, side) for technique in Technique for side in SIDES}
    assert [t.rank for t in plan.trajectories] == list(range(1, len(plan.trajectories) + 1))
    limit = plan.configuration.limits.foramina_mm
    for item in plan.trajectories:
        assert item.clearances[Structure.FORAMINA].distance_mm >= limit
        frame = plan.anatomy.frame
        lateral = frame.to_sacrum(item.trajectory.tip)[0]
        assert lateral > 0 if item.trajectory.side == "left" else lateral < 0


@pytest.mark.skipif(not REAL.is_dir(), reason="the real CT is not beside the project")
def test_a_real_ct_mixed_with_an_rtstruct_is_planned() -> None:
    volume, plan = plan_ct(REAL, Configuration())
    assert volume.grid.shape == (512, 512, 163)
    assert any("3 mm" in warning for warning in plan.warnings)
    assert_every_technique_on_both_sides(plan)
    assert {(f.level, f.side) for f in plan.anatomy.foramina} >= {
        (level, side) for level in ("S1", "S2", "S3", "S4") for side in SIDES
    }
    image = sitk.ReadImage(str(SHARED / "real_ct" / "Pelvic-Ref-002-label.nrrd"))
    direction = np.array(image.GetDirection()).reshape(3, 3)
    i, j, k = image.GetSize()
    grid = Grid.from_axes((i, j, k), image.GetOrigin(), image.GetSpacing(), direction)
    coarse = sitk.GetArrayFromImage(image).T == 3  # filled: canal and foramina lie inside
    inside = (plan.anatomy.labels > 0) & (plan.anatomy.labels < LABELS["hip_left"])
    own = Grid(plan.anatomy.grid.shape, plan.anatomy.grid.patient_from_ijk)
    found = resample(inside.astype(np.float32), own, grid, 0.0) > 0.5
    both = (found & coarse).sum()
    # the label also holds the coccyx, facets of L5 and a rim of soft tissue: what is ours must lie
    # in it, but it need not be filled
    assert both / found.sum() > 0.88
    assert 2 * both / (found.sum() + coarse.sum()) > 0.78


@pytest.mark.skipif(not BONES.is_dir(), reason="the real bones are not beside the project")
@pytest.mark.parametrize(
    ("subject", "options"), [("z042", ()), ("z023", ("--prone", "--yaw", "8", "--pitch", "-6"))]
)
def test_a_ct_simulated_from_real_bones_is_planned(
    subject: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    mesh = BONES / "meshes" / f"{subject}.npz"
    command = [sys.executable, str(BONES / "simulate_ct.py"), str(mesh), str(tmp_path), *options]
    subprocess.run(command, check=True, capture_output=True)
    _, plan = plan_ct(tmp_path / "dicom", Configuration())
    assert_every_technique_on_both_sides(plan)
    truth = np.load(tmp_path / "truth.npz")
    assert np.dot(plan.anatomy.endplate_normal, truth["endplate_normal"]) > np.cos(np.deg2rad(8))
    known = json.loads((BONES / "foramina" / f"{subject}.json").read_text())["foramina"]
    for item in known:
        if item["level"] not in ("S1", "S2", "S3"):
            continue
        centre = truth["rotation"] @ np.asarray(item["centre_mm"])
        name = f"foramen_{item['level'].lower()}_{item['side']}"
        where = plan.anatomy.grid.to_patient(np.argwhere(plan.anatomy.labels == LABELS[name]))
        assert np.linalg.norm(where - centre, axis=1).min() < 2.0, name
