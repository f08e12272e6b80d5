import json
import re
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from planner.errors import ConfigurationError, OutputError, UnsuitableCtError
from planner.export.disclaimer import DISCLAIMER
from planner.export.plan_document import schema_text
from planner.export.plan_json import plan_text, read_plan, write_plan_json
from planner.model.trajectory import Structure, Technique

from .toy import toy_plan, toy_scored


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_plan_json(toy_plan(), tmp_path / "plan.json")
    return tmp_path


def spoil(folder: Path, change: object) -> None:
    path = folder / "plan.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)  # type: ignore[operator]
    path.write_text(json.dumps(values), encoding="utf-8")


def test_shipped_schema_is_the_generated_one() -> None:
    shipped = resources.files("planner.export").joinpath("plan.schema.json")
    assert shipped.read_text(encoding="utf-8") == schema_text()


def test_round_trip_keeps_every_figure(folder: Path) -> None:
    plan, read = toy_plan(), read_plan(folder)
    assert read.disclaimer == DISCLAIMER
    assert read.frame.coordinate_system == "LPS"
    assert read.ct.size == plan.ct_grid.shape
    assert [item.id for item in read.trajectories] == [item.id for item in plan.trajectories]
    for item, before in zip(read.trajectories, plan.trajectories, strict=True):
        path = before.trajectory
        np.testing.assert_allclose(item.tip_mm, path.tip, atol=5e-4)
        np.testing.assert_allclose(item.bone_entry_mm, path.bone_entry, atol=5e-4)
        assert item.clearance.foramina.structure == f"foramen_s1_{path.side}"
        assert item.clearance.posterior_cortex is not None
        assert item.breach_probability.any == 0.04
    assert read.rejections == {"foramina": 12, "anterior_cortex": 3}
    assert read.config["needle"] == "11G"


def test_lengths_agree_with_the_points_as_written(folder: Path) -> None:
    for item in read_plan(folder).trajectories:
        length = np.linalg.norm(np.subtract(item.tip_mm, item.bone_entry_mm))
        assert item.intraosseous_length_mm == pytest.approx(length, abs=5.1e-4)
        length = np.linalg.norm(np.subtract(item.tip_mm, item.skin_entry_mm))
        assert item.skin_to_tip_mm == pytest.approx(length, abs=5.1e-4)


def test_names_of_the_public_format(folder: Path) -> None:
    values = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    assert set(values) >= {
        "schema_version",
        "frame",
        "ct",
        "anatomy",
        "trajectories",
        "rejections",
        "warnings",
        "config",
        "provenance",
    }
    first = values["trajectories"][0]
    assert list(first["clearance"]) == [structure.value for structure in Structure]
    assert first["needle"] == {"gauge": "11G", "outer_diameter_mm": 3.048}
    assert set(values["anatomy"]["foramina"][0]) == {
        "level",
        "side",
        "centre_mm",
        "ventral_mm",
        "dorsal_mm",
        "width_mm",
        "confidence",
    }


def test_same_plan_gives_the_same_bytes() -> None:
    first = plan_text(toy_plan())
    shuffled = toy_plan(rejections={"anterior_cortex": 3, "foramina": 12})
    assert plan_text(shuffled) == first
    later = toy_plan(
        timings_s={"read": 9.0},
        provenance={"version": "0.1.0", "created": "2027-01-01T00:00:00+00:00"},
    )

    def without_times(text: str) -> str:
        text = re.sub(r'"created": "[^"]*"', "", text)
        return re.sub(r'"timings_s": \{[^}]*\}', "", text)

    assert plan_text(later) != first
    assert without_times(plan_text(later)) == without_times(first)


def test_numbers_stand_on_one_line_and_text_is_untouched() -> None:
    text = plan_text(toy_plan(warnings=("[\n  1,\n  2\n]",)))
    assert re.search(r'"tip_mm": \[-?[\d.]+, -?[\d.]+, -?[\d.]+\]', text)
    assert json.loads(text)["warnings"] == ["[\n  1,\n  2\n]"]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_not_written(bad: float) -> None:
    item = toy_scored(Technique.SHORT_AXIS, "left", 1, score=bad)
    with pytest.raises(OutputError, match=r"trajectories\.0\.score.*finite"):
        plan_text(toy_plan(trajectories=(item,)))


def test_a_point_that_is_not_finite_is_not_written() -> None:
    item = toy_scored(Technique.SHORT_AXIS, "left", 1)
    path = replace(item.trajectory, skin_entry=np.array([np.nan, 0.0, 0.0]))
    with pytest.raises(OutputError, match="skin_entry_mm"):
        plan_text(toy_plan(trajectories=(replace(item, trajectory=path),)))


def test_ranks_must_run_in_order() -> None:
    items = (toy_scored(Technique.SHORT_AXIS, "left", 2),)
    with pytest.raises(OutputError, match="ranks must run"):
        plan_text(toy_plan(trajectories=items))


def test_unknown_technique_is_refused(folder: Path) -> None:
    spoil(folder, lambda v: v["trajectories"][0].update(technique="sideways"))
    with pytest.raises(UnsuitableCtError, match=r"trajectories\.0\.technique.*sideways"):
        read_plan(folder)


def test_nan_is_refused_on_reading(folder: Path) -> None:
    spoil(folder, lambda v: v["trajectories"][0].update(score=float("nan")))
    with pytest.raises(UnsuitableCtError, match="NaN is not finite"):
        read_plan(folder)


def test_missing_and_unknown_keys_are_refused(folder: Path) -> None:
    spoil(folder, lambda v: v["ct"].pop("sha256"))
    with pytest.raises(UnsuitableCtError, match="sha256"):
        read_plan(folder)
    spoil(folder, lambda v: v["ct"].update(sha256="", patient_name="X"))
    with pytest.raises(UnsuitableCtError, match="patient_name"):
        read_plan(folder)


def test_another_version_is_named(folder: Path) -> None:
    spoil(folder, lambda v: v.update(schema_version="2.0"))
    with pytest.raises(UnsuitableCtError, match=r"schema_version '2\.0'.*'1\.0'"):
        read_plan(folder)


def test_a_folder_without_a_plan_is_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not a plan folder"):
        read_plan(tmp_path)
