"""Does low confidence predict error? The calibration curve of the built-in segmentation.

    python scripts/evaluate_confidence.py                   all simulated cases
    python scripts/evaluate_confidence.py z001 3mm-z019     some cases
    python scripts/evaluate_confidence.py --cache DIR --json F

Failures are rare, so they are provoked: besides its own start, every case is fitted again from
starts displaced along the sacral axis, by about half a level and by about a whole one. A foramen
is found where its true centre lies within 2 mm of its label. Needs the real bones and their CT
simulator beside the repository, in `../shared/real_bones`.
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
from planner.model.volume import Volume
from planner.segmentation.confidence import confidences
from planner.segmentation.fit import fit
from planner.segmentation.localise import Localisation, localise
from planner.segmentation.segment import refine
from planner.segmentation.template import build_template

SHIFTS_MM = (0.0, 14.0, -14.0, 25.0, -25.0)
CAUDAL = np.array([[0.0, 0.35, -0.94]])
"""The sacral axis in the template's frame, S1 to S3."""
BINS = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 1.0)


def displaced(found: Localisation, shift_mm: float) -> Localisation:
    """A start moved along the sacral axis, towards the feet where positive."""
    moved = found.pose.translation + shift_mm * found.pose.turn(CAUDAL)[0]
    return replace(found, pose=replace(found.pose, translation=moved))


def evaluate(
    volume: Volume, start: Localisation, centres: dict[str, Any]
) -> list[dict[str, float | str]]:
    """Fit from one start; confidence and error, mm, of every foramen in the field."""
    fitted, image, grid = fit(volume, build_template(), start)
    _, near, channels, shares = refine(volume, image, grid, fitted)
    told = confidences(image, grid, fitted, shares, float(volume.grid.spacing_mm.max()))
    out: list[dict[str, float | str]] = []
    for name, centre in centres.items():
        if not volume.grid.contains(centre[None])[0]:
            continue
        voxels = np.argwhere(channels[name])
        away = float(cKDTree(near.to_patient(voxels)).query(centre)[0]) if len(voxels) else np.inf
        error = max(away - 0.5, 0.0)  # half a voxel of the 1 mm grid
        out.append({"name": name, "confidence": told[name], "error": error})
    return out


def curve(rows: list[dict[str, Any]], console: Console) -> None:
    """Print the share of foramina found by confidence, S1 to S3 and S4 apart."""
    table = Table(title="Foramina found, by stated confidence")
    for head in ("levels", "confidence", "n", "found"):
        table.add_column(head, justify="right")
    for title, lowest in (("S1-S3", False), ("S4", True)):
        chosen = [f for row in rows for f in row["foramina"] if ("_s4_" in f["name"]) == lowest]
        told = np.array([f["confidence"] for f in chosen])
        right = np.array([f["error"] <= FOUND_MM for f in chosen])
        for low, high in zip(BINS[:-1], BINS[1:], strict=True):
            inside = (told >= low) & (told < high)
            if inside.any():
                share = f"{100 * right[inside].mean():.0f} %"
                table.add_row(title, f"{low:.2f} to {high:.2f}", str(inside.sum()), share)
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
            found = localise(volume, build_template())
            for shift_mm in SHIFTS_MM:
                foramina = evaluate(volume, displaced(found, shift_mm), centres)
                rows.append({"case": name, "shift_mm": shift_mm, "foramina": foramina})
                print(f"{name} {shift_mm:+.0f} mm", file=sys.stderr)
            if options.json:
                options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    curve(rows, Console(width=None if sys.stdout.isatty() else 100))
    return 0


if __name__ == "__main__":
    sys.exit(main())
