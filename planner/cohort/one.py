"""One case from its CT to its folder, in a worker's process. Whatever happens, a record comes back.

The folder is a plan folder (`planner score`, `report`, `review` and `export` work on it, the report
is made when it is asked for) with a thumbnail, the case's map for the atlas, and case.json, which
is written last: without it a case counts as not done.
"""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil
from PIL import Image

from planner import reading
from planner.cohort.atlas import AtlasMap, map_onto_mean
from planner.cohort.cases import Case
from planner.cohort.content import content, files_of, program, result_key
from planner.cohort.dictionary import FINAL, KILLED
from planner.cohort.pictures import write_glimpse
from planner.cohort.records import keep_record, read_record, stands, sweep, write_record
from planner.cohort.rows import best_values, nowhere_rows, plan_rows
from planner.cohort.tables import check_record
from planner.cohort.task import (
    ATLAS_FILE,
    CASE_FILE,
    LABELS_REFUSED,
    PICTURE_REFUSED,
    THUMBNAIL,
    TRACE_FILE,
    Record,
    Task,
)
from planner.errors import (
    ConfigurationError,
    NoTrajectoryError,
    OutputError,
    PlannerError,
    UntrustedAnatomyError,
)
from planner.export.atomic import Writer, write_folder
from planner.export.overview import FILE_NAME as OVERVIEW_FILE
from planner.export.plan_folder import PLAN_FILES, write_plan
from planner.export.plan_json import plan_document
from planner.export.rejected import draw_rejected
from planner.export.revision import keep_reviewed
from planner.export.segmentation_nrrd import write_segmentation
from planner.model.plan import Plan
from planner.model.volume import Volume
from planner.phantom import PhantomParameters, make_phantom, write_phantom
from planner.pipeline import plan_ct
from planner.scratch import scratch_folder

CASE_FILES = (THUMBNAIL, ATLAS_FILE, TRACE_FILE, LABELS_REFUSED, PICTURE_REFUSED, CASE_FILE)
STAGES = ("read", "anatomy", "findings", "candidates", "score")
"""Stages whose time is kept."""
THUMBNAIL_PIXELS = (640, 640)
LONGEST_REASON = 4000
OVERVIEW_PART = 0.48
"""Of the overview: slices and bones, without the paths one by one and their table."""
LOOK_S = 0.1
"""How often a process looks at how much memory it holds."""


def run_case(task: Task) -> Record:
    """Plan one case and write its folder; a fault becomes the record's status and reason."""
    started = time.perf_counter()
    sweep(task.folder)
    with _watched() as peak:
        record = _guarded(task)
    timings = {
        **record.timings,
        "seconds": round(time.perf_counter() - started, 2),
        "peak_memory_mb": round(peak() / 1e6, 1),
    }
    if record.reused:
        timings = dict(record.timings)  # those of when it was computed
    kept = keep_record(task.folder, replace(record, timings=timings))
    return replace(kept, reused=record.reused)


def _guarded(task: Task) -> Record:
    empty = Record(task.case.id, 1, signature=task.signature)
    try:
        if dict(task.program) != program():
            raise ConfigurationError(
                "this worker runs another planner, or other libraries, than the one that started "
                "the run. Install the same versions on every machine."
            )
        seen, size = _input(task)
        key = result_key(seen, task.configuration)
        empty = replace(
            empty, input_sha256=seen, result_key=key, timings={"input_mb": round(size / 1e6, 2)}
        )
        before = read_record(task.folder)
        if before is not None and stands(before, task.folder, key):
            return replace(before, signature=task.signature, reused=True)
        return _planned(task, empty)
    except PlannerError as error:
        return _failed(task, empty, error)
    except MemoryError:
        return replace(empty, status=KILLED, reason="the memory did not suffice.")
    except Exception as error:
        # A defect of the program in one case must not end the others; it is told with its trace.
        record = replace(empty, status=1, reason=f"{type(error).__name__}: {_told(task, error)}")
        trace = _trace(task)
        with suppress(OSError):
            task.folder.mkdir(parents=True, exist_ok=True)
            (task.folder / TRACE_FILE).write_text(trace, encoding="utf-8")
        return record


def _input(task: Task) -> tuple[str, int]:
    if task.phantom is not None:
        return task.signature, 0
    return content(task.case)


def _planned(task: Task, record: Record) -> Record:
    with scratch_folder() as temporary:
        case, truth = task.case, None
        if task.phantom is not None:
            case, truth = _phantom(task, temporary)
        stages: list[tuple[str, float]] = []
        volume, plan = plan_ct(
            case.ct,
            task.configuration,
            series=case.series or None,
            anatomy_file=case.anatomy,
            target_file=case.target,
            progress=lambda stage, _part: stages.append((stage, time.perf_counter())),
            jobs=task.threads,
        )
    document = plan_document(plan)
    rows: dict[str, Any] = dict(plan_rows(document))
    if truth is not None:
        rows |= _truth(plan, truth, task.draws)
    timings = {f"{name}_s": round(plan.timings_s[name], 3) for name in STAGES}
    record = replace(
        record,
        status=0,
        values=best_values(document),
        rows=rows,
        timings={**record.timings, **timings},
    )
    try:
        check_record(task.case, record)
    except OutputError as error:
        raise RuntimeError(f"the plan's figures cannot be: {error}") from error
    return _with_plan(task, record, plan, volume)


def _truth(plan: Plan, truth: Any, draws: int) -> dict[str, Any]:
    from planner.cohort.truth_rows import truth_rows

    try:
        return truth_rows(plan, truth, draws)
    except PlannerError as error:
        # The plan stands; that its truth cannot be measured is our fault, not the phantom's.
        raise RuntimeError(f"the truth of the phantom could not be measured: {error}") from error


def _phantom(task: Task, folder: Path) -> tuple[Case, Any]:
    parameters: PhantomParameters = task.phantom
    phantom = make_phantom(parameters)
    write_phantom(phantom, folder / "phantom", compress=False)
    return replace(task.case, ct=folder / "phantom" / "dicom"), phantom.truth


def _with_plan(task: Task, record: Record, plan: Plan, volume: Volume) -> Record:
    """Write the plan with the record last, which makes the case done."""
    folder = task.folder
    more: dict[str, Writer] = {THUMBNAIL: partial(_shrink, OVERVIEW_FILE, OVERVIEW_PART)}
    found = None if plan.entry_map is None else map_onto_mean(plan.entry_map, plan.anatomy)
    if found is not None:
        more[ATLAS_FILE] = partial(AtlasMap.save, found)
    more[CASE_FILE] = partial(write_record, record)
    # Were it interrupted, the old record must not stand beside the new plan.
    with suppress(OSError):
        (folder / CASE_FILE).unlink(missing_ok=True)
    try:
        write_plan(plan, volume, folder, True, full_report=False, more=more, known=CASE_FILES)
    except OutputError as error:
        return replace(record, status=6, reason=_told(task, error), rows={}, values={}, kept=False)
    return record


def _failed(task: Task, record: Record, error: PlannerError) -> Record:
    rows = nowhere_rows(task.configuration) if isinstance(error, NoTrajectoryError) else {}
    record = replace(record, status=error.exit_status, reason=_told(task, error), rows=rows)
    if record.status not in FINAL or (task.phantom is None and not task.case.ct.exists()):
        # A share that is not mounted, a full disk: no reason to throw an earlier plan away.
        return keep_record(task.folder, record)
    more: dict[str, Writer] = {}
    if isinstance(error, UntrustedAnatomyError) and error.rejected is not None:
        found = error.rejected
        more[LABELS_REFUSED] = partial(write_segmentation, found.labels, found.grid)
        more[PICTURE_REFUSED] = lambda path: draw_rejected(found).savefig(
            path, format="png", metadata={"Software": None}
        )
        more[THUMBNAIL] = partial(_shrink, PICTURE_REFUSED, 1.0)
    elif task.phantom is None:
        more |= _glimpse(task.case)
    return _written(task, record, more)


def _glimpse(case: Case) -> dict[str, Writer]:
    """A look at a CT without a plan, where it can be read at all."""
    try:
        volume = reading.read_ct(case.ct, series=case.series or None)
    except Exception:
        return {}  # what is wrong with it is already told
    return {THUMBNAIL: partial(write_glimpse, volume)}


def _written(task: Task, record: Record, more: dict[str, Writer]) -> Record:
    """Write a folder without a plan; a review that lies in it is kept."""
    try:
        task.folder.parent.mkdir(parents=True, exist_ok=True)
        keep_reviewed(task.folder)
        writers: dict[str, Writer] = {**more, CASE_FILE: partial(write_record, record)}
        write_folder(task.folder, writers, (*PLAN_FILES, *CASE_FILES), overwrite=True)
    except (OutputError, OSError):
        return replace(record, kept=False)
    return record


def _shrink(name: str, part: float, path: Path) -> None:
    """Make the thumbnail of the upper part of a picture that stands beside it."""
    with Image.open(path.parent / name) as picture:
        small = picture.convert("RGB").crop((0, 0, picture.width, int(part * picture.height)))
        small.thumbnail(THUMBNAIL_PIXELS)
        small.save(path, "JPEG", quality=80)


def _trace(task: Task) -> str:
    return _without_paths(task.case, traceback.format_exc())


def _told(task: Task, error: BaseException) -> str:
    return " ".join(_without_paths(task.case, str(error)).split())[:LONGEST_REASON]


def _without_paths(case: Case, text: str) -> str:
    """Take out where the input lies: such paths may name the patient."""
    for role, path in (("ct", case.ct), ("anatomy", case.anatomy), ("target", case.target)):
        for each in () if path is None else (path, path.resolve()):
            text = re.sub(re.escape(str(each)) + r"(?![\w-]|\.\w)", f"<{role}>", text)
    for number, (_, path) in enumerate(files_of(case), start=1):
        if len(path.name) > 2 and path.name in text:
            text = text.replace(path.name, f"<file {number}>")
    # Half of a letter, as some file systems hand out, is no text that can be written.
    return text.encode("utf-8", "replace").decode()


@contextmanager
def _watched() -> Iterator[Callable[[], int]]:
    """Note the most memory that this process holds while the block runs; yields what tells it."""
    process, stop = psutil.Process(), Event()
    most = [process.memory_info().rss]

    def look() -> None:
        while not stop.wait(LOOK_S):
            most[0] = max(most[0], process.memory_info().rss)

    watcher = Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield lambda: most[0]
    finally:
        stop.set()
        watcher.join()
