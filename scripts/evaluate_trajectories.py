"""Measure the proposed paths on ten real sacra: what bone allows, and what the plan claims.

    python scripts/evaluate_trajectories.py                   all ten people
    python scripts/evaluate_trajectories.py z001 --json F     some, with every path written down
    python scripts/evaluate_trajectories.py --cache DIR       keep the simulated CTs

Every person is planned twice on a simulated CT. `labels`: with labels made from the true surfaces,
as a user's own would be; compared with the medians of an exhaustive search over the same bones.
`found`: with the built-in segmentation; every path is then measured against the true mesh. True
clearance is the least distance from the needle's surface to the mesh, wherever the nearest place of
the mesh is not the crossed posterior cortex. Needs `../shared/real_bones` beside the repository.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import vtk
from anatomy_draws import BONES, ROOT, Draw, simulate
from rich.console import Console
from rich.table import Table
from scipy.spatial import cKDTree

import planner
from planner.anatomy.fields import GUARDED
from planner.geometry.distance import to_polydata
from planner.geometry.grid import Float
from planner.model.anatomy import REGIONS, Anatomy, Region
from planner.model.configuration import Configuration
from planner.model.trajectory import ScoredTrajectory
from planner.model.volume import Volume
from planner.pipeline import find_bones, trusted_anatomy

STEP_MM = 0.5
SEARCHED_MM = {"short_axis S1": 6.9, "short_axis S2": 6.4, "long_axis": 5.3, "s2_entry": 4.1}
SEARCHED_MM["s2_s3_entry"] = 5.4
"""Median clearance of the exhaustive search, 11G, twenty sides."""
EXEMPT = (Region.POSTERIOR, Region.INFERIOR)


class TrueBone:
    """The true surface of a sacrum, its parts told apart by an anatomy from true labels."""

    def __init__(self, vertices: Float, faces: Any, anatomy: Anatomy) -> None:
        self._distance = vtk.vtkImplicitPolyDataDistance()
        self._distance.SetInput(to_polydata(vertices, faces))
        surface = anatomy.surface
        self._tree = cKDTree(surface.vertices[surface.faces].mean(axis=1))
        self._regions = surface.regions

    def clearance(self, item: ScoredTrajectory) -> float:
        """Least distance, mm, from the needle's surface; negative outside the bone."""
        path = item.trajectory
        count = max(2, int(path.intraosseous_length_mm / STEP_MM))
        least = np.inf
        for part in np.linspace(0.0, 1.0, count):
            nearest = [0.0, 0.0, 0.0]
            point = path.bone_entry + part * (path.tip - path.bone_entry)
            distance = -self._distance.EvaluateFunctionAndGetClosestPoint(point, nearest)
            if REGIONS[self._regions[self._tree.query(nearest)[1]]] not in EXEMPT:
                least = min(least, distance - path.needle.radius_mm)
        return float(least)


def plan_on(
    anatomy: Anatomy, volume: Volume, configuration: Configuration
) -> tuple[tuple[ScoredTrajectory, ...], dict[str, int], float]:
    """Propose, score and rank; with the tally of refusals, and the seconds of the search."""
    start = time.perf_counter()
    proposed = planner.propose(anatomy, volume, configuration)
    seconds = time.perf_counter() - start
    scored = planner.score(proposed, anatomy, volume, configuration)
    return planner.rank(scored, configuration), scored.rejections, seconds


def rows_of(
    ranked: tuple[ScoredTrajectory, ...], bone: TrueBone, subject: str, mode: str
) -> list[dict[str, Any]]:
    """One row per path."""
    rows = []
    for item in ranked:
        path = item.trajectory
        short = path.technique.value == "short_axis"
        rows.append(
            {
                "subject": subject,
                "mode": mode,
                "rank": item.rank,
                "side": path.side,
                "technique": path.technique.value + (f" {path.level}" if short else ""),
                "claimed_mm": min(item.clearances[s].distance_mm for s in GUARDED),
                "true_mm": bone.clearance(item),
                "breach": item.breach_probability["any"],
                "bone_mm": path.intraosseous_length_mm,
                "skin_mm": path.skin_to_tip_mm,
                "inclination_deg": item.measures["inclination_deg"],
                "incidence_deg": item.measures["incidence_deg"],
                "axial_tilt_deg": item.measures["axial_tilt_deg"],
                "slip_mm": item.measures["safe_entry_radius_mm"],
            }
        )
    return rows


def evaluate(subject: str, folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Plan on one person both ways; the rows, and what was not feasible."""
    sys.path.insert(0, str(ROOT / "tests"))
    from support.real_bones import true_labels

    volume = planner.load(folder / "dicom")
    configuration = Configuration()
    labels, grid, truth = true_labels(subject, 0.8)
    true = planner.derive_anatomy(labels, grid, source="provided")
    bone = TrueBone(truth.vertices, truth.faces, true)
    rows: list[dict[str, Any]] = []
    remarks = []
    for mode in ("labels", "found"):
        try:
            anatomy = true
            if mode == "found":
                anatomy = trusted_anatomy(find_bones(volume), volume, configuration)
            ranked, rejections, seconds = plan_on(anatomy, volume, configuration)
        except planner.PlannerError as error:
            remarks.append(f"{subject} {mode}: {error}")
            continue
        found = rows_of(ranked, bone, subject, mode)
        rows += found
        refused = {name: count for name, count in rejections.items() if count}
        remarks.append(f"{subject} {mode}: search {seconds:.1f} s, refused {refused or 'none'}")
        for side in ("left", "right"):
            there = {row["technique"] for row in found if row["side"] == side}
            remarks += [
                f"{subject} {mode} {side}: no {name}: "
                + why_not(name, side, anatomy, volume, configuration)
                for name in SEARCHED_MM
                if name not in there
            ]
    return rows, remarks


def why_not(
    name: str, side: str, anatomy: Anatomy, volume: Volume, configuration: Configuration
) -> str:
    """Say which limits refuse the nearest misses of a technique on one side."""
    technique, _, level = name.partition(" ")
    proposed = planner.propose(anatomy, volume, configuration)
    near = tuple(
        path
        for path in proposed
        if path.technique.value == technique
        and path.side == side
        and (not level or path.level == level)
    )
    if not near:
        return "no line fits the technique's window"
    refused = planner.score(near, anatomy, volume, configuration).rejections
    reasons = ", ".join(f"{limit} {count}" for limit, count in refused.items() if count)
    return f"nearest misses refused by {reasons}" if reasons else "others of its kind rank higher"


def people(rows: list[dict[str, Any]], console: Console) -> None:
    """Print the best-ranked path of every person, side and technique, built-in segmentation."""
    head = "claimed (true) clearance mm, breach %, bone / skin mm, inclination"
    table = Table(title=f"found: {head}")
    for name in ("person", "side", *SEARCHED_MM):
        table.add_column(name, no_wrap=True)
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for row in sorted(rows, key=lambda row: row["rank"]):
        if row["mode"] != "found":
            continue
        mine = cells.setdefault((row["subject"], row["side"]), {})
        mine.setdefault(
            row["technique"],
            f"{row['claimed_mm']:.1f} ({row['true_mm']:.1f}) {100 * row['breach']:.1f}% "
            f"{row['bone_mm']:.0f}/{row['skin_mm']:.0f} {row['inclination_deg']:.0f}°",
        )
    for (subject, side), mine in sorted(cells.items()):
        table.add_row(subject, side, *(mine.get(name, "none") for name in SEARCHED_MM))
    console.print(table)


def best_of(rows: list[dict[str, Any]], key: str) -> dict[tuple[str, str], float]:
    """Best figure per subject and side."""
    out: dict[tuple[str, str], float] = {}
    for row in rows:
        name = (row["subject"], row["side"])
        out[name] = max(out.get(name, -np.inf), row[key])
    return out


def report(rows: list[dict[str, Any]], console: Console) -> None:
    """Print what each technique reaches, then what the plans claim too much."""
    for mode in ("labels", "found"):
        table = Table(title=f"{mode}: best path per technique and side")
        for head in ("technique", "sides", "clearance, mm", "searched", ">=2", ">=3", ">=5"):
            table.add_column(head)
        for head in ("breach %", "bone, mm", "skin, mm", "inclination", "axial tilt", "slip, mm"):
            table.add_column(head)
        for name, searched in SEARCHED_MM.items():
            mine = [row for row in rows if row["mode"] == mode and row["technique"] == name]
            if not mine:
                continue
            best = np.array(
                list(best_of(mine, "true_mm" if mode == "found" else "claimed_mm").values())
            )
            cells = [str(len(best)), f"{np.median(best):.1f} [{best.min():.1f}]", f"{searched:.1f}"]
            cells += [str(int((best >= limit).sum())) for limit in (2.0, 3.0, 5.0)]
            cells.append(f"{100 * np.median([row['breach'] for row in mine]):.1f}")
            for key in ("bone_mm", "skin_mm", "inclination_deg", "axial_tilt_deg", "slip_mm"):
                cells.append(f"{np.median([row[key] for row in mine]):.1f}")
            table.add_row(name, *cells)
        console.print(table)
    for mode in ("labels", "found"):
        # infinite where nothing but the crossed posterior cortex is ever nearest
        mine = [row for row in rows if row["mode"] == mode and np.isfinite(row["true_mm"])]
        if not mine:
            continue
        over = np.array([row["claimed_mm"] - row["true_mm"] for row in mine])
        true = np.array([row["true_mm"] for row in mine])
        first = np.array([row["true_mm"] for row in mine if row["rank"] == 1])
        console.print(
            f"{mode}, {len(mine)} paths: claimed minus true, median {np.median(over):.2f}, 95 % "
            f"{np.percentile(over, 95):.2f}, worst {over.max():.2f} mm (least {over.min():.2f}); "
            f"true clearance: least {true.min():.2f} mm; of rank 1: median {np.median(first):.2f}, "
            f"least {first.min():.2f} mm"
        )
    console.print(
        "Aims: with labels, medians at most 0.3 mm below the search and >=2 mm on 19 of 20 sides; "
        "with the built-in segmentation, over-claims at most 1.0 mm in 95 %, rank 1 truly >= 3 mm "
        "in the median and never below 1 mm"
    )


def main() -> int:
    """Evaluate what the command line asks for."""
    sys.path.insert(0, str(ROOT / "tests"))
    from support.real_bones import SUBJECTS

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("subjects", nargs="*", help="people; all where none is given")
    parser.add_argument("--cache", type=Path, help="folder that keeps the simulated CTs")
    parser.add_argument("--json", type=Path, help="write every path here")
    given = parser.parse_args()
    if not BONES.is_dir():
        print(f"real bones are not available at {BONES}", file=sys.stderr)
        return 1
    console = Console(width=150)
    with tempfile.TemporaryDirectory() as temporary:
        cache = given.cache or Path(temporary)
        rows: list[dict[str, Any]] = []
        for subject in given.subjects or SUBJECTS:
            found, remarks = evaluate(subject, simulate(Draw(subject, subject, ()), cache))
            rows += found
            console.print("\n".join(remarks), soft_wrap=True)
    if given.json is not None:
        given.json.write_text(json.dumps(rows, indent=1))
    people(rows, console)
    report(rows, console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
