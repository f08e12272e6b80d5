"""A plan folder opened again: its own needles measure what the plan says, to the last digit."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

from planner.cli import app
from planner.errors import ConfigurationError
from planner.export.plan_folder import write_plan
from planner.export.plan_json import trajectory_values
from planner.export.segmentation_nrrd import write_segmentation
from planner.geometry.sampling import to_sitk
from planner.model.anatomy import LABELS
from planner.model.configuration import Configuration
from planner.phantom import PhantomParameters, make_phantom
from planner.pipeline import OpenPlan, plan_ct

pytestmark = pytest.mark.slow

GIVEN_BY_THE_PLAN = {"id", "rank", "non_dominated"}


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A plan with a target, written to a folder, and what it was made of."""
    folder = tmp_path_factory.mktemp("planned")
    phantom = make_phantom(PhantomParameters(spacing_mm=1.5, slice_spacing_mm=1.5, seed=5))
    grid = phantom.truth.grid
    sitk.WriteImage(to_sitk(phantom.volume.values, phantom.volume.grid), str(folder / "ct.nrrd"))
    write_segmentation(phantom.truth.labels, grid, folder / "own.seg.nrrd")
    mask = np.zeros(grid.shape, np.uint8)
    sacrum = np.argwhere(phantom.truth.labels == LABELS["sacrum"])
    mask[tuple(sacrum[len(sacrum) // 2 :: 40].T)] = 1
    sitk.WriteImage(to_sitk(mask, grid), str(folder / "target.nrrd"))
    volume, plan = plan_ct(
        folder / "ct.nrrd",
        Configuration(top=1),
        anatomy_file=folder / "own.seg.nrrd",
        target_file=folder / "target.nrrd",
    )
    write_plan(plan, volume, folder / "plan")
    return SimpleNamespace(folder=folder / "plan", ct=folder / "ct.nrrd", plan=plan)


def differences(theirs: Any, mine: Any, path: str = "") -> list[str]:
    if isinstance(theirs, dict):
        return [
            line
            for name, value in theirs.items()
            for line in differences(value, mine.get(name, "absent"), f"{path}/{name}")
        ]
    if isinstance(theirs, (list, tuple)):
        return [
            line
            for n, (a, b) in enumerate(zip(theirs, mine, strict=True))
            for line in differences(a, b, f"{path}/{n}")
        ]
    return [] if theirs == mine else [f"{path}: {theirs} against {mine}"]


def test_every_needle_of_a_plan_measures_the_same_again(planned: SimpleNamespace) -> None:
    opened = OpenPlan.of(planned.folder, ct=planned.ct)
    document = json.loads((planned.folder / "plan.json").read_text(encoding="utf-8"))
    assert len(document["target"]["points_mm"]) == len(planned.plan.target)
    assert len(document["trajectories"]) >= 6
    for item in document["trajectories"]:
        report = opened.measure(item["bone_entry_mm"], item["tip_mm"])
        again = trajectory_values(report.scored, report.guidance)
        kept = {name: value for name, value in item.items() if name not in GIVEN_BY_THE_PLAN}
        assert differences(kept, json.loads(json.dumps(again))) == []
        assert report.notes == ()


def test_without_the_ct_nothing_is_said_of_the_skin(planned: SimpleNamespace) -> None:
    first = planned.plan.trajectories[0].trajectory
    points = [",".join(f"{x:.3f}" for x in point) for point in (first.bone_entry, first.tip)]
    arguments = ["score", str(planned.folder), f"--entry={points[0]}", f"--tip={points[1]}"]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    values = json.loads(result.output)
    flat = json.dumps({name: value for name, value in values.items() if name != "notes"})
    assert "skin" not in flat
    assert "needle_length" not in flat
    assert values["guidance"]["entry"].endswith(first.side)
    shown = CliRunner().invoke(app, arguments)
    assert "C-arm, down the barrel" in shown.output
    assert "Skin" not in shown.output
    with_ct = CliRunner().invoke(app, [*arguments, "--ct", str(planned.ct)])
    assert "to bone" in with_ct.output


def test_another_ct_is_refused(planned: SimpleNamespace, tmp_path: Path) -> None:
    image = sitk.ReadImage(str(planned.ct))
    sitk.WriteImage(image + 1, str(tmp_path / "other.nrrd"))
    with pytest.raises(ConfigurationError, match="is not the CT of this plan"):
        OpenPlan.of(planned.folder, ct=tmp_path / "other.nrrd")


def test_the_report_is_made_again_beside_the_plan(planned: SimpleNamespace, tmp_path: Path) -> None:
    target = tmp_path / "mine.html"
    arguments = ["report", str(planned.folder), "--output", str(target), "--quiet"]
    nameless = CliRunner().invoke(app, [*arguments, "--identify"])
    assert nameless.exit_code == 2
    assert "give it with --ct" in nameless.output
    volume = CliRunner().invoke(app, [*arguments, "--identify", "--ct", str(planned.ct)])
    assert volume.exit_code == 2
    assert "names no patient" in volume.output
    assert list(tmp_path.iterdir()) == []
    made = CliRunner().invoke(app, [*arguments, "--ct", str(planned.ct)])
    assert made.exit_code == 0, made.output
    assert planned.plan.trajectories[0].id in target.read_text(encoding="utf-8")
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 6
    assert "--overwrite" in again.output
