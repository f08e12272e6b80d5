"""Measure the whole planner against parametric phantoms, whose truth is exact.

    python scripts/evaluate_phantoms.py                     fifty anatomies
    python scripts/evaluate_phantoms.py --first 100 --count 5 --json F
    python scripts/evaluate_phantoms.py --starts --json F   for evaluate_confidence.py

Every anatomy is drawn from its seed over the published spread of shapes: one in five dysmorphic,
one in seven with five pairs of foramina, most with fractures, half of each sex. Reported are
the distance of each foramen's centre from the one derived in the same way from true labels, and for
every proposed path the reported clearance minus the true one (positive: the plan claims too much),
to foramina and canal over the whole path, and over its last half to the sacrum's envelope without
its back.

With --starts no path is planned: each phantom is segmented from where its pelvis is found, and from
a level and half a level up and down, and the evidence is kept with whether S1 to S3 came out right.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from anatomy_measures import LEAST_DICE, RIGHT_MM
from evaluate_anatomy import SHIFTS_MM, wrong_start
from rich.console import Console
from rich.table import Table

import planner
from planner.anatomy import derive_anatomy
from planner.anatomy.judge import gather
from planner.cohort.truth import TrueSurfaces, foramen_errors, over_claims
from planner.geometry.sampling import resample
from planner.model.anatomy import LABELS, Anatomy
from planner.model.configuration import Configuration
from planner.model.trajectory import ScoredTrajectory
from planner.model.volume import Volume
from planner.phantom import PhantomParameters, PhantomTruth, make_phantom
from planner.pipeline import find_bones, trusted_anatomy
from planner.segmentation import Segmentation, segment

LEVELS = ("S1", "S2", "S3", "S4")


def parameters_of(seed: int) -> PhantomParameters:
    """Draw the phantom of a seed; odd seeds are male."""
    return PhantomParameters.sample(np.random.default_rng(seed), "M" if seed % 2 else "F")


def plan_on(volume: Volume, configuration: Configuration) -> tuple[Anatomy, list[ScoredTrajectory]]:
    """Run every stage on a phantom that is in memory; raises a PlannerError where one refuses."""
    found = find_bones(volume)
    anatomy = trusted_anatomy(found, volume, configuration)
    scored = planner.score(
        planner.propose(anatomy, volume, configuration), anatomy, volume, configuration
    )
    return anatomy, list(planner.rank(scored, configuration))


def evaluate(seed: int) -> dict[str, Any]:
    """Plan on one phantom and measure it."""
    parameters = parameters_of(seed)
    phantom = make_phantom(parameters)
    row: dict[str, Any] = {
        "seed": seed,
        "score": parameters.sacrum.dysmorphism_score,
        "pairs": parameters.sacrum.foramen_pairs,
    }
    started = time.perf_counter()
    try:
        anatomy, paths = plan_on(phantom.volume, Configuration())
    except planner.PlannerError as error:
        return row | {"refused": f"{error.exit_status}: {error}"}
    row["seconds"] = time.perf_counter() - started
    row["confidence"] = anatomy.confidence
    row["confidences"] = dict(anatomy.confidences)
    foramina = [r for r in foramen_errors(anatomy, phantom.truth) if r["level"] in LEVELS]
    row["centres"] = {item["label"]: item["centre_error_mm"] for item in foramina}
    row["nearest"] = {item["label"]: item["nearest_label"] for item in foramina}
    surfaces = TrueSurfaces(phantom.truth)
    row["claims"] = [over_claims(item, surfaces) for item in paths]
    row["warnings"] = list(anatomy.warnings)
    return row


def evaluate_starts(seed: int) -> list[dict[str, Any]]:
    """Segment one phantom from the right and from wrong places; keep what each shows."""
    phantom = make_phantom(parameters_of(seed))
    rows = []
    for variant in ("", *SHIFTS_MM):
        name = f"phantom-{seed:03d}"
        row: dict[str, Any] = {"case": name + variant, "subject": name}
        try:
            found = segment(phantom.volume, start=wrong_start(phantom.volume, variant))
            anatomy = derive_anatomy(
                found.labels, found.grid, source="builtin", confidences=found.confidences
            )
            row["evidence"] = found.evidence | gather(anatomy, phantom.volume)
            upper = [r for r in foramen_errors(anatomy, phantom.truth) if r["level"] in LEVELS[:3]]
        except planner.PlannerError as error:
            rows.append(row | {"refused": str(error)})
            continue
        row["centres"] = {item["label"]: item["centre_error_mm"] for item in upper}
        row["dice"] = overlap(found, phantom.truth)
        row["right"] = (
            len(upper) == 6
            and not any(item["swapped"] for item in upper)
            and all(error is not None and error <= RIGHT_MM for error in row["centres"].values())
            and row["dice"] >= LEAST_DICE
        )
        rows.append(row)
    return rows


def overlap(found: Segmentation, truth: PhantomTruth) -> float:
    """Dice of a segmentation's sacrum with the true one, on the truth's grid."""
    ours = resample(
        (found.labels == LABELS["sacrum"]).astype(np.float32), found.grid, truth.grid, 0.0
    )
    theirs = truth.mask("sacrum")
    return float(2 * ((ours > 0.5) & theirs).sum() / ((ours > 0.5).sum() + theirs.sum()))


def report(rows: list[dict[str, Any]], console: Console) -> None:
    """Print the table over all phantoms, and the worst ones by name."""
    planned = [row for row in rows if "centres" in row]
    refused = [row for row in rows if "refused" in row]
    special = sum(row["pairs"] == 5 for row in rows)
    dysmorphic = sum(row["score"] > 70 for row in rows)
    table = Table(title=f"{len(rows)} phantoms, {special} with five pairs, {dysmorphic} dysmorphic")
    for head in ("what", "n", "median", "95 %", "worst", "worst seed"):
        table.add_column(head, justify="left" if head == "what" else "right")
    for level in LEVELS:
        errors = [
            (error, row["seed"])
            for row in planned
            for name, error in row["centres"].items()
            if f"_{level.lower()}_" in name and error is not None
        ]
        _line(table, f"{level} foramen centre, mm", errors)
    for name in ("foramina", "canal", "walls"):
        claims = [(claim[name], row["seed"]) for row in planned for claim in row["claims"]]
        _line(table, f"clearance to {name}: reported minus true, mm", claims)
    console.print(table)
    missing = [
        f"{row['seed']} {name}"
        for row in planned
        for name, error in row["centres"].items()
        if error is None
    ]
    swapped = [
        f"{row['seed']} {name} as {other}"
        for row in planned
        for name, other in row["nearest"].items()
        if other != name and row["centres"][name] is not None
    ]
    console.print(f"missing: {missing or 'none'}; nearer to another label: {swapped or 'none'}")
    for row in refused:
        console.print(f"seed {row['seed']} refused, {row['refused'][:300]}", soft_wrap=True)


def _line(table: Table, name: str, values: list[tuple[float, int]]) -> None:
    if not values:
        return
    figures = np.array([value for value, _ in values])
    worst = values[int(figures.argmax())]
    cells = [np.median(figures), np.percentile(figures, 95), worst[0]]
    table.add_row(name, str(len(figures)), *(f"{cell:.2f}" for cell in cells), str(worst[1]))


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=50, help="number of anatomies")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--starts", action="store_true", help="only segment, from wrong places too")
    parser.add_argument("--json", type=Path, help="write the measures of every phantom here")
    options = parser.parse_args()
    rows = []
    for seed in range(options.first, options.first + options.count):
        rows += evaluate_starts(seed) if options.starts else [evaluate(seed)]
        told = rows[-1].get("refused", rows[-1].get("confidence", rows[-1].get("right")))
        print(f"seed {seed}: {told}", file=sys.stderr)
        if options.json:
            options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    if options.starts:
        return 0
    report(rows, Console(width=None if sys.stdout.isatty() else 120))
    return 0


if __name__ == "__main__":
    sys.exit(main())
