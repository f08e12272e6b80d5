"""Which CTs make up a cohort: from a table or a folder tree to cases, and back to a table.

A table is a .csv (UTF-8; commas or semicolons, where semicolons make a comma the decimal sign, as
spreadsheets do) or a .parquet file. `subject` and `ct` are required, the rest of KEYS is optional,
columns of OUTCOMES are outcomes, every other one is a covariate; letter case matters only in names
of covariates. Relative paths start at the table's folder. An empty cell is not known, nor is NA,
N/A or NaN in a covariate or an outcome. A covariate is a number where all its known values are.

A tree holds one folder (or volume file, or .zip) per subject, or BIDS' sub-XX with ses-YY. The CT
is the folder `ct`, else what lies there; `anatomy.seg.nrrd` and a target beside it are taken, and
participants.tsv brings further columns. A link that leaves the tree is a defect: to follow it could
plan on something else, to pass it over would lose a subject unsaid.

All defects are told at once, by row, and of the cells only numbers: others may name a patient.
Nothing is opened: a CT that does not exist is its case's own failure, later.
"""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from planner.cohort.cases import SAFE_NAME, Case, Value
from planner.errors import ConfigurationError, OutputError
from planner.export.atomic import write_file
from planner.export.cells import as_meant, inert
from planner.reading.source import image_kind

PATHS = ("ct", "anatomy", "target")
KEYS = ("subject", "session", "ct", "series", "anatomy", "target")
ID = "participant_id"
# Mobility and analgesics as graded by Oka and Westesson, ASSR 2003.
_MOBILITY = "Functional Mobility Scale, 1 walks, 2 walks with help, 3 wheelchair, 4 bedridden"
_ANALGESIC = "0 none, 1 NSAID, 2 oral narcotics as needed, 3 scheduled, 4 parenteral"
_LEAK = "number of leaks, or 1 yes and 0 no"
OUTCOMES: dict[str, str] = {
    "vas_before": "pain before treatment, Visual Analogue Scale, 0 none to 10 worst",
    "vas_after": "pain after treatment, Visual Analogue Scale, 0 none to 10 worst",
    "fms_before": f"mobility before treatment, {_MOBILITY}",
    "fms_after": f"mobility after treatment, {_MOBILITY}",
    "analgesic_before": f"analgesics before treatment, Analgesic Scale, {_ANALGESIC}",
    "analgesic_after": f"analgesics after treatment, Analgesic Scale, {_ANALGESIC}",
    "pain_level_before": "pain before treatment, 1 none, 2 mild, 3 moderate, 4 severe",
    "pain_level_after": "pain after treatment, 1 none, 2 mild, 3 moderate, 4 severe",
    "cement_ml": "cement injected in total, ml",
    "cement_left_ml": "cement injected on the patient's left, ml",
    "cement_right_ml": "cement injected on the patient's right, ml",
    "leak_foramen": f"cement in a sacral foramen, {_LEAK}",
    "leak_canal": f"cement in the sacral canal, {_LEAK}",
    "leak_vein": f"cement in a vein, {_LEAK}",
    "leak_disc": f"cement in the L5-S1 disc, {_LEAK}",
    "leak_joint": f"cement in a sacroiliac joint, {_LEAK}",
    "leak_soft_tissue": f"cement in soft tissue, {_LEAK}",
}
"""Columns of outcomes: what each holds, with its unit or its steps."""
# By a name's first word. 100 ml of cement and 20 leaks are far more than any report of sacroplasty
# has: beyond them a column holds something else.
RANGES = {"vas": (0, 10), "fms": (1, 4), "analgesic": (0, 4), "pain": (1, 4)}
RANGES |= {"cement": (0, 100), "leak": (0, 20)}
FRACTIONS = ("vas", "cement")
# Volumes are read off a syringe to a tenth of a ml: rounded parts may exceed their rounded total.
CEMENT_TOLERANCE_ML = 0.15

MOST_TOLD = 10
UNKNOWN = frozenset({"", "na", "n/a", "nan"})
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
COMMA_NUMBER = re.compile(r"^\s*([+-]?\d+),(\d+)\s*$")
SERVER = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]+://")
# In a tree: what is no subject, what lies beside a CT (the last of two targets counts), and what
# may lie beside a volume file and is none.
SKIPPED = frozenset({"derivatives", "code", "sourcedata"})
ASIDE = {"anatomy.seg.nrrd": "anatomy", "target.nii.gz": "target", "target.seg.nrrd": "target"}
SIDECARS = (".json", ".tsv", ".csv", ".txt", ".md", ".raw", ".zraw", ".seg.nrrd")

Rows = list[tuple[str, dict[str, str]]]
"""Where each row stands, such as "row 2", and its cells by column."""


def read_manifest(path: Path) -> tuple[Case, ...]:
    """Read the cases of a table or of a folder tree, sorted by id; their paths are absolute.

    Raises ConfigurationError with every defect, up to MOST_TOLD of them in words.
    """
    defects: list[str] = []
    here = path.absolute()
    try:
        columns, rows = _read_tree(here, defects) if path.is_dir() else read_table(path, defects)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be listed: {error.strerror or error}.") from error
    cases = _cases(columns, rows, here if path.is_dir() else here.parent, defects)
    if defects:
        more = f"; and {len(defects) - MOST_TOLD} more" if len(defects) > MOST_TOLD else ""
        raise ConfigurationError(
            f"the manifest {path} has {len(defects)} defect{'s' if len(defects) > 1 else ''}: "
            f"{'; '.join(defects[:MOST_TOLD])}{more}. Correct it and start again."
        )
    return tuple(sorted(cases, key=lambda case: case.id))


def write_manifest(cases: Iterable[Case], path: Path) -> None:
    """Write cases as .csv, with paths relative to its folder where they lie below it.

    `read_manifest` gives equal cases again where their paths are absolute and their values such as
    it gives. Raises ConfigurationError for another suffix, OutputError where it cannot be written;
    what stood there before is then unchanged.
    """
    if path.suffix.lower() != ".csv":
        raise ConfigurationError(f"a manifest is written as .csv; {path} is named otherwise.")
    write_file(path, lambda part: _write_csv(part, list(cases), path.absolute().parent))


def read_table(path: Path, defects: list[str]) -> tuple[list[str], Rows]:
    """Read a .csv, .tsv or .parquet file as texts: its columns, and its rows that are not empty.

    defects: what is wrong with the names of columns is added. Raises ConfigurationError for what
    is no such file.
    """
    suffix = path.suffix.lower()
    if not path.is_file() or suffix not in (".csv", ".tsv", ".parquet"):
        what = "is neither .csv nor .parquet" if path.is_file() else "does not exist"
        raise ConfigurationError(
            f"the table {path} {what}; a .csv or .parquet file, or a folder, is expected."
        )
    try:
        lines = _parquet(path) if suffix == ".parquet" else _lines(path, suffix)
    except UnicodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8; save it as CSV in UTF-8.") from error
    except Exception as error:  # pandas and Arrow raise a dozen types, and may quote what they read
        where = re.search(r"in line (\d+), saw", str(error))
        at = f" (row {where.group(1)} has more cells than the first row)" if where else ""
        raise ConfigurationError(
            f"{path} cannot be read as {suffix}{at}: {type(error).__name__}. Check that it is "
            "complete and that you may read it."
        ) from error
    lines = [[as_meant(cell) for cell in line] for line in lines]
    names = [known_name(name) for name in lines[0]]
    kept = _columns(names, lines[1:], defects)
    rows = [
        (f"row {number}", {names[k]: cells[k] for k in kept})
        for number, cells in enumerate(lines[1:], 2)
        if any(cell.strip() for cell in cells)
    ]
    return [names[k] for k in kept], rows


def known_name(name: str) -> str:
    """Return a column's name without blanks around it; known ones in lower case."""
    name = name.strip()
    return name.casefold() if name.casefold() in {*KEYS, *OUTCOMES, ID} else name


def _lines(path: Path, suffix: str) -> list[list[str]]:
    with path.open(encoding="utf-8-sig") as stream:
        first = stream.readline()
    semicolons = first.count(";") > first.count(",")
    frame = pd.read_csv(
        path,
        sep="\t" if suffix == ".tsv" else ";" if semicolons else ",",
        header=None,  # the names are a line as well: pandas would rename doubled ones
        dtype=str,
        na_filter=False,
        skip_blank_lines=False,  # so that rows count as in the file
        skipinitialspace=True,
        quoting=csv.QUOTE_NONE if suffix == ".tsv" else csv.QUOTE_MINIMAL,
        encoding="utf-8-sig",
    )
    lines = [[_text(each) for each in line] for line in frame.itertuples(index=False, name=None)]
    if suffix == ".csv" and semicolons:
        lines = [[COMMA_NUMBER.sub(r"\1.\2", cell) for cell in line] for line in lines]
    return lines


def _parquet(path: Path) -> list[list[str]]:
    # Nullable types: otherwise one unknown makes a column of whole numbers one of fractions.
    frame = pd.read_parquet(path, dtype_backend="numpy_nullable")
    rows = frame.itertuples(index=False, name=None)
    return [[str(name) for name in frame.columns], *([_text(each) for each in row] for row in rows)]


def _text(value: Any) -> str:
    if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)):
        return ""
    whole = isinstance(value, Real | np.bool_) and value == value // 1
    return str(int(value)) if whole else str(value)  # which gives a fraction in its own precision


def _columns(names: Sequence[str], lines: list[list[str]], defects: list[str]) -> list[int]:
    """Return the columns that count, and add what is wrong with their names."""
    kept = []
    for k, name in enumerate(names):
        if name.casefold() in (each.casefold() for each in names[:k] if each):
            defects.append(f"column {k + 1} has the name of one before it (letter case aside)")
        elif name:
            kept.append(k)
        elif any(cells[k].strip() for cells in lines):  # else separators at the ends of lines
            defects.append(f"column {k + 1} has no name")
    return kept


def _cases(columns: list[str], rows: Rows, folder: Path, defects: list[str]) -> list[Case]:
    missing = [name for name in ("subject", "ct") if name not in columns]
    defects += [f"the column {name} is missing" for name in missing]
    if missing:
        return []
    if not rows and not defects:
        defects.append("it names no case")
    named = [name for name in columns if name not in KEYS and name not in OUTCOMES]
    texts = {name: [cells[name] for _, cells in rows if _known(cells[name])] for name in named}
    numeric = {name for name in named if not any(math.isnan(_number(t)) for t in texts[name])}
    cases, ids = [], dict[str, str]()
    for where, cells in rows:
        faults = _faults(cells)
        known = {name: cells[name].strip() for name in named if _known(cells[name])}
        covariates: dict[str, Value] = dict(known)
        covariates |= {name: _number(known[name]) for name in numeric & known.keys()}
        outcomes = _outcomes(cells, faults)
        case = Case(**_names_and_paths(cells, folder), covariates=covariates, outcomes=outcomes)
        first = ids.setdefault(case.id.casefold(), where)
        if case.subject and first != where:
            faults.append(f"the same case as {first}, but perhaps for letter case")
        defects += [f"{where}: {fault}" for fault in faults]
        cases.append(case)
    return cases


def _names_and_paths(cells: Mapping[str, str], folder: Path) -> dict[str, Any]:
    """Build the fields of a case; blanks at the end of a path belong to it."""
    texts = {name: cells.get(name, "") for name in KEYS}
    paths = {name: folder / texts[name] if texts[name].strip() else None for name in PATHS}
    return {name: text.strip() for name, text in texts.items()} | paths


def _faults(cells: Mapping[str, str]) -> list[str]:
    """Name what is wrong with the names and paths of a row."""
    faults = [f"{name} is empty" for name in ("subject", "ct") if not cells[name].strip()]
    for name in ("subject", "session"):
        text = cells.get(name, "").strip()
        if text and not SAFE_NAME.fullmatch(text):
            faults.append(
                f"the {name} is no name for files: at most 64 letters, digits, dots, hyphens and "
                "underscores, the first a letter or a digit"
            )
    faults += [
        f"{name} lies on a server; fetch it first, such as with `planner pacs fetch`, and name the "
        "folder that it is in then"
        for name in PATHS
        if SERVER.match(cells.get(name, ""))
    ]
    return faults


def _known(text: str) -> bool:
    return text.strip().casefold() not in UNKNOWN


def _number(text: str) -> float:
    """Read a number; NaN for what is none."""
    value = float(text) if NUMBER.fullmatch(text.strip()) else math.nan
    return value if math.isfinite(value) else math.nan


def _outcomes(cells: Mapping[str, str], faults: list[str]) -> dict[str, Value]:
    out: dict[str, float] = {}
    for name in OUTCOMES:
        if not _known(cells.get(name, "")):
            continue
        kind = name.split("_")[0]
        low, high = RANGES[kind]
        expected = f"a {'' if kind in FRACTIONS else 'whole '}number from {low} to {high}"
        value = _number(cells[name])
        if math.isnan(value):
            faults.append(f"{name} is no number; {expected} is expected")
        elif not low <= value <= high or (value % 1 and kind not in FRACTIONS):
            faults.append(f"{name} is {value:g}; {expected} is expected")
        else:
            out[name] = value
    sides = out.get("cement_left_ml", 0.0) + out.get("cement_right_ml", 0.0)
    if sides > out.get("cement_ml", math.inf) + CEMENT_TOLERANCE_ML:
        faults.append(
            f"left and right make {sides:g} ml of cement, cement_ml is {out['cement_ml']:g}"
        )
    return dict(out)


def _read_tree(root: Path, defects: list[str]) -> tuple[list[str], Rows]:
    """List the cases of a tree as if it were a table."""
    columns, participants = _participants(root / "participants.tsv", defects)
    rows: Rows = []
    for number, (subject, session, place) in enumerate(_places(root), 1):
        where = f"CT {number} of the tree, by name"
        found = _beside(place) if _within(place, root) and place.is_dir() else {"ct": place}
        if not all(_within(path, root) for path in found.values()):
            defects.append(f"{where}: a link leaves the tree; put what it points to in its place")
            continue
        cells = {"subject": subject, "session": session} | dict.fromkeys(columns, "")
        paths = {name: str(path) for name, path in found.items()}
        rows.append((where, cells | participants.get(subject, {}) | paths))
    return [*KEYS, *columns], rows


def _participants(path: Path, defects: list[str]) -> tuple[list[str], dict[str, dict[str, str]]]:
    """Read what a tree says of its subjects, by subject."""
    out: dict[str, dict[str, str]] = {}
    if not path.is_file():
        return [], out
    faults: list[str] = []
    columns, rows = read_table(path, faults)
    faults += [f"the column {name} is the tree's own" for name in columns if name in KEYS]
    faults += [] if ID in columns else [f"the column {ID} is missing"]
    for where, cells in rows:
        name = cells.pop(ID, "").strip()
        if name in out:
            faults.append(f"{where}: a participant who was named before")
        out[name] = cells
    defects += [f"participants.tsv: {fault}" for fault in faults]
    return [name for name in columns if name != ID and name not in KEYS], out


def _places(root: Path) -> Iterator[tuple[str, str, Path]]:
    """Yield subject, session and where each CT lies, in the order of names."""
    entries = [path for path in _visible(root) if path.name not in SKIPPED]
    bids = [path for path in entries if path.name.startswith("sub-") and path.is_dir()]
    for entry in bids or entries:
        inner = _visible(entry) if bids and _within(entry, root) else []
        sessions = [path for path in inner if path.name.startswith("ses-")]
        with_ct = [path for path in sessions if os.path.lexists(path / "ct")]
        yield from ((entry.name, path.name, path) for path in with_ct)
        own = os.path.lexists(entry / "ct")
        if entry.is_dir() and (own or not sessions):
            yield entry.name, "", entry
        elif sessions and not with_ct:
            yield entry.name, "", entry / "ct"  # not there, but no subject is passed over
        elif _is_volume(entry):
            yield entry.name.removesuffix(".gz").rpartition(".")[0], "", entry


def _beside(place: Path) -> dict[str, Path]:
    """Find the CT of a folder, and the anatomy and the target that lie beside it."""
    files = {path.name: path for path in _visible(place)}
    out = {key: files.pop(name) for name, key in ASIDE.items() if name in files}
    if "ct" in files:
        return out | {"ct": files["ct"]}
    rest = [path for path in files.values() if not path.name.lower().endswith(SIDECARS)]
    # The one thing that is there, so that what lies beside it is not taken for a part of the CT.
    return out | {"ct": rest[0] if len(rest) == 1 else place}


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _within(path: Path, root: Path) -> bool:
    try:
        return path.resolve().is_relative_to(root.resolve())
    except RuntimeError:  # links in a circle
        return False


def _is_volume(path: Path) -> bool:
    name = path.name.lower()
    named = name.endswith(".zip") or (image_kind(path) and not name.endswith(".seg.nrrd"))
    return bool(named) and not path.is_dir()


def _write_csv(path: Path, cases: Sequence[Case], folder: Path) -> None:
    covariates = list(dict.fromkeys(name for case in cases for name in case.covariates))
    if any(known_name(name) in {*KEYS, *OUTCOMES, ""} for name in covariates):
        raise ValueError("a covariate has the name of another column of a manifest, or none")
    outcomes = [name for name in OUTCOMES if any(name in case.outcomes for case in cases)]
    lines = [[*KEYS, *covariates, *outcomes]]
    for case in cases:
        cells = [key_text(getattr(case, name), folder) for name in KEYS]
        cells += [_text(case.covariates.get(name)) for name in covariates]
        lines.append(cells + [_text(case.outcomes.get(name)) for name in outcomes])
    lines = [[inert(cell) for cell in line] for line in lines]
    try:
        with path.open("w", encoding="utf-8", newline="") as stream:
            # In quotes, as a blank at the start of a path would be lost otherwise.
            csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(lines)
    except UnicodeEncodeError as error:
        raise OutputError(
            "the manifest was not written: the name of a CT's file or folder is no valid Unicode. "
            "Rename it."
        ) from error


def key_text(value: str | Path | None, folder: Path) -> str:
    """Write a field of a case as a cell; paths below the folder, which is absolute, start there."""
    if value is None or isinstance(value, str):
        return value or ""
    whole = value.absolute()
    return whole.relative_to(folder).as_posix() if whole.is_relative_to(folder) else str(whole)
