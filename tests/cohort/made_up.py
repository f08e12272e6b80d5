"""Records of made-up cases, without any planning: every value in the range that it has to be in."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from planner.cohort.atlas import X_MM, Z_MM, AtlasMap
from planner.cohort.cases import Case
from planner.cohort.content import result_key, signature
from planner.cohort.dictionary import SIDES, TABLES, TECHNIQUES, Column
from planner.cohort.records import keep_record
from planner.cohort.root import LOCK_FILE
from planner.cohort.running import RunReport, run
from planner.cohort.statistics import patients_of
from planner.cohort.task import ATLAS_FILE, CASES, THUMBNAIL, Record
from planner.model.configuration import Configuration

Rooms = dict[tuple[str, str], float | None]
NAN = float("nan")
TIMINGS = {"seconds": 12.5, "peak_memory_mb": 900.0, "input_mb": 1.25, "read_s": 0.125}


def a_case(subject: str, session: str = "", **known: Any) -> Case:
    """A case whose CT is no CT; known: covariates, and outcomes in `outcomes`."""
    outcomes = known.pop("outcomes", {})
    return Case(subject, Path(__file__), session, covariates=known, outcomes=outcomes)


def a_value(column: Column, number: int) -> Any:
    """A value that the dictionary allows, which `number` decides."""
    if column.allowed:
        return column.allowed[number % len(column.allowed)]
    if column.kind == "text":
        return f"{column.name} {number}"
    if column.kind == "yes_no":
        return number % 2 == 0
    low = 0.0 if column.low is None else max(column.low, 0.0)
    high = 100.0 if column.high is None else column.high
    if column.kind == "whole":
        return int(low) + number % 7
    return low + (high - low) * ((number * 37 + len(column.name)) % 101) / 101.0


def a_row(table: str, number: int, **values: Any) -> dict[str, Any]:
    """A row of a table without the name of its case."""
    row = {column.name: a_value(column, number) for column in TABLES[table]}
    del row["case_id"]
    return row | values


def a_plan(name: str, number: int = 1, warned: tuple[str, ...] = (), **values: Any) -> Record:
    """The record of a planned case with rows in every table that a real case has."""
    pairs = [(technique, side) for technique in TECHNIQUES for side in SIDES]
    best = {
        "confidence": 0.97,
        "trajectories": len(pairs),
        "best_breach_probability": 0.01 * (number % 50),
    }
    rows = {
        "trajectories": [
            a_row("trajectories", number + k, rank=k, id=f"{t}-{s}-1", technique=t, side=s)
            for k, (t, s) in enumerate(pairs, 1)
        ],
        "feasibility": [
            {"technique": t, "side": s, "paths": 9, "best_clearance_mm": 1.0 + (number + k) % 6}
            for k, (t, s) in enumerate(pairs)
        ],
        "foramina": [
            a_row("foramina", number, level=level, side=side)
            for level in ("S1", "S2")
            for side in SIDES
        ],
        "anatomy": [a_row("anatomy", number)],
        "findings": [
            {"name": each, "weight": "warning", "message": f"{each} is there."} for each in warned
        ],
    }
    return Record(name, 0, "", values=best | values, rows=rows, timings=TIMINGS)


def a_failure(name: str, status: int, reason: str) -> Record:
    """The record of a case without a plan; without any path (5) it has rows of feasibility."""
    nothing = [
        {"technique": t, "side": s, "paths": 0, "best_clearance_mm": None}
        for t in TECHNIQUES
        for s in SIDES
    ]
    rows = {"feasibility": nothing} if status == 5 else {}
    return Record(name, status, reason, rows=rows, timings={"seconds": 1.0})


def a_cohort(root: Path, pairs: list[tuple[Case, Record]], manifest: str = "m.csv") -> RunReport:
    """Lay down the records as done, and have the program make the tables and run.json of them."""
    for case, record in pairs:
        done = Record(
            case.id,
            record.status,
            record.reason,
            result_key("ab" * 32, Configuration()),
            "ab" * 32,
            signature(case),
            record.values,
            record.rows,
            record.timings,
        )
        assert keep_record(root / CASES / case.id, done).kept
        if record.status == 0:
            (root / CASES / case.id / "plan.json").write_text("{}")
    (root / LOCK_FILE).touch()
    report = run([case for case, _ in pairs], root, manifest=manifest)
    assert report.computed == 0, "a made-up case must not be planned"
    return report


def a_picture(root: Path, name: str, grey: int = 90) -> bytes:
    """Lay down a thumbnail; returns its bytes."""
    path = root / CASES / name / THUMBNAIL
    Image.new("RGB", (40, 30), (grey, grey, grey)).save(path, "JPEG")
    return path.read_bytes()


def a_map(root: Path, name: str, clearance_mm: float = 4.0) -> None:
    """Lay down a map for the atlas: bone near the midplane, room on one strip of it."""
    x, _ = np.meshgrid(X_MM, Z_MM, indexing="ij")
    covered = np.abs(x) < 30
    values = np.where((x > 10) & covered, clearance_mm, np.nan).astype(np.float32)
    AtlasMap(covered, values).save(root / CASES / name / ATLAS_FILE)


@dataclass
class Made:
    """A made-up case; rooms: best clearance by technique and side, None without a path."""

    id: str
    subject: str = ""
    outcome: str = "planned"
    rooms: Rooms = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    anatomy: dict[str, Any] | None = None


ANATOMY = {
    "largest_score_deg": NAN,
    "l5_mean_hu": NAN,
    "fracture_left": False,
    "fracture_right": False,
}


def frames(made: list[Made]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Patients, feasibility and anatomy as they are read from Parquet."""
    names = sorted({name for case in made for name in case.values})
    rows = []
    for case in made:
        subject = case.subject or case.id
        session = case.id.removeprefix(subject).lstrip("_")
        row = {"case_id": case.id, "subject": subject, "session": session, "outcome": case.outcome}
        row |= {"best_breach_probability": NAN} | {name: case.values.get(name) for name in names}
        rows.append(row)
    rooms = [
        {"case_id": case.id, "technique": t, "side": s, "best_clearance_mm": room}
        for case in made
        for (t, s), room in case.rooms.items()
    ]
    columns = ["case_id", "technique", "side", "best_clearance_mm"]
    feasibility = pd.DataFrame(rooms, columns=columns).astype({"best_clearance_mm": float})
    bones = [{"case_id": c.id, **ANATOMY, **c.anatomy} for c in made if c.anatomy is not None]
    anatomy = pd.DataFrame(bones, columns=["case_id", *ANATOMY])
    return patients_of(pd.DataFrame(rows)), feasibility, anatomy


def made_cohort(seed: int, techniques: tuple[str, ...], sides: tuple[str, ...]) -> list[Made]:
    """A cohort with every way to have no room, and several sessions; in no order."""
    rng = random.Random(seed)
    made = []
    for number in range(rng.randint(1, 25)):
        for session in range(rng.choice((1, 1, 1, 3))):
            outcome = rng.choice(
                ("planned",) * 5 + ("no_trajectory", "untrusted_anatomy", "unsuitable_ct", "killed")
            )
            choices = (None, 1.0, 2.0, 2.5, 3.0, 4.99, 5.0, 9.0)
            some = outcome not in ("no_trajectory", "unsuitable_ct", "killed")
            # What an untrusted case says of room, if it says anything, must not count.
            rooms: Rooms = {
                (t, s): rng.choice(choices) if some else None for t in techniques for s in sides
            }
            if outcome in ("unsuitable_ct", "killed"):
                rooms = {}
            made.append(Made(f"p{number:02d}_{session}", f"p{number:02d}", outcome, rooms))
    rng.shuffle(made)
    return made


def both(left: float | None, right: float | None, technique: str = "short_axis") -> Rooms:
    """Room of one technique on each side."""
    return {(technique, "left"): left, (technique, "right"): right}
