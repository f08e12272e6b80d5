"""The real engine: workers in processes of their own, killed, joined, and compared."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

pytest.importorskip("distributed")

from distributed import LocalCluster

from planner.cohort import engine
from planner.cohort.cases import Case
from planner.cohort.content import program, signature
from planner.cohort.records import read_record
from planner.cohort.root import check_root, locked, read_run
from planner.cohort.running import Progress, compute, run
from planner.cohort.tables import read_table
from planner.cohort.task import CASE_FILE, CASES, Task
from planner.errors import ConfigurationError, ServerError
from planner.model.configuration import Configuration
from tests.support.bomb import Bomb
from tests.support.cheap_case import write_cheap_case

QUICK = Configuration(top=1, techniques=("short_axis",))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    root = tmp_path_factory.mktemp("cheap")
    out = []
    for number in range(4):
        ct, anatomy = write_cheap_case(root / f"{number}", yaw_deg=2.0 * number, seed=number)
        out.append(Case(f"case-{number}", ct, anatomy=anatomy))
    return out


def listening() -> set[str]:
    """Addresses that this process and its children listen on."""
    out = set()
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        for each in process.net_connections("inet"):
            if each.status == psutil.CONN_LISTEN:
                out.add(each.laddr.ip)
    return out


@pytest.mark.slow
def test_any_number_of_workers_gives_the_same_tables(cases: list[Case], tmp_path: Path) -> None:
    heard: set[str] = set()
    dashboards: set[str] = set()

    def look(now: Progress) -> None:
        heard.update(listening())
        dashboards.add(now.dashboard)

    run(cases, tmp_path / "two", QUICK, workers=2, progress=look)
    run(cases[::-1], tmp_path / "one", QUICK, workers=1)
    two, one = (read_run(tmp_path / name)["tables_sha256"] for name in ("two", "one"))
    assert set(two) == set(one)
    differ = {name for name in two if two[name] != one[name]}
    assert differ == {"tables/timings/part-00000.parquet"}
    assert heard == {"127.0.0.1"}
    assert any(address.startswith("http://127.0.0.1:") for address in dashboards)
    needs = read_table(tmp_path / "two", "timings")["peak_memory_mb"]
    assert (needs > 100).all()


@pytest.mark.slow
def test_a_case_that_kills_its_worker_is_told_and_the_others_go_on(
    cases: list[Case], tmp_path: Path
) -> None:
    check_root(tmp_path, [])
    bomb = Task(Case("bomb", Path("none")), QUICK, tmp_path, "x", program(), phantom=Bomb())
    tasks = [Task(c, QUICK, tmp_path, signature(c), program()) for c in cases[:2]]
    with locked(tmp_path):
        report = compute(tmp_path, [bomb, *tasks], None, 2, "", None)
    assert dict(report.outcomes) == {"killed": 1, "planned": 2}
    table = read_table(tmp_path, "cases").set_index("case_id")
    assert table.loc["bomb", "exit_status"] == 137
    assert "killed twice" in table.loc["bomb", "reason"]
    assert len(read_table(tmp_path, "trajectories")) == 4


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_where_it_was(cases: list[Case], tmp_path: Path) -> None:
    lines = ["subject,ct,anatomy", *(f"{c.id},{c.ct},{c.anatomy}" for c in cases)]
    (tmp_path / "m.csv").write_text("\n".join(lines) + "\n")
    words = ["cohort", "run", str(tmp_path / "m.csv"), "-o", str(tmp_path / "out")]
    command = [sys.executable, "-c", "from planner.cli import main; main()", *words]
    first = subprocess.Popen(
        [*command, "--workers", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    done = tmp_path / "out" / CASES
    deadline = time.monotonic() + 300
    while not list(done.glob(f"*/{CASE_FILE}")):
        assert time.monotonic() < deadline and first.poll() is None
        time.sleep(0.05)
    workers = psutil.Process(first.pid).children(recursive=True)
    first.kill()
    first.wait()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert workers and not alive
    # What a dying worker still wrote counts as well.
    kept = {p.parent.name: p.read_bytes() for p in done.glob(f"*/{CASE_FILE}")}
    again = subprocess.run(
        [*command, "--workers", "1"], capture_output=True, text=True, check=False, timeout=500
    )
    assert again.returncode == 0, again.stderr
    assert all((done / name / CASE_FILE).read_bytes() == text for name, text in kept.items())
    assert "4 cases: planned 4" in again.stdout
    paths = read_table(tmp_path / "out", "trajectories")
    assert len(paths) and not paths.duplicated(["case_id", "id"]).any()
    assert sorted(read_table(tmp_path / "out", "cases")["case_id"]) == [c.id for c in cases]
    assert not list((tmp_path / "out").rglob(".*.part"))


@pytest.mark.slow
def test_a_user_s_own_scheduler_does_the_same(cases: list[Case], tmp_path: Path) -> None:
    with LocalCluster(
        n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as cluster:
        address = cluster.scheduler_address
        report = run(cases[:2], tmp_path, QUICK, scheduler=address)
    assert dict(report.outcomes) == {"planned": 2} and report.workers == 1
    record = read_record(tmp_path / CASES / cases[0].id)
    assert record is not None and record.status == 0


def test_a_scheduler_that_is_not_there_is_told(
    cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "PATIENCE_S", 2)
    with pytest.raises(ServerError, match="no scheduler of dask answers at tcp://127.0.0.1:9"):
        run(cases[:1], tmp_path / "a", QUICK, scheduler="tcp://127.0.0.1:9")
    with pytest.raises(ServerError, match="no scheduler of dask answers"):
        run(cases[:1], tmp_path / "b", QUICK, scheduler="nonsense")


@pytest.mark.slow
def test_workers_with_other_libraries_are_refused(
    cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LocalCluster(
        n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as cluster:
        theirs = {"tcp://x": {**program(), "numpy": "0.1"}}
        monkeypatch.setattr(engine.Client, "run", lambda *_given, **_more: theirs)
        with pytest.raises(ConfigurationError, match="1 of 1 workers"):
            run(cases[:1], tmp_path, QUICK, scheduler=cluster.scheduler_address)
    assert not (tmp_path / CASES / replace(cases[0]).id).exists()
