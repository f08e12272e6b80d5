"""Rows of the tables against plan.json, and places against what the toy anatomy was built of."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from planner.cohort.cases import Case
from planner.cohort.dictionary import TABLES
from planner.cohort.rows import (
    DENSITY,
    MEASURES,
    best_values,
    case_row,
    frame_of,
    nowhere_rows,
    plan_rows,
)
from planner.export.plan_document import PlanDocument
from planner.export.plan_json import plan_document, plan_text
from planner.model.configuration import Configuration
from planner.model.feasibility import Feasibility
from planner.model.finding import Finding, Weight
from planner.model.plan import Plan
from planner.model.trajectory import Technique
from tests.export.toy import rotation, toy_frame, toy_plan, toy_ranked

SWAPPED = {"left": "right", "right": "left"}
DENSE = {
    "ala_left_mean_hu": -12.345678901,
    "ala_left_negative_mm3": 1500.0,
    "ala_left_region_mm3": 4000.0,
    "ala_right_mean_hu": 44.4444444,
    "ala_right_negative_mm3": 0.0,
    "ala_right_region_mm3": 5000.0,
    "l5_mean_hu": 98.7654321,
}
SHAPE = {"largest_score_deg": 71.23456789, "transsacral_corridor_mm": 6.98765432}
FINDINGS = (
    Finding("alar_fracture", "sign of a fracture in the left ala: a band.", measures={"x_mm": 1}),
    Finding("density", "low bone density.", Weight.NOTE, DENSE),
    Finding("dysmorphism", "the upper sacrum looks dysmorphic.", Weight.NOTE, SHAPE),
    Finding("s1_numbering", "S1 rests on it.", Weight.RECORD, {"foramen_pairs_count": 4.0}),
)
FEASIBLE = (
    Feasibility(Technique.SHORT_AXIS, "left", 17, 3.123456),
    Feasibility(Technique.SHORT_AXIS, "right", 0, None),
)
# Of the toy: bone entries and posterior openings (19 lateral, 14 + 18 n below the endplate), mm in
# the sacral frame: lateral, below endplate, nearest foramen, lateral of it, below it.
PLACES = {
    "short_axis": (30.0, 5.0, "S1", 11.0, -9.0),
    "long_axis": (29.0, 60.0, "S4", 10.0, -8.0),
    "s2_entry": (29.0, 32.0, "S2", 10.0, 0.0),
    "s2_s3_entry": (29.0, 42.0, "S3", 10.0, -8.0),
}
PLACE_COLUMNS = (
    "entry_lateral_mm",
    "entry_below_endplate_mm",
    "entry_foramen",
    "entry_lateral_of_foramen_mm",
    "entry_below_foramen_mm",
)


def known_plan(**changes: Any) -> Plan:
    measures = {name: 1.0 + number / 7.0 for number, name in enumerate(MEASURES)}
    ranked = tuple(replace(item, measures=measures) for item in toy_ranked())
    return toy_plan(
        **({"findings": FINDINGS, "feasibility": FEASIBLE, "trajectories": ranked} | changes)
    )


@pytest.fixture(scope="module")
def plan() -> Plan:
    return known_plan()


@pytest.fixture(scope="module")
def document(plan: Plan) -> PlanDocument:
    return plan_document(plan)


def changed(document: PlanDocument, turn: np.ndarray, shift: np.ndarray) -> PlanDocument:
    """The same plan of a patient who was moved; turn: (3, 3), a reflection swaps the sides."""
    mirrored = np.linalg.det(turn) < 0

    def point(values: Any) -> Any:
        return tuple(float(v) for v in np.round(turn @ np.array(values) + shift, 6))

    def words(text: str) -> str:
        if not mirrored:
            return text
        return text.replace("left", "\0").replace("right", "left").replace("\0", "right")

    def walk(values: Any, key: str = "") -> Any:
        if isinstance(values, dict):
            return {words(name): walk(value, name) for name, value in values.items()}
        if key in ("left", "posterior", "cranial"):
            sign = -1.0 if mirrored and key == "left" else 1.0
            return tuple(float(v) for v in sign * (turn @ np.array(values)))
        if key.endswith("_mm") and isinstance(values, tuple) and len(values) == 3:
            return values if key == "spacing_mm" else point(values)
        if isinstance(values, list | tuple):
            return [walk(value, key) for value in values]
        return words(values) if isinstance(values, str) else values

    told = document.model_dump()
    told["anatomy"]["sacral_frame"] = {
        name: walk(value, name) for name, value in told["anatomy"]["sacral_frame"].items()
    }
    anatomy = told["anatomy"] | {"foramina": walk(told["anatomy"]["foramina"])}
    rest = {name: walk(told[name]) for name in ("trajectories", "findings", "feasibility")}
    return PlanDocument.model_validate(told | {"anatomy": anatomy} | rest)


def by_name(rows: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["technique"], row["side"]): row for row in rows}


def test_every_table_has_exactly_the_columns_of_the_dictionary(document: PlanDocument) -> None:
    rows = plan_rows(document)
    assert set(rows) == {"trajectories", "feasibility", "foramina", "anatomy", "findings"}
    for name, values in rows.items():
        assert values, name
        expected = {column.name for column in TABLES[name]} - {"case_id"}
        for row in values:
            assert set(row) == expected, name
    assert [len(rows[name]) for name in rows] == [8, 2, 8, 1, 4]


def test_figures_of_paths_are_those_of_plan_json_to_the_last_digit(plan: Plan) -> None:
    saved = json.loads(plan_text(plan))["trajectories"]
    rows = plan_rows(PlanDocument.model_validate(json.loads(plan_text(plan))))["trajectories"]
    assert [row["id"] for row in rows] == [item["id"] for item in saved]
    for row, item in zip(rows, saved, strict=True):
        for point in ("skin_entry", "bone_entry", "tip"):
            told = [row[f"{point}_{axis}_lps_mm"] for axis in "xyz"]
            assert told == item[f"{point}_mm"]
        for name in ("rank", "technique", "side", "level", "score", "intraosseous_length_mm"):
            assert row[name] == item[name], name
        for name, value in item["breach_probability"].items():
            if name != "posterior_cortex":
                assert row[f"breach_probability_{name}"] == value
        for name, value in item["clearance"].items():
            if name != "posterior_cortex":
                assert row[f"clearance_{name}_mm"] == value["distance_mm"]
        assert {name: row[name] for name in MEASURES} == item["measures"]
        assert row["nearest_foramen"] == item["clearance"]["foramina"]["structure"]


def test_figures_of_the_rest_are_those_of_plan_json_to_the_last_digit(plan: Plan) -> None:
    saved = json.loads(plan_text(plan))
    rows = plan_rows(PlanDocument.model_validate(saved))
    anatomy = rows["anatomy"][0]
    findings = {item["name"]: item["measures"] for item in saved["findings"]}
    assert {name: anatomy[name] for name in DENSITY} == {
        name: findings["density"][name] for name in DENSITY
    }
    for name in ("largest_score_deg", "transsacral_corridor_mm"):
        assert anatomy[name] == findings["dysmorphism"][name]
    assert anatomy["foramen_pairs_count"] == 4.0
    assert (anatomy["ala_left_negative_part"], anatomy["ala_right_negative_part"]) == (0.375, 0.0)
    assert [row["best_clearance_mm"] for row in rows["feasibility"]] == [3.123456, None]
    assert [row["paths"] for row in rows["feasibility"]] == [17, 0]
    assert [row["message"] for row in rows["findings"]] == [f["message"] for f in saved["findings"]]
    for row, item in zip(rows["foramina"], saved["anatomy"]["foramina"], strict=True):
        assert {name: row[name] for name in ("level", "side", "width_mm", "confidence")} == {
            name: item[name] for name in ("level", "side", "width_mm", "confidence")
        }


@pytest.mark.parametrize("side", ["left", "right"])
def test_entries_are_told_from_midplane_endplate_and_nearest_foramen(
    document: PlanDocument, side: str
) -> None:
    rows = by_name(plan_rows(document)["trajectories"])
    for technique, expected in PLACES.items():
        row = rows[technique, side]
        assert row["entry_foramen"] == expected[2]
        figures = [row[name] for name in PLACE_COLUMNS if name != "entry_foramen"]
        assert figures == pytest.approx([v for v in expected if not isinstance(v, str)], abs=2e-3)


@pytest.mark.parametrize(("side", "sign"), [("left", 1), ("right", -1)])
def test_an_entry_beyond_the_midplane_is_negative(
    document: PlanDocument, side: str, sign: int
) -> None:
    entry = tuple(toy_frame().to_patient((-5.0 * sign, 30.0, -14.0)).tolist())
    moved = [item.model_copy(update={"bone_entry_mm": entry}) for item in document.trajectories]
    rows = by_name(plan_rows(document.model_copy(update={"trajectories": moved}))["trajectories"])
    row = rows["short_axis", side]
    assert row["entry_lateral_mm"] == pytest.approx(-5.0, abs=2e-3)
    # S1 of the own side, 19 mm from the midplane: the other side's is nearer, and not meant.
    assert (row["entry_foramen"], row["entry_lateral_of_foramen_mm"]) == (
        "S1",
        pytest.approx(-24.0, abs=2e-3),
    )


def test_foramina_lie_where_the_toy_has_them(document: PlanDocument) -> None:
    for row in plan_rows(document)["foramina"]:
        sign = 1 if row["side"] == "left" else -1
        below = 14.0 + 18.0 * (int(row["level"][1]) - 1)
        for point, y in (("dorsal", 30.0), ("centre", 7.0), ("ventral", -16.0)):
            told = [row[f"{point}_{axis}_sacrum_mm"] for axis in "xyz"]
            assert told == pytest.approx([19.0 * sign, y, -below], abs=2e-3)
    anatomy = plan_rows(document)["anatomy"][0]
    for level in ("s1", "s2", "s3", "s4"):
        assert anatomy[f"dorsal_spacing_{level}_mm"] == pytest.approx(38.0, abs=2e-3)


def test_only_foramina_of_the_own_side_are_near(document: PlanDocument) -> None:
    right = [item for item in document.anatomy.foramina if item.side == "right"]
    anatomy = document.anatomy.model_copy(update={"foramina": right})
    rows = plan_rows(document.model_copy(update={"anatomy": anatomy}))
    paths = by_name(rows["trajectories"])
    left, other = paths["short_axis", "left"], paths["short_axis", "right"]
    assert [left.get(name) for name in PLACE_COLUMNS[2:]] == [None, None, None]
    assert left["entry_lateral_mm"] == pytest.approx(30.0, abs=2e-3)
    assert other["entry_foramen"] == "S1"
    assert rows["anatomy"][0]["dorsal_spacing_s1_mm"] is None


def compare(rows: list[dict[str, Any]], others: list[dict[str, Any]]) -> None:
    assert len(rows) == len(others)
    for row, other in zip(rows, others, strict=True):
        assert row.keys() == other.keys()
        for name, value in row.items():
            if "_lps_" in name:
                continue
            expected = (
                pytest.approx(value, abs=2e-3) if isinstance(value, float) and value else value
            )
            assert other[name] == expected or other[name] == pytest.approx(0, abs=2e-3), name


def test_a_moved_patient_has_the_same_rows(document: PlanDocument) -> None:
    turn = rotation(-21.0, 33.0)
    moved = changed(document, turn, np.array([-140.0, 77.7, -1201.5]))
    assert frame_of(moved).axes == pytest.approx(turn @ frame_of(document).axes, abs=1e-6)
    rows, others = plan_rows(document), plan_rows(moved)
    for name in rows:
        compare(rows[name], others[name])


def test_a_mirrored_patient_has_the_same_rows_with_sides_swapped(document: PlanDocument) -> None:
    mirrored = changed(document, np.diag([-1.0, 1.0, 1.0]), np.array([3.0, 0.0, 0.0]))
    assert np.linalg.det(frame_of(mirrored).axes) == pytest.approx(1.0)
    rows, others = plan_rows(document), plan_rows(mirrored)
    paths, other_paths = by_name(rows["trajectories"]), by_name(others["trajectories"])
    for (technique, side), row in paths.items():
        other = other_paths[technique, SWAPPED[side]]
        assert row["entry_foramen"] == other["entry_foramen"]
        for name in PLACE_COLUMNS:
            if name != "entry_foramen":
                assert row[name] == pytest.approx(other[name], abs=2e-3), name
    one, two = rows["anatomy"][0], others["anatomy"][0]
    assert (one["fracture_left"], one["fracture_right"]) == (True, False)
    assert (two["fracture_left"], two["fracture_right"]) == (False, True)
    assert one["ala_left_mean_hu"] == two["ala_right_mean_hu"]
    for row, other in zip(rows["foramina"], others["foramina"], strict=True):
        assert row["dorsal_x_sacrum_mm"] == pytest.approx(-other["dorsal_x_sacrum_mm"], abs=2e-3)
        assert row["dorsal_z_sacrum_mm"] == pytest.approx(other["dorsal_z_sacrum_mm"], abs=2e-3)


def test_the_frame_loses_the_rounding_of_the_file(document: PlanDocument) -> None:
    frame = frame_of(document)
    assert frame.axes.T @ frame.axes == pytest.approx(np.eye(3), abs=1e-12)
    assert frame.axes == pytest.approx(toy_frame().axes, abs=2e-6)


def test_what_was_not_found_is_none(document: PlanDocument) -> None:
    rows = plan_rows(document.model_copy(update={"findings": []}))
    assert rows["findings"] == []
    row = rows["anatomy"][0]
    unknown = (
        *DENSITY,
        "ala_left_negative_part",
        "ala_right_negative_part",
        "largest_score_deg",
        "transsacral_corridor_mm",
        "foramen_pairs_count",
        "dysmorphic",
        "osteoporotic",
    )
    assert {name: row[name] for name in unknown} == dict.fromkeys(unknown)
    # These two rules look at every CT and say nothing where they see nothing.
    assert (row["fracture_left"], row["fracture_right"], row["hardware"]) == (False, False, False)


def test_findings_that_ask_for_nothing_are_no_signs() -> None:
    silent = (
        Finding("density", "dense enough.", Weight.RECORD, DENSE | {"ala_left_region_mm3": 0.0}),
        Finding("dysmorphism", "usual.", Weight.RECORD, SHAPE),
        Finding("hardware", "metal.", Weight.WARNING),
        Finding("alar_fracture", "sign of a fracture in the left ala: one."),
        Finding("alar_fracture", "sign of a fracture in the right ala: another."),
    )
    row = plan_rows(plan_document(known_plan(findings=silent)))["anatomy"][0]
    assert (row["osteoporotic"], row["dysmorphic"], row["hardware"]) == (False, False, True)
    assert (row["fracture_left"], row["fracture_right"]) == (True, True)
    assert row["ala_left_negative_part"] is None


def test_a_case_says_what_its_first_path_is(document: PlanDocument) -> None:
    values = best_values(document)
    best = document.trajectories[0]
    assert set(values) <= {column.name for column in TABLES["cases"]}
    assert (values["best_id"], values["best_technique"], values["best_side"]) == (
        best.id,
        best.technique,
        best.side,
    )
    assert values["best_clearance_mm"] == best.measures["min_clearance_mm"]
    assert values["best_breach_probability"] == best.breach_probability.any
    assert values["trajectories"] == 8
    assert values["plan_warnings"] == 2
    assert values["slice_spacing_mm"] == max(document.ct.spacing_mm)


def test_without_any_path_no_technique_is_feasible() -> None:
    chosen = Configuration(techniques=("short_axis", "s2_entry"), sides=("right",))
    assert nowhere_rows(chosen) == {
        "feasibility": [
            {"technique": name, "side": "right", "paths": 0, "best_clearance_mm": None}
            for name in ("short_axis", "s2_entry")
        ]
    }


def test_a_case_has_its_covariates_and_outcomes() -> None:
    case = Case(
        "a", Path("ct"), "2", covariates={"age": 71.0, "sex": "F"}, outcomes={"vas_before": 8.0}
    )
    row = case_row(case, 4, "not trusted.", input_sha256="ab")
    columns = {column.name for column in TABLES["cases"]}
    assert set(row) == columns | {"covariate_age", "covariate_sex", "vas_before"}
    told = {name: value for name, value in row.items() if value is not None}
    assert told == {
        "case_id": "a_2",
        "subject": "a",
        "session": "2",
        "exit_status": 4,
        "outcome": "untrusted_anatomy",
        "reason": "not trusted.",
        "input_sha256": "ab",
        "covariate_age": 71.0,
        "covariate_sex": "F",
        "vas_before": 8.0,
    }


@pytest.mark.parametrize(
    ("status", "word"),
    [(0, "planned"), (3, "unsuitable_ct"), (5, "no_trajectory"), (137, "killed"), (99, "defect")],
)
def test_an_exit_status_is_told_in_a_word(status: int, word: str) -> None:
    assert case_row(Case("a", Path("ct")), status)["outcome"] == word
