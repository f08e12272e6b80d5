"""The user's own anatomy, from file or program to plan, on the sample case."""

from __future__ import annotations

from pathlib import Path

import nrrd
import numpy as np
import pytest
from reading.labels.seg_files import Segment, save, segmentation
from support.totalsegmentator import install

from planner.export.segmentation_nrrd import write_segmentation
from planner.model.anatomy import LABELS
from planner.model.configuration import Configuration
from planner.model.plan import Plan
from planner.pipeline import plan_ct
from planner.reading import read_ct
from planner.segmentation import TotalSegmentator

SAMPLE = Path(__file__).parents[1] / "sample_data"
ONE = Configuration(techniques=("short_axis",), sides=("left",), top=1)


def figures(plan: Plan) -> list[tuple]:
    return [
        (
            item.id,
            item.trajectory.tip.tolist(),
            item.score,
            {s: c.distance_mm for s, c in item.clearances.items()},
        )
        for item in plan.trajectories
    ]


@pytest.mark.slow
def test_the_same_labels_give_the_same_plan_in_every_format(tmp_path: Path) -> None:
    volume = read_ct(SAMPLE)
    labels = nrrd.read(str(SAMPLE / "truth.nrrd"))[0].astype(np.uint8)
    write_segmentation(labels, volume.grid, tmp_path / "own.seg.nrrd")
    names = [name for name, value in LABELS.items() if (labels == value).any()]
    parts = [Segment(name, labels == LABELS[name]) for name in names]
    save(segmentation(volume.grid, parts), tmp_path / "own.dcm")
    _, first = plan_ct(SAMPLE, ONE, anatomy_file=tmp_path / "own.seg.nrrd")
    _, second = plan_ct(SAMPLE, ONE, anatomy_file=tmp_path / "own.dcm")
    assert first.anatomy.source == second.anatomy.source == "provided"
    assert len(first.trajectories) == 1
    assert figures(first) == figures(second)


@pytest.mark.slow
def test_totalsegmentator_s_bones_are_completed_and_planned_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = read_ct(SAMPLE)
    labels = nrrd.read(str(SAMPLE / "truth.nrrd"))[0].astype(np.uint8)
    np.save(tmp_path / "labels.npy", labels)
    program = install(tmp_path, monkeypatch)
    program.labels(tmp_path / "labels.npy")
    steps: list[str] = []
    _, plan = plan_ct(
        SAMPLE,
        ONE,
        method=TotalSegmentator.find(),
        progress=lambda stage, part: steps.append(stage),
    )
    assert plan.anatomy.source == "totalsegmentator"
    assert any(step.startswith("anatomy: TotalSegmentator") for step in steps)
    assert plan.anatomy.confidences["sacrum"] == 1.0
    assert {f"S{n}" for n in (1, 2, 3)} <= {item.level for item in plan.anatomy.foramina}
    assert any("did not hold sacral_canal" in warning for warning in plan.warnings)
    hip = plan.anatomy.mask("hip_left")
    known = labels == LABELS["hip_left"]
    assert plan.anatomy.grid.same_as(volume.grid)
    assert 2 * (hip & known).sum() / (hip.sum() + known.sum()) > 0.99
    assert program.left_behind() == []
