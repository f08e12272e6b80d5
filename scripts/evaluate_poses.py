"""Turn CTs by their headers alone, and see whether everything turns with them.

    python scripts/evaluate_poses.py CT [CT ...]            24 turns of each
    python scripts/evaluate_poses.py --turns 8 --plan CT    fewer, and with plans

No voxel changes, so labels, landmarks and needles must be the same, turned. Printed per turn are
the overlap with the turned-back labels of the CT as it lies, how far foramina moved, and with
--plan whether the same techniques and sides have a path, and the largest change of a best path's
clearance. Turns within 60, 45 and 30 degrees about the long axis, in pitch and in roll must be
planned without a word; up to 120 about the long axis with a warning; beyond, refused.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from anatomy_draws import turn_matrix, turned
from rich.console import Console
from rich.table import Table

import planner
from planner.model.anatomy import LABELS, Anatomy
from planner.model.configuration import Configuration
from planner.model.volume import Volume
from planner.pipeline import find_bones, trusted_anatomy

LAW = {"dice": 0.97, "foramina_mm": 1.0, "clearance_mm": 1.0}


def turns(count: int) -> list[tuple[float, float, float]]:
    """Turns about x, y and z: the first as it lies, then over the whole range, then beyond it."""
    rng = np.random.default_rng(20261)
    out = [
        (0.0, 0.0, 0.0),
        (0.0, 0.0, 15.0),
        (0.0, 0.0, -25.0),
        (0.0, 0.0, 90.0),
        (0.0, 0.0, 160.0),
    ]
    drawn = rng.uniform((-45.0, -30.0, -60.0), (45.0, 30.0, 60.0), (max(count - 5, 0), 3))
    return (out + [(a, b, c) for a, b, c in drawn.tolist()])[:count]


def best_clearances(volume: Volume, anatomy: Anatomy) -> dict[str, float]:
    """Least clearance of the best path of every technique and side."""
    from planner import candidates, scoring

    configuration = Configuration()
    proposed = candidates.propose(anatomy, volume, configuration, None)
    scored = scoring.score(proposed, anatomy, volume, configuration, None)
    out: dict[str, float] = {}
    for item in scoring.rank(scored, configuration):
        name = f"{item.trajectory.technique.value} {item.trajectory.side}"
        out.setdefault(name, item.measures["min_clearance_mm"])
    return out


def evaluate(volume: Volume, turn: tuple[float, float, float], plan: bool) -> dict[str, Any]:
    """Segment one turned CT; everything turned back."""
    scan, back = turned(volume, turn), turn_matrix(turn)
    row: dict[str, Any] = {"turn": turn}
    start = time.perf_counter()
    try:
        anatomy = trusted_anatomy(find_bones(scan), scan, Configuration())
    except planner.PlannerError as error:
        return row | {"refused": str(error)}
    row["seconds"] = time.perf_counter() - start
    row["labels"] = anatomy.labels == LABELS["sacrum"]
    row["foramina"] = {item.name: item.centre @ back for item in anatomy.foramina}
    row["warned"] = any("lies on its side" in line for line in anatomy.warnings)
    row["confidence"] = anatomy.confidence
    row["clearances"] = best_clearances(scan, anatomy) if plan else {}
    return row


def compare(row: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """Figures of a turn against the CT as it lies."""
    if "refused" in row or "refused" in base:
        return {"turn": row["turn"], "refused": row.get("refused", "")}
    both = 2.0 * np.count_nonzero(row["labels"] & base["labels"])
    dice = both / (np.count_nonzero(row["labels"]) + np.count_nonzero(base["labels"]))
    moved = [
        float(np.linalg.norm(row["foramina"][name] - base["foramina"][name]))
        for name in base["foramina"].keys() & row["foramina"].keys()
    ]
    shared = base["clearances"].keys() & row["clearances"].keys()
    changes = [abs(row["clearances"][n] - base["clearances"][n]) for n in shared]
    return {
        "turn": row["turn"],
        "dice": float(dice),
        "foramina_mm": max(moved, default=0.0),
        "same_foramina": base["foramina"].keys() == row["foramina"].keys(),
        "same_paths": base["clearances"].keys() == row["clearances"].keys(),
        "clearance_mm": max(changes, default=0.0),
        "warned": row["warned"],
        "confidence": row["confidence"],
        "seconds": row["seconds"],
    }


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ct", nargs="+", type=Path)
    parser.add_argument("--turns", type=int, default=24)
    parser.add_argument("--plan", action="store_true", help="compare the best paths as well")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    console, kept = Console(width=None if sys.stdout.isatty() else 120), {}
    for path in options.ct:
        volume, base, rows = planner.load(path), None, []
        for turn in turns(options.turns):
            row = evaluate(volume, turn, options.plan)
            base = base or row
            rows.append(compare(row, base))
            print(f"{path.name} {turn}: {json.dumps(rows[-1])}", file=sys.stderr, flush=True)
        show(path.name, rows, console)
        kept[str(path)] = rows
        if options.json:
            options.json.write_text(json.dumps(kept, indent=1), encoding="utf-8")
    return 0


def show(name: str, rows: list[dict[str, Any]], console: Console) -> None:
    """Print one CT's turns."""
    table = Table(title=name)
    for head in ("pitch, roll, yaw", "Dice", "foramina mm", "paths", "clearance mm", "conf", "s"):
        table.add_column(head, justify="right")
    for row in rows:
        turn = " ".join(f"{angle:.0f}" for angle in row["turn"])
        if "dice" not in row:
            table.add_row(turn, "refused", "", "", "", "", "")
            continue
        table.add_row(
            turn,
            f"{row['dice']:.4f}",
            f"{row['foramina_mm']:.2f}",
            ("same" if row["same_paths"] else "differ") + (", warned" if row["warned"] else ""),
            f"{row['clearance_mm']:.2f}",
            f"{row['confidence']:.2f}",
            f"{row['seconds']:.0f}",
        )
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
