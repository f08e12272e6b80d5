"""Are wrong anatomies told? Confidence, warnings and refusals against the truth.

    python scripts/evaluate_confidence.py                   all simulated cases
    python scripts/evaluate_confidence.py z001 3mm-z019     some cases
    python scripts/evaluate_confidence.py --cache DIR --json F

Failures are rare, so they are provoked: besides its own start, every case is segmented again from
starts displaced along the sacral axis, by about half a level and by about a whole one, as if the
pelvis had been found there. The anatomy then passes the gates that stand before every plan. A
foramen is found where its true centre lies within 2 mm of its label. Needs the real bones and their
CT simulator beside the repository, in `../shared/real_bones`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from anatomy_measures import FOUND_MM
from evaluate_anatomy import BONES, cases, simulate, true_anatomy
from rich.console import Console
from rich.table import Table
from scipy.spatial import cKDTree

import planner
from planner.anatomy.findings import look_for_findings, to_warnings
from planner.model.anatomy import LABELS
from planner.model.configuration import Configuration
from planner.model.volume import Volume
from planner.pipeline import trusted_anatomy
from planner.segmentation import segment
from planner.segmentation.localise import Localisation, localise
from planner.segmentation.template import build_template

SHIFTS_MM = (0.0, 14.0, -14.0, 25.0, -25.0)
CAUDAL = np.array([[0.0, 0.35, -0.94]])
"""The sacral axis in the template's frame, S1 to S3."""
MISSING_MM = 999.0
BINS = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 1.0)


def displaced(found: Localisation, shift_mm: float) -> Localisation:
    """A start moved along the sacral axis, towards the feet where positive."""
    moved = found.pose.translation + shift_mm * found.pose.turn(CAUDAL)[0]
    return replace(found, pose=replace(found.pose, translation=moved))


def evaluate(volume: Volume, start: Localisation, centres: dict[str, Any]) -> dict[str, Any]:
    """Segment from one start; the gate that refused it, or confidence and error of foramina."""
    configuration = Configuration()
    try:
        anatomy = trusted_anatomy(segment(volume, start=start), volume, configuration)
    except planner.PlannerError as error:
        return {"refused": str(error), "foramina": [], "warnings": []}
    findings = to_warnings(look_for_findings(anatomy, volume))
    foramina = []
    for name, centre in centres.items():
        if not volume.grid.contains(centre[None])[0]:
            continue
        voxels = np.argwhere(anatomy.labels == LABELS[name])
        away = np.inf
        if len(voxels):
            away = float(cKDTree(anatomy.grid.to_patient(voxels)).query(centre)[0])
        half = float(anatomy.grid.spacing_mm.max()) / 2
        error_mm = min(max(away - half, 0.0), MISSING_MM)  # JSON knows no infinity
        told = anatomy.confidences.get(name, 0.0)
        foramina.append({"name": name, "confidence": told, "error": error_mm})
    warnings = [*anatomy.warnings, *findings]
    return {"refused": "", "foramina": foramina, "warnings": warnings}


def upper(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Foramina of S1 to S3."""
    return [f for f in row["foramina"] if "_s4_" not in f["name"]]


def verdicts(rows: list[dict[str, Any]], console: Console) -> None:
    """Print by start what became of it: right, refused, or wrong and let through."""
    table = Table(title="S1 to S3, by how far the start was displaced (towards the feet: +)")
    for head in ("start, mm", "n", "all found", "refused", "wrong, let through", "least warnings"):
        table.add_column(head, justify="right")
    for shift in SHIFTS_MM:
        mine = [row for row in rows if row["shift_mm"] == shift]
        refused = [row for row in mine if row["refused"]]
        wrong = [
            row
            for row in mine
            if not row["refused"] and any(f["error"] > FOUND_MM for f in upper(row))
        ]
        least = str(min(len(row["warnings"]) for row in wrong)) if wrong else ""
        right = len(mine) - len(refused) - len(wrong)
        cells = (len(mine), right, len(refused), len(wrong))
        table.add_row(f"{shift:+.0f}", *(str(n) for n in cells), least)
    console.print(table)


def curve(rows: list[dict[str, Any]], console: Console) -> None:
    """Print the share of foramina found by confidence, of those that were let through."""
    table = Table(title="Foramina found, by stated confidence, in anatomies not refused")
    for head in ("levels", "confidence", "n", "found"):
        table.add_column(head, justify="right")
    for title, lowest in (("S1-S3", False), ("S4", True)):
        chosen = [f for row in rows for f in row["foramina"] if ("_s4_" in f["name"]) == lowest]
        told = np.array([f["confidence"] for f in chosen])
        right = np.array([f["error"] <= FOUND_MM for f in chosen])
        for low, high in zip(BINS[:-1], BINS[1:], strict=True):
            inside = (told >= low) & ((told < high) | (high == BINS[-1]))
            if inside.any():
                table.add_row(
                    title, f"{low:.2f} to {high:.2f}", str(inside.sum()), str(right[inside].sum())
                )
    console.print(table)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", help="names of cases; all where none is given")
    parser.add_argument("--cache", type=Path, help="folder that keeps the simulated CTs")
    parser.add_argument("--json", type=Path, help="write confidence and error of every foramen")
    options = parser.parse_args()
    if not BONES.is_dir():
        parser.exit(3, f"The real bones were expected in {BONES}.\n")
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.cases or list(cases()):
            folder = simulate(name, options.cache or Path(scratch))
            centres = true_anatomy(cases()[name][0], folder).foramina
            volume = planner.load(folder / "dicom")
            try:
                found = localise(volume, build_template())
            except planner.PlannerError as error:
                print(f"{name}: {error}", file=sys.stderr)
                continue
            for shift_mm in SHIFTS_MM:
                row = evaluate(volume, displaced(found, shift_mm), centres)
                rows.append({"case": name, "shift_mm": shift_mm, **row})
                print(f"{name} {shift_mm:+.0f} mm", file=sys.stderr)
            if options.json:
                options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    console = Console(width=None if sys.stdout.isatty() else 100)
    verdicts(rows, console)
    curve(rows, console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
