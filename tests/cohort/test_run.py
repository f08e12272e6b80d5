"""Runs: what is computed, what is reused, what is refused; the tasks run here, one by one."""

from __future__ import annotations

import gc
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("distributed")

from planner.cohort import engine, one
from planner.cohort import running as run_module
from planner.cohort.cases import Case
from planner.cohort.content import content, program, signature
from planner.cohort.one import run_case
from planner.cohort.records import read_record
from planner.cohort.root import locked, read_run
from planner.cohort.running import Progress, run
from planner.cohort.tables import read_table
from planner.cohort.task import CASE_FILE, CASES, Task
from planner.errors import OutputError, ServerError
from planner.model.anatomy import Anatomy
from planner.model.configuration import Configuration
from planner.model.plan import Plan
from planner.model.volume import Volume
from tests.support.cheap_case import write_cheap_case

QUICK = Configuration(top=1, techniques=("short_axis",))  # type: ignore[arg-type]


def case(name: str, ct: tuple[Path, Path], **more: Any) -> Case:
    return Case(name, ct[0], anatomy=ct[1], **more)


def tables_of(root: Path) -> dict[str, str]:
    """Hashes of the tables, but for the times that a run took."""
    found = read_run(root)["tables_sha256"]
    return {name: value for name, value in found.items() if "timings" not in name}


def test_every_case_is_in_the_tables_with_its_status(
    ct: tuple[Path, Path], serial: list[str], tmp_path: Path
) -> None:
    tight = Configuration.from_mapping({"limits": {"foramina_mm": 20.0}, "top": 1})
    cases = [
        case("a", ct, covariates={"sex": "F"}, outcomes={"vas_before": 7.0}),
        replace(case("b", ct), ct=tmp_path / "absent"),
    ]
    report = run(cases, tmp_path / "out", QUICK)
    assert dict(report.outcomes) == {"planned": 1, "unsuitable_ct": 1} and report.computed == 2
    table = read_table(tmp_path / "out", "cases").set_index("case_id")
    assert table.loc["a", "exit_status"] == 0 and table.loc["b", "exit_status"] == 3
    assert (table.loc["a", "covariate_sex"], table.loc["a", "vas_before"]) == ("F", 7.0)
    assert "<ct>" in table.loc["b", "reason"] and str(tmp_path) not in table.loc["b", "reason"]
    assert table.loc["a", "reason"] == "" and table.loc["a", "trajectories"] == 2
    paths = read_table(tmp_path / "out", "trajectories")
    plan = json.loads((tmp_path / "out" / CASES / "a" / "plan.json").read_text())
    assert list(paths["id"]) == [item["id"] for item in plan["trajectories"]]
    assert not (tmp_path / "out" / CASES / "b" / "plan.json").exists()

    nothing = run([case("a", ct)], tmp_path / "tight", tight)
    assert dict(nothing.outcomes) == {"no_trajectory": 1}
    rooms = read_table(tmp_path / "tight", "feasibility")
    assert len(rooms) == 8 and rooms["paths"].sum() == 0 and rooms["best_clearance_mm"].isna().all()
    assert len(read_table(tmp_path / "tight", "trajectories")) == 0


def test_what_a_killed_worker_left_goes_even_where_the_case_stands(
    ct: tuple[Path, Path], serial: list[str], tmp_path: Path
) -> None:
    run([case("a", ct)], tmp_path, QUICK)
    folder = tmp_path / CASES / "a"
    (folder / ".case.json.4711.part").write_text("{")
    (folder.parent / ".a.beef.part").mkdir()
    serial.clear()
    run([case("a", ct)], tmp_path, QUICK)
    assert serial == [] and not list(tmp_path.rglob(".*.part"))


def test_only_what_is_missing_or_changed_runs_again(
    ct: tuple[Path, Path], serial: list[str], tmp_path: Path
) -> None:
    copied = tmp_path / "b"
    shutil.copytree(ct[0].parent, copied)
    other = (copied / "ct.nrrd", copied / "anatomy.seg.nrrd")
    cases = [case("a", ct), case("b", other), replace(case("gone", ct), ct=tmp_path / "no")]
    out = tmp_path / "out"

    def again(cases: list[Case], configuration: Configuration = QUICK) -> list[str]:
        serial.clear()
        run(cases, out, configuration)
        # A CT that is not there is looked for each time: it may be on a share.
        assert ("gone" in serial) == (len(cases) == 3)
        return sorted({*serial} - {"gone"})

    assert again(cases) == ["a", "b"]
    first = tables_of(out)
    assert again(cases) == [] and tables_of(out) == first
    # Touched: looked at again, byte by byte, and found to be the same.
    before = (out / CASES / "b" / "plan.json").stat().st_mtime_ns
    os.utime(other[0])
    assert again(cases) == ["b"] and again(cases) == []
    assert (out / CASES / "b" / "plan.json").stat().st_mtime_ns == before
    assert tables_of(out) == first
    # Changed.
    write_cheap_case(copied, seed=5)
    assert again(cases) == ["b"]
    assert (out / CASES / "b" / "plan.json").stat().st_mtime_ns > before
    # A record that is damaged or gone counts for nothing.
    (out / CASES / "a" / CASE_FILE).write_text('{"record_version": 1')
    assert again(cases) == ["a"]
    shutil.rmtree(out / CASES / "a")
    assert again(cases) == ["a"]
    # Fewer cases: the tables have those only; what was computed for others stays.
    assert again(cases[:1]) == []
    assert list(read_table(out, "cases")["case_id"]) == ["a"] and (out / CASES / "b").is_dir()
    assert again(cases, Configuration(top=2, techniques=("short_axis",))) == ["a", "b"]  # type: ignore[arg-type]
    assert read_table(out, "trajectories").duplicated(["case_id", "id"]).sum() == 0


def test_a_run_that_is_broken_off_mixes_no_configurations(
    ct: tuple[Path, Path], serial: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [case("a", ct), case("b", ct)]
    run(cases, tmp_path, QUICK)

    def half(_client: Any, tasks: Any, tell: Callable[..., None]) -> None:
        task = next(iter(tasks))
        tell(task, run_case(task))
        raise ServerError("the scheduler went away")

    with monkeypatch.context() as patch:
        patch.setattr(engine, "run_tasks", half)
        with pytest.raises(ServerError):
            run(cases, tmp_path, Configuration(needle="13G", top=1, techniques=("short_axis",)))  # type: ignore[arg-type]
    gauges = read_table(tmp_path, "trajectories")["needle_gauge"]
    assert set(gauges) == {"13G"} and len(read_table(tmp_path, "cases")) == 1
    told = read_run(tmp_path)
    assert told["outcomes"] == {"planned": 1} and told["cases"] == 2
    assert len(told["runs"]) == 2 and told["configuration"]["needle"] == "13G"


def test_a_defect_in_one_case_is_told_and_stops_nothing(
    ct: tuple[Path, Path], serial: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = one.plan_ct

    def faulty(path: Path, *given: Any, **more: Any) -> Any:
        if more["anatomy_file"] is None:
            raise RuntimeError(f"index 7 of {path}/slice")
        return plan(path, *given, **more)

    monkeypatch.setattr(one, "plan_ct", faulty)
    cases = [replace(case("a", ct), anatomy=None), case("b", ct)]
    report = run(cases, tmp_path / "out", QUICK)
    assert dict(report.outcomes) == {"defect": 1, "planned": 1}
    record = read_record(tmp_path / "out" / CASES / "a")
    assert record is not None and record.reason == "RuntimeError: index 7 of <ct>/slice"
    trace = (tmp_path / "out" / CASES / "a" / "traceback.txt").read_text()
    assert "faulty" in trace and str(ct[0]) not in trace
    # A defect is no property of the input: the next run tries again.
    serial.clear()
    run(cases, tmp_path / "out", QUICK)
    assert serial == ["a"]


def test_what_cannot_be_written_is_told_and_tried_again(
    ct: tuple[Path, Path], serial: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_given: Any, **_more: Any) -> None:
        raise OutputError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(one, "write_plan", full)
        report = run([case("a", ct)], tmp_path, QUICK)
    assert dict(report.outcomes) == {"output": 1}
    assert read_table(tmp_path, "cases")["reason"].tolist() == ["the disk is full"]
    assert len(read_table(tmp_path, "trajectories")) == 0
    assert dict(run([case("a", ct)], tmp_path, QUICK).outcomes) == {"planned": 1}


def test_a_worker_of_another_program_is_refused(ct: tuple[Path, Path], tmp_path: Path) -> None:
    mine = case("a", ct)
    task = Task(mine, QUICK, tmp_path, signature(mine), program() | {"numpy": "0.1"})
    record = run_case(task)
    assert record.status == 2 and "another planner" in record.reason


def test_two_runs_exclude_each_other(ct: tuple[Path, Path], tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(OutputError, match="another run is at work"):
        run([case("a", ct)], tmp_path, QUICK)


def test_a_folder_of_something_else_is_refused(ct: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        run([case("a", ct)], tmp_path, QUICK)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    folder = replace(case("a", ct), ct=ct[0].parent)
    with pytest.raises(OutputError, match="among the images"):
        run([folder], ct[0].parent / "out", QUICK)
    assert not (ct[0].parent / "out").exists()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / run_module.RUN_FILE).write_text('{"run_version": 99, "runs": []}')
    with pytest.raises(OutputError, match="another version"):
        run([case("a", ct)], tmp_path / "old", QUICK)


def test_a_plan_that_somebody_reviewed_outlives_a_failing_rerun(
    ct: tuple[Path, Path], serial: list[str], tmp_path: Path
) -> None:
    mine, out = [case("a", ct)], tmp_path / "out"
    run(mine, out, QUICK)
    folder = out / CASES / "a"
    saved = folder / "plan.json"
    plan = json.loads(saved.read_text())
    saved.write_text(json.dumps(plan | {"review": {"revision": 1, "note": "hers"}}))
    # The share with the CT is away: nothing is thrown away, and the case is looked for again.
    run([replace(mine[0], ct=tmp_path / "away")], out, QUICK)
    assert "hers" in saved.read_text()
    assert list(read_table(out, "cases")["outcome"]) == ["unsuitable_ct"]
    # A configuration without any path: the plan goes, the review is kept.
    tight = Configuration.from_mapping({"limits": {"foramina_mm": 20.0}, "top": 1})
    run(mine, out, tight)
    assert not saved.exists()
    kept = list((folder / "revisions").rglob("*.json"))
    assert any("hers" in path.read_text() for path in kept)


def test_input_and_output_may_not_lie_in_each_other(
    ct: tuple[Path, Path], serial: list[str], tmp_path: Path
) -> None:
    inside = tmp_path / "study" / CASES / "s0"
    shutil.copytree(ct[0].parent, inside)
    mine = Case("s0", inside / "ct.nrrd", anatomy=inside / "anatomy.seg.nrrd")
    before = sorted(path.name for path in inside.iterdir())
    with pytest.raises(OutputError):
        run([mine], tmp_path / "study", QUICK)
    (tmp_path / "study" / ".run.lock").touch()
    with pytest.raises(OutputError, match="lies inside the output folder"):
        run([mine], tmp_path / "study", QUICK)
    with pytest.raises(OutputError, match="taken for one of them"):
        run([mine], tmp_path / "study" / "out", QUICK, manifest=str(tmp_path / "study"))
    assert sorted(path.name for path in inside.iterdir()) == before and serial == []


def test_rows_that_cannot_be_are_a_defect_of_their_case_alone(
    ct: tuple[Path, Path], serial: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, out = one.plan_rows, tmp_path / "out"

    def odd(document: Any) -> Any:
        made = rows(document)
        made["trajectories"][0]["breach_probability_any"] = 1.5
        return made

    with monkeypatch.context() as patch:
        patch.setattr(one, "plan_rows", odd)
        report = run([case("a", ct), replace(case("b", ct), ct=tmp_path / "x")], out, QUICK)
    assert dict(report.outcomes) == {"defect": 1, "unsuitable_ct": 1}
    told = read_table(out, "cases").set_index("case_id").loc["a", "reason"]
    assert "breach_probability_any of a: 1.5" in told
    assert len(read_table(out, "trajectories")) == 0


@pytest.mark.parametrize("what", ["file", "folder"])
def test_something_in_the_place_of_a_case_stops_nothing(
    ct: tuple[Path, Path], serial: list[str], tmp_path: Path, what: str
) -> None:
    out = tmp_path / "out"
    run([case("b", ct)], out, QUICK)
    place = out / CASES / "a"
    if what == "file":
        place.write_text("mine")
    else:
        (place / CASE_FILE).mkdir(parents=True)
    report = run([case("a", ct), case("b", ct)], out, QUICK)
    assert report.outcomes["planned"] >= 1
    assert set(read_table(out, "cases")["case_id"]) == {"a", "b"}
    if what == "file":
        assert place.read_text() == "mine" and [r.case_id for r in report.lost] == ["a"]


@pytest.mark.parametrize("text", ["", "[1]", "null", '{"run_version": 1}'])
def test_a_damaged_run_json_is_made_anew(
    ct: tuple[Path, Path], serial: list[str], tmp_path: Path, text: str
) -> None:
    run([case("a", ct)], tmp_path, QUICK)
    (tmp_path / run_module.RUN_FILE).write_text(text)
    serial.clear()
    run([case("a", ct)], tmp_path, QUICK)
    assert serial == [] and read_run(tmp_path)["outcomes"] == {"planned": 1}


def test_damaged_tables_are_made_anew(
    ct: tuple[Path, Path], serial: list[str], tmp_path: Path
) -> None:
    run([case("a", ct)], tmp_path, QUICK)
    before = tables_of(tmp_path)
    part = tmp_path / "tables" / "trajectories" / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:100])
    run([case("a", ct)], tmp_path, QUICK)
    assert tables_of(tmp_path) == before


def test_a_row_that_names_another_ct_of_the_same_size_and_time_is_noticed(
    ct: tuple[Path, Path], tmp_path: Path
) -> None:
    for name in ("a", "b"):
        shutil.copytree(ct[0].parent, tmp_path / name)
        os.utime(tmp_path / name / "ct.nrrd", ns=(10**18, 10**18))
    one_, other = (Case("s", tmp_path / name / "ct.nrrd") for name in ("a", "b"))
    assert signature(one_) != signature(other)


def test_a_reason_names_neither_folder_nor_file(
    ct: tuple[Path, Path], serial: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "SMITH  JOHN 1950" / "ct"
    folder.mkdir(parents=True)
    (folder / "SMITH_JOHN.nrrd").write_bytes(b"NRRD0004\n")
    run([Case("a", folder)], tmp_path / "out", QUICK)
    reason = read_table(tmp_path / "out", "cases")["reason"][0]
    assert reason and "SMITH" not in reason


def test_a_case_leaves_nothing_in_the_memory(ct: tuple[Path, Path], tmp_path: Path) -> None:
    def alive() -> int:
        gc.collect()
        return sum(isinstance(each, Anatomy | Volume | Plan) for each in gc.get_objects())

    before = alive()
    mine = case("a", ct)
    record = run_case(Task(mine, Configuration(top=1), tmp_path, signature(mine), program()))
    assert record.status == 0 and alive() == before


def test_progress_counts_failures(ct: tuple[Path, Path], serial: list[str], tmp_path: Path) -> None:
    seen: list[Progress] = []
    cases = [case("a", ct), replace(case("b", ct), ct=tmp_path / "absent")]
    run(cases, tmp_path / "out", QUICK, progress=seen.append)
    assert [(p.done, p.failures) for p in seen][-1] == (2, 1) and seen[0].cases == 2
    assert {p.last for p in seen} == {"", "a", "b"}


def test_the_hash_of_an_input_is_of_its_bytes_and_not_of_its_place(
    ct: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(ct[0].parent, tmp_path / "else")
    moved = (tmp_path / "else" / "ct.nrrd", tmp_path / "else" / "anatomy.seg.nrrd")
    one_, other = case("a", ct), case("b", moved)
    assert content(one_) == content(other)
    assert content(one_)[0] != content(replace(one_, anatomy=None))[0]
    assert content(one_)[0] != content(replace(one_, series="1.2"))[0]
    folder = replace(one_, ct=tmp_path / "else", anatomy=None)
    before, seen = content(folder)[0], signature(folder)
    (tmp_path / "else" / "ct.nrrd").rename(tmp_path / "else" / "ct2.nrrd")
    assert content(folder)[0] != before and signature(folder) != seen


@pytest.mark.parametrize(
    ("need", "cases", "cores", "free", "expected"),
    [
        (1000.0, 100, 8, 16_000.0, (8, 1)),
        (3000.0, 100, 8, 16_000.0, (3, 2)),
        (30_000.0, 100, 8, 16_000.0, (1, 8)),
        (1000.0, 2, 8, 64_000.0, (2, 4)),
        (0.0, 100, 2, 4_000.0, (1, 2)),
    ],
)
def test_a_cluster_fits_the_cores_and_the_memory_that_cases_need(
    need: float, cases: int, cores: int, free: float, expected: tuple[int, int]
) -> None:
    size = engine.fit(need, cases, cores, free)
    assert (size.workers, size.threads) == expected
    assert size.workers * size.memory_mb <= free
