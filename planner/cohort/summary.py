"""The summary of a cohort: one HTML file that needs nothing else, made of its tables.

What it says first is what limits it: how many cases there were, how many of them could not be
planned and why, and what the shares are shares of.
"""

from __future__ import annotations

import base64
import math
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined

from planner.cohort import figures
from planner.cohort.association import associations
from planner.cohort.atlas import gather_atlas
from planner.cohort.outcomes import before_after, cement, leaks
from planner.cohort.root import locked, read_run
from planner.cohort.statistics import (
    JUDGED,
    SPREADS,
    Quartiles,
    Share,
    best_paths,
    feasibility_rows,
    flags_of,
    group_rows,
    patients_of,
    spread_rows,
)
from planner.cohort.tables import read_table
from planner.cohort.task import ATLAS_FILE, CASES, THUMBNAIL
from planner.cohort.truth import calibration
from planner.export.atomic import check_file, write_file
from planner.export.disclaimer import DISCLAIMER

FILE_NAME = "summary.html"
TITLE = "<title>Sacroplasty cohort</title>"
MOST_PICTURES = 200
"""Thumbnails in the file, flagged cases first: some 30 kB each."""
FEW = 30
"""Under so many patients a share is told with a warning: its interval spans 35 points and more."""
LISTED = 100
"""Failures listed one by one."""
METRICS = {
    "best_clearance_mm": "least clearance of the best path, mm",
    "best_breach_probability": "breach probability of the best path",
    "best_intraosseous_length_mm": "length in bone of the best path, mm",
    "l5_mean_hu": "density of L5, HU",
}
"""Plan metrics that are set against leaks and relief."""


def summarize(root: Path, output: Path | None = None) -> Path:
    """Write the summary of a cohort's folder; returns where.

    Raises ConfigurationError or OutputError where the folder holds no cohort, where a run is at
    work in it, or where the file cannot be written.
    """
    target = root / FILE_NAME if output is None else output
    read_run(root)
    check_file(target, overwrite=_is_ours(target))
    if target.parent.resolve() == root.resolve():
        with locked(root):
            write_file(target, partial(_write_text, summary_text(root)))
    else:  # the cohort may lie where nothing can be written
        write_file(target, partial(_write_text, summary_text(root)))
    return target


def _is_ours(path: Path) -> bool:
    """Tell whether a file may be replaced: nobody else's is."""
    try:
        with path.open(encoding="utf-8") as file:
            return TITLE in file.read(2000)
    except (OSError, ValueError):
        return False


def summary_text(root: Path) -> str:
    """Build the HTML of a summary."""
    told = read_run(root)
    cases = read_table(root, "cases")
    patients = patients_of(cases)
    feasibility = read_table(root, "feasibility")
    anatomy = read_table(root, "anatomy")
    paths = best_paths(read_table(root, "trajectories"), patients)
    rows = feasibility_rows(patients, feasibility)
    files = _atlas_files(root, patients)
    atlas, unread = gather_atlas(files)
    unread += int((patients["outcome"] == "planned").sum()) - len(files)
    values = {
        "disclaimer": DISCLAIMER,
        "facts": _facts(told, cases, patients),
        "warnings": _warnings(told, cases, patients, unread),
        "feasibility": rows,
        "feasibility_picture": figures.data_uri(figures.feasibility_figure(rows)) if rows else "",
        "spreads": spread_rows(paths),
        "spread_titles": SPREADS,
        "spread_picture": figures.data_uri(figures.spread_figure(paths)) if len(paths) else "",
        "groups": group_rows(patients, feasibility, anatomy),
        "atlas": atlas,
        "atlas_picture": figures.data_uri(figures.atlas_figure(atlas)) if atlas.patients else "",
        "accuracy": _accuracy(root),
        "outcomes": _outcomes(patients.merge(anatomy, on="case_id", how="left")),
        "failures": _failures(root, cases),
        **_sheet(root, cases),
    }
    folder = resources.files("planner.cohort")
    style = resources.files("planner.export.report").joinpath("style.css").read_text("utf-8")
    environment = Environment(undefined=StrictUndefined, autoescape=True)
    environment.filters |= {
        "share": _share,
        "quartiles": _quartiles,
        "words": lambda text: str(text).replace("_", " "),
        "figure": _figure,
        "estimate": _estimate,
    }
    page = environment.from_string(folder.joinpath("summary.html.j2").read_text("utf-8"))
    return page.render(style=style, **values)


def _facts(
    told: dict[str, Any], cases: pd.DataFrame, patients: pd.DataFrame
) -> list[tuple[str, str]]:
    configuration = told["configuration"]
    outcomes = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in told["outcomes"].items())
    return [
        ("Manifest", str(told["manifest"])),
        ("CTs", f"{len(cases)} in the tables, of {told['cases']} in the manifest"),
        ("Outcomes", outcomes),
        (
            "Patients",
            f"{len(patients)} (of several CTs of one the first that could be judged)",
        ),
        ("Needle", str(configuration.get("needle", ""))),
        ("Placement error", str(configuration.get("placement_error_preset", ""))),
        (
            "Program",
            f"planner {told['program']['planner']}, code {told['program']['code_sha256'][:12]}",
        ),
        ("Last run", str(told["runs"][-1]["ended"] or told["runs"][-1]["started"])),
    ]


def _warnings(
    told: dict[str, Any], cases: pd.DataFrame, patients: pd.DataFrame, unread: int
) -> list[str]:
    judged = int(patients["outcome"].isin(JUDGED).sum())
    out = []
    if len(cases) < told["cases"]:
        out.append(
            f"{told['cases'] - len(cases)} cases of the manifest are not done yet; this summary is "
            "of the others."
        )
    if judged < len(patients):
        out.append(
            f"{len(patients) - judged} of {len(patients)} patients are left out of every share "
            "below, because their CT could not be used or its anatomy was not trusted. If those "
            "are the hard cases, the shares are too good."
        )
    if judged < FEW:
        out.append(f"{judged} patients only: shares are uncertain, as their intervals say.")
    if (cases["subject"].str.startswith("phantom-")).all() and len(cases):
        out.append(
            "These are phantoms, not patients. They are made of the same formulas as the template "
            "of the segmentation, which flatters it."
        )
    if unread:
        out.append(
            f"The atlas lacks {unread} planned patients: their map could not be read, or too few "
            "foramina were found to place it."
        )
    nowhere = int((patients["outcome"] == "no_trajectory").sum())
    if nowhere:
        out.append(
            f"{nowhere} patients without any path count as not feasible, but are in neither the "
            "atlas nor the distributions, and as not known in groups by anatomy."
        )
    return out


def _atlas_files(root: Path, patients: pd.DataFrame) -> list[Path]:
    planned = patients.loc[patients["outcome"] == "planned", "case_id"]
    paths = (root / CASES / str(name) / ATLAS_FILE for name in sorted(planned))
    return [path for path in paths if path.is_file()]


def _accuracy(root: Path) -> dict[str, Any] | None:
    """How right the plans of a virtual cohort were; None of a real one."""
    foramina, paths = read_table(root, "true_foramina"), read_table(root, "true_trajectories")
    if not len(foramina):
        return None
    levels = []
    for level, part in foramina.groupby("level"):
        errors = part["centre_error_mm"].dropna().to_numpy(float)
        q = pd.Series(errors).quantile([0.5, 0.95, 1.0]).tolist() if len(errors) else [math.nan] * 3
        share = Share(int(part["found"].sum()), len(part))
        levels.append((level, share, int(part["swapped"].sum()), *q))
    claims = []
    for name in ("foramina", "canal", "walls"):
        over = paths[f"over_claim_{name}_mm"].dropna()
        q = over.quantile([0.5, 0.95, 1.0]).tolist() if len(over) else [math.nan] * 3
        claims.append((name, len(over), *q))
    paths = paths.dropna(subset=["predicted_breach", "true_breach"])
    if not len(paths):
        return {"levels": levels, "claims": [], "calibration": None, "picture": ""}
    found = calibration(
        paths["predicted_breach"].to_numpy(float),
        paths["true_breach"].to_numpy(float),
        paths["case_id"].to_numpy(str),
    )
    points = [
        (each.predicted, each.observed, each.interval)
        for each in found.bins
        if each.predicted is not None and each.observed is not None
    ]
    picture = figures.data_uri(figures.calibration_figure(points))
    bins = [*found.bins, found.overall]
    return {
        "levels": levels,
        "claims": claims,
        "calibration": found,
        "bins": bins,
        "picture": picture,
    }


def _outcomes(patients: pd.DataFrame) -> dict[str, Any] | None:
    """What treatment did, where the manifest says; None where it says nothing."""
    plain = patients.astype(
        {
            name: float
            for name in patients
            if pd.api.types.is_numeric_dtype(patients[name])
            and not pd.api.types.is_bool_dtype(patients[name])
        }
    )
    pairs, sites, volumes = before_after(plain), leaks(plain), cement(plain)
    if not (pairs or sites or volumes):
        return None
    metrics = [name for name in METRICS if name in plain and plain[name].notna().any()]
    return {
        "pairs": pairs,
        "leaks": sites,
        "cement": volumes,
        "associations": associations(plain, metrics) if pairs or sites else None,
        "names": METRICS | {"cement_ml": "cement, ml"},
    }


def _failures(root: Path, cases: pd.DataFrame) -> list[tuple[str, int, list[dict[str, str]]]]:
    """Cases without a plan by cause, each with its reason and a picture if there is one."""
    out = []
    failed = cases[cases["outcome"] != "planned"].sort_values("case_id")
    for outcome, part in failed.groupby("outcome"):
        listed = [
            {
                "id": str(row["case_id"]),
                "reason": str(row["reason"]),
                "picture": _thumbnail(root, str(row["case_id"])),
            }
            for row in part.head(LISTED).to_dict("records")
        ]
        out.append((str(outcome), len(part), listed))
    return out


def _sheet(root: Path, cases: pd.DataFrame) -> dict[str, Any]:
    """The contact sheet: planned cases, those with most flags first."""
    flags = flags_of(cases, read_table(root, "findings"))
    planned = cases.loc[cases["outcome"] == "planned", "case_id"].tolist()
    order = sorted(planned, key=lambda name: (-len(flags[name]), name))
    sheet = [
        {"id": name, "flags": ", ".join(flags[name]), "picture": _thumbnail(root, name)}
        for name in order[:MOST_PICTURES]
    ]
    return {"sheet": sheet, "unshown": max(0, len(order) - MOST_PICTURES)}


def _thumbnail(root: Path, name: str) -> str:
    try:
        data = (root / CASES / name / THUMBNAIL).read_bytes()
    except OSError:
        return ""
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def _share(share: Share) -> str:
    if not share.of:
        return "–"
    low, high = share.interval
    # 199 of 200 are not all of them, and 1 of 300 is not none.
    digits = 1 if 0 < share.count < share.of and not 1 <= share.percent <= 99 else 0
    return f"{share.percent:.{digits}f} % ({low:.0f}–{high:.0f})"


def _quartiles(found: Quartiles, digits: int = 1) -> str:
    if not found.n:
        return "–"
    return f"{found.median:.{digits}f} [{found.low:.{digits}f}–{found.high:.{digits}f}]"


def _figure(value: float | None, digits: int = 2) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def _estimate(found: Any, digits: int = 2) -> str:
    if found is None:
        return "–"
    return f"{found.value:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})"


def _write_text(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")
