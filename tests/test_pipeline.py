from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from export.toy import awkward_grids, toy_anatomy, toy_frame, toy_labels, toy_ranked, toy_volume

from planner.errors import (
    ConfigurationError,
    NoTrajectoryError,
    UnsuitableCtError,
    UntrustedAnatomyError,
)
from planner.export.segmentation_nrrd import write_segmentation
from planner.model.anatomy import LABELS
from planner.model.configuration import Configuration
from planner.model.finding import Finding, Weight
from planner.pipeline import bones, needle, plan_ct
from planner.pipeline import plan as planning
from planner.scoring import find_pairs, guide
from planner.segmentation import Segmentation, TotalSegmentator, complete_labels


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict:
    """Fakes of the stages; what they were given is kept."""
    found: dict = {"accepted": toy_ranked()}

    def derive(labels, grid, **words):
        found["labels"], found["grid"], found["words"] = labels, grid, words
        return toy_anatomy()

    def propose(anatomy, volume, configuration, target=None):
        found["target"] = target
        found["threads"] = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
        return [item.trajectory for item in toy_ranked()]

    fakes = {
        "reading": {"read_ct": lambda path, series=None, progress=None: toy_volume()},
        "segmentation": {"complete_labels": complete_labels},
        "anatomy_stage": {"derive_anatomy": derive},
        "candidates": {
            "propose": propose,
            "target_points": lambda target: target,
            "entry_map": lambda *words: None,
        },
        "scoring": {
            "score": lambda *words: SimpleNamespace(
                accepted=found["accepted"], rejections={"foramina": 3, "skin_to_tip": 5}
            ),
            "rank": lambda scored, configuration: scored.accepted,
            "find_pairs": find_pairs,
            "feasibility": lambda accepted, configuration: (),
            "guide": guide,
        },
    }
    for name, functions in fakes.items():
        place = bones if name in ("segmentation", "anatomy_stage") else planning
        monkeypatch.setattr(place, name, SimpleNamespace(**functions))
    special = (
        Finding("hardware", "Metal in the sacrum.", measures={"volume_mm3": 40.0}),
        Finding("density", "Usual density.", Weight.RECORD),
    )
    monkeypatch.setattr(planning, "look_for_findings", lambda anatomy, volume: special)
    return found


def save(path: Path, drop: tuple[str, ...] = ()) -> Path:
    grid = awkward_grids()["oblique"]
    labels = toy_labels(grid, toy_frame())
    for name in drop:
        labels[labels == LABELS[name]] = 0
    write_segmentation(labels, grid, path)
    return path


def test_a_provided_anatomy_skips_segmentation(seen: dict, tmp_path: Path) -> None:
    path = save(tmp_path / "own.seg.nrrd", ("foramen_s4_left", "l5"))
    steps: list[str] = []
    volume, plan = plan_ct(
        Path("ct"),
        Configuration(),
        anatomy_file=path,
        progress=lambda stage, part: steps.append(stage),
    )
    assert seen["words"]["source"] == "provided"
    assert plan.ct is volume.source
    assert plan.warnings == (
        "The table is in the picture.",
        "Foramen S4 left is faint.",
        "Metal in the sacrum.",
    )
    assert [item.name for item in plan.findings] == ["hardware", "density"]
    assert plan.provenance["version"]
    stages = ["read", "anatomy", "findings", "candidates", "score", "rank", "entry map"]
    assert list(plan.timings_s) == stages
    assert set(plan.guidance) == {item.id for item in plan.trajectories}
    assert list(dict.fromkeys(steps)) == list(plan.timings_s)
    assert seen["target"] is None


def test_a_label_map_without_a_sacrum_is_refused(seen: dict, tmp_path: Path) -> None:
    path = save(tmp_path / "own.seg.nrrd", ("sacrum", "foramen_s2_right"))
    with pytest.raises(UnsuitableCtError, match="no voxel of a segment named sacrum"):
        plan_ct(Path("ct"), Configuration(), anatomy_file=path)


def test_missing_segments_are_completed_where_that_is_possible(
    seen: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def complete(labels, grid, volume, progress):
        return Segmentation(labels, grid, {"sacral_canal": 0.7}, ("derived",))

    monkeypatch.setattr(bones, "segmentation", SimpleNamespace(complete_labels=complete))
    path = save(tmp_path / "own.seg.nrrd", ("sacral_canal",))
    plan_ct(Path("ct"), Configuration(), anatomy_file=path)
    assert seen["words"]["confidences"] == {"sacral_canal": 0.7}
    assert seen["words"]["warnings"] == ("derived",)


def test_a_label_map_and_a_method_are_one_too_many(tmp_path: Path) -> None:
    method = TotalSegmentator(tmp_path / "TotalSegmentator")
    with pytest.raises(ValueError, match="not both"):
        bones.find_bones(toy_volume(), tmp_path / "own.seg.nrrd", method=method)


def test_a_target_reaches_the_candidates(seen: dict, tmp_path: Path) -> None:
    path = save(tmp_path / "own.seg.nrrd")
    plan_ct(Path("ct"), Configuration(), anatomy_file=path, target_file=path)
    mask, grid = seen["target"]
    assert mask.shape == grid.shape
    assert mask.any()


def test_confidence_gate(seen: dict, tmp_path: Path) -> None:
    path = save(tmp_path / "own.seg.nrrd")
    strict = Configuration(confidence_floor=0.9)
    with pytest.raises(UntrustedAnatomyError, match=r"confidence of 0\.80.*at least 0\.90"):
        plan_ct(Path("ct"), strict, anatomy_file=path)
    assert "target" not in seen  # nothing was proposed


def test_no_trajectory_tells_the_tally(seen: dict, tmp_path: Path) -> None:
    seen["accepted"] = ()
    path = save(tmp_path / "own.seg.nrrd")
    with pytest.raises(NoTrajectoryError, match=r"none of 8 .*skin to tip 5, foramina 3"):
        plan_ct(Path("ct"), Configuration(), anatomy_file=path)
    assert "no trajectory could be proposed" in planning.tell_rejections(0, {})


def test_threads_are_limited_and_set_back(seen: dict, tmp_path: Path) -> None:
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    path = save(tmp_path / "own.seg.nrrd")
    plan_ct(Path("ct"), Configuration(), anatomy_file=path, jobs=1)
    assert seen["threads"] == 1
    assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == before


@pytest.fixture
def boxes(monkeypatch: pytest.MonkeyPatch):
    """An anatomy whose solid is the toy's box, without building clearance fields."""

    class Solid:
        def at(self, points):
            x, y, z = np.moveaxis(toy_frame().to_sacrum(points), -1, 0)
            outside = np.stack([np.abs(x) - 42, -16 - y, y - 30, z, -80 - z])
            return outside.max(axis=0)

    monkeypatch.setattr(needle, "clearance_fields", lambda anatomy: SimpleNamespace(solid=Solid()))
    return toy_anatomy()


def in_patient(*point: float) -> np.ndarray:
    return toy_frame().to_patient(point)


def test_a_point_on_the_surface_is_the_bone_entry(boxes) -> None:
    entry, tip = in_patient(30, 30.5, -5), in_patient(31, 2, -5)
    path, notes = needle.own_needle(boxes, None, entry, tip, "13G")
    np.testing.assert_array_equal(path.bone_entry, entry)
    assert (path.side, path.technique.value, path.level) == ("left", "short_axis", "S1")
    assert path.needle.gauge == "13G"
    assert notes == ()


def test_a_point_outside_or_inside_bone_is_moved_to_its_surface(boxes) -> None:
    tip = in_patient(-31, 2, -60)
    for y, word in ((60.0, "beyond"), (20.0, "before")):
        path, notes = needle.own_needle(boxes, None, in_patient(-31, y, -60), tip, "11G")
        np.testing.assert_allclose(path.bone_entry, in_patient(-31, 30, -60), atol=0.2)
        assert path.side == "right"
        assert word in notes[0]


def test_a_line_beside_the_bone_is_refused(boxes) -> None:
    with pytest.raises(ConfigurationError, match="never meets the sacrum"):
        needle.own_needle(boxes, None, in_patient(60, 60, -5), in_patient(60, 0, -5), "11G")
    with pytest.raises(ConfigurationError, match="less than 1 mm apart"):
        needle.own_needle(boxes, None, in_patient(0, 0, 0), in_patient(0, 0, 0), "11G")
