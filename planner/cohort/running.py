"""A run over a cohort: what is missing is computed, tables are made, all of it is written down.

The folder holds `cases/` (a plan folder each, with the case's record), `tables/` and `run.json`. A
case counts as done when its record stands and was made from the same input by the same program with
the same configuration; whatever ended an earlier run, the next one does what is missing.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from planner.cohort.cases import Case
from planner.cohort.content import (
    TABLES_FOLDER,
    files_of,
    program,
    result_key,
    signature,
    table_hashes,
)
from planner.cohort.dictionary import OUTCOMES_OF_A_RUN, dictionary_rows
from planner.cohort.records import keep_record, read_record, stands, sweep
from planner.cohort.root import RUN_FILE, RUN_VERSION, check_root, lies_below, locked, read_run
from planner.cohort.task import CASE_FILE, CASES, Record, Task
from planner.errors import OutputError
from planner.export.atomic import write_file
from planner.export.disclaimer import DISCLAIMER
from planner.model.configuration import Configuration

MOST_RUNS = 200
"""So many runs are remembered in run.json."""


@dataclass(frozen=True)
class Progress:
    """How far a run is. cases: to be computed. failures: of those, without a plan."""

    cases: int
    done: int = 0
    failures: int = 0
    last: str = ""
    dashboard: str = ""


@dataclass(frozen=True)
class RunReport:
    """What a run did.

    computed: cases computed now. reused: cases that were done before. outcomes: cases by outcome,
    over the manifest. lost: records that could not be written, which the tables lack.
    """

    folder: Path
    cases: int
    computed: int
    reused: int
    outcomes: Mapping[str, int]
    lost: tuple[Record, ...] = ()
    seconds: float = 0.0
    workers: int = 0
    largest_need_mb: float = 0.0


@dataclass
class _State:
    """What is known of the cases while the run goes on; small, whatever the cases hold."""

    status: dict[str, int] = field(default_factory=dict)
    """Of the cases whose record is of this input, program and configuration."""
    keys: dict[str, str] = field(default_factory=dict)
    need_mb: float = 0.0
    lost: dict[str, Record] = field(default_factory=dict)
    computed: int = 0

    def note(self, record: Record) -> None:
        self.status[record.case_id] = record.status
        self.keys[record.case_id] = record.result_key
        self.note_need(record)

    def note_need(self, record: Record) -> None:
        self.need_mb = max(self.need_mb, float(record.timings.get("peak_memory_mb", 0.0)))


def run(
    cases: Sequence[Case],
    output: Path,
    configuration: Configuration | None = None,
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    manifest: str = "",
    progress: Callable[[Progress], None] | None = None,
) -> RunReport:
    """Plan every case that is not done, and make the tables.

    output: a new folder, or one of an earlier run. scheduler: address of the user's own; None for
    workers on this machine. workers: their number here; None for what fits. manifest: name of the
    manifest, for run.json. progress: called with every change.
    Raises OutputError where the folder is something else, is in use by another run, or cannot be
    written; ServerError and ConfigurationError for the scheduler.
    """
    chosen = configuration or Configuration()
    check_root(output, [path for case in cases for path in (case.ct, case.anatomy, case.target)])
    if manifest and Path(manifest).is_dir() and lies_below(output, Path(manifest)):
        raise OutputError(
            f"the output folder {output} lies inside the folder of subjects {manifest}, and would "
            "be taken for one of them. Choose a folder outside it."
        )
    with locked(output):
        tasks = [Task(case, chosen, output.resolve(), signature(case), program()) for case in cases]
        return compute(output, tasks, scheduler, workers, manifest, progress)


def compute(
    output: Path,
    tasks: Sequence[Task],
    scheduler: str | None,
    workers: int | None,
    manifest: str,
    progress: Callable[[Progress], None] | None,
) -> RunReport:
    """Do what is missing of some tasks, in a folder that is locked."""
    started = datetime.now(UTC)
    state = _State()
    missing = [task for task in tasks if not _is_done(task, state)]
    _write_run(output, tasks, state, manifest, started, None)
    tell = _teller(state, len(missing), progress or _silent)
    used = 0
    try:
        if missing:
            used = _compute(missing, scheduler, workers, state, tell)
    finally:
        # Also after a fault or an interruption: what is done is worth having.
        _tables(output, tasks, state)
        _write_run(output, tasks, state, manifest, started, used)
    outcomes = Counter(OUTCOMES_OF_A_RUN.get(code, "defect") for code in state.status.values())
    return RunReport(
        output,
        len(tasks),
        state.computed,
        len(tasks) - state.computed,
        dict(sorted(outcomes.items())),
        tuple(state.lost.values()),
        (datetime.now(UTC) - started).total_seconds(),
        used,
        state.need_mb,
    )


def record_folders(root: Path, cases: Sequence[str]) -> dict[str, Path]:
    """Folders of the cases that have a record."""
    folders = {name: root / CASES / name for name in cases}
    return {name: path for name, path in folders.items() if (path / CASE_FILE).is_file()}


def _is_done(task: Task, state: _State) -> bool:
    """Tell whether the case's record stands for what it would give now."""
    record = read_record(task.folder)
    if record is None:
        return False
    same_input = record.signature == task.signature
    state.note_need(record)
    key = result_key(record.input_sha256, task.configuration)
    # A CT that is not there may be on a share that will be mounted again.
    absent = task.phantom is None and record.status != 0 and not task.case.ct.exists()
    if absent or not same_input or not stands(record, task.folder, key):
        return False
    # A worker that was killed as it wrote the last figures of the case left the half of them.
    sweep(task.folder)
    state.note(record)
    return True


def _compute(
    tasks: Sequence[Task],
    scheduler: str | None,
    workers: int | None,
    state: _State,
    tell: Callable[..., None],
) -> int:
    # Not needed where nothing is missing, and slow to import.
    from planner.cohort import engine

    if scheduler is not None:
        with engine.joined(scheduler) as client:
            tell(dashboard=engine.dashboard_of(client))
            engine.run_tasks(client, tasks, tell)
            return len(client.scheduler_info(n_workers=-1)["workers"])
    rest = list(tasks)
    if not state.need_mb and workers is None and len(rest) > 1:
        # Nothing was measured yet: the largest input goes first and alone, and is measured.
        rest.sort(key=_bytes, reverse=True)
        with engine.local(engine.fit(0.0, 1)) as client:
            tell(dashboard=engine.dashboard_of(client))
            engine.run_tasks(client, rest[:1], tell)
        rest = rest[1:]
    size = engine.fit(state.need_mb, len(rest)) if workers is None else engine.asked(workers)
    with engine.local(size) as client:
        tell(dashboard=engine.dashboard_of(client))
        engine.run_tasks(client, [replace(task, threads=size.threads) for task in rest], tell)
    return size.workers


def _bytes(task: Task) -> int:
    total = 0
    for _, path in files_of(task.case):
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total


def _teller(state: _State, cases: int, progress: Callable[[Progress], None]) -> Callable[..., None]:
    now = Progress(cases)
    progress(now)

    def tell(task: Task | None = None, record: Record | None = None, dashboard: str = "") -> None:
        nonlocal now
        if dashboard:
            now = replace(now, dashboard=dashboard)
        if task is not None and record is not None:
            state.note(record)
            state.computed += not record.reused
            if not record.kept:
                _keep(task, record, state)
            failed = now.failures + (record.status != 0)
            now = replace(now, done=now.done + 1, failures=failed, last=task.case.id)
        progress(now)

    return tell


def _keep(task: Task, record: Record, state: _State) -> None:
    """Write the record of a case whose worker could not."""
    if not keep_record(task.folder, record).kept:
        state.lost[record.case_id] = record


def _tables(output: Path, tasks: Sequence[Task], state: _State) -> None:
    """Make the tables, unless they are those of the same records already."""
    cases = [task.case for task in tasks if task.case.id in state.status]
    folders = record_folders(output, [case.id for case in cases])
    digest = hashlib.sha256()
    for case in sorted(cases, key=lambda case: case.id):
        about = (folders[case.id] / CASE_FILE).stat() if case.id in folders else None
        stamp = None if about is None else (about.st_mtime_ns, about.st_size)
        digest.update(repr((case, stamp, case.id in state.lost)).encode())
    seen = digest.hexdigest()
    mark = output / CASES / ".tabled"
    if _read_mark(mark) == _mark(seen, output) and (output / TABLES_FOLDER).is_dir():
        return
    from planner.cohort.tables import write_tables

    write_tables(output, cases, partial(_record_for, folders, state))
    write_file(mark, partial(_write_text, _mark(seen, output)))


def _mark(seen: str, output: Path) -> str:
    """What the tables were made of and by, and what they are."""
    parts = [seen, dictionary_rows(), table_hashes(output)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _read_mark(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def _record_for(folders: Mapping[str, Path], state: _State, name: str) -> Record:
    record = state.lost.get(name) or read_record(folders.get(name, Path()))
    if record is None or record.result_key != state.keys.get(name):
        return Record(name, 1, "its record is gone, damaged, or of another run; run again.")
    return record


def _write_run(
    output: Path,
    tasks: Sequence[Task],
    state: _State,
    manifest: str,
    started: datetime,
    workers: int | None,
) -> None:
    """Write run.json; workers: None while the run goes on."""
    before = _runs_before(output)
    if workers is not None and before and before[-1].get("ended") is None:
        before = before[:-1]
    this = {
        "started": started.isoformat(timespec="seconds"),
        "ended": None if workers is None else datetime.now(UTC).isoformat(timespec="seconds"),
        "computed": state.computed,
        "workers": workers,
    }
    counts = Counter(OUTCOMES_OF_A_RUN.get(code, "defect") for code in state.status.values())
    cases = sorted((task.case.id, task.signature) for task in tasks)
    values = {
        "run_version": RUN_VERSION,
        "disclaimer": DISCLAIMER,
        "program": program(),
        "configuration": tasks[0].configuration.model_dump(mode="json") if tasks else {},
        "manifest": Path(manifest).name,
        "cases": len(tasks),
        "cases_sha256": hashlib.sha256(json.dumps(cases).encode()).hexdigest(),
        "outcomes": dict(sorted(counts.items())),
        "tables_sha256": table_hashes(output),
        "runs": [*before, this][-MOST_RUNS:],
    }
    text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    write_file(output / RUN_FILE, partial(_write_text, text))


def _runs_before(output: Path) -> list[Any]:
    try:
        return list(read_run(output)["runs"])
    except OutputError:
        return []  # there was none, or it was damaged


def _write_text(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")


def _silent(_progress: Progress) -> None:
    return
