"""Fit the judge of an anatomy to segmentations of known truth, and test it on people left out.

    python scripts/evaluate_anatomy.py --turned --wrong 2 --cache DIR --json ROWS.json
    python scripts/evaluate_phantoms.py --starts --json PHANTOMS.json
    python scripts/evaluate_confidence.py ROWS.json PHANTOMS.json [--picture FILE.png]

Reads what these wrote. Prints the terms of `planner/anatomy/judge.py` fitted to all
rows, and, from fits that leave out one person after the other, how often a stated probability came
true, and what a floor under it lets through and refuses.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from anatomy_measures import Measures
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.optimize import minimize

from planner.anatomy.judge import MOST, evidence_checks, features, probability
from planner.anatomy.plausibility import IMPOSSIBLE
from planner.model.configuration import Configuration

PENALTY = 1.0
"""On the squared weights: with it no single feature decides."""
BINS = (0.0, 0.05, 0.2, 0.5, 0.8, 0.9, 0.95, 0.98, 1.0)
FLOORS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)

Floats = NDArray[np.float64]


def read_rows(paths: list[Path]) -> list[dict[str, Any]]:
    """Rows with all evidence; those that the anatomy itself refused cannot be judged."""
    rows = [row for path in paths for row in json.loads(path.read_text(encoding="utf-8"))]
    return [row for row in rows if "unnamed_opening" in row.get("evidence", {})]


def is_right(row: dict[str, Any]) -> bool:
    """Whether S1 to S3 are right: phantoms say so, real bones are measured."""
    return bool(row["right"]) if "right" in row else Measures(**row["measures"]).right


def fit(x: Floats, y: Floats) -> Floats:
    """Weights, constant first, of a logistic regression with a ridge."""

    def loss(weights: Floats) -> tuple[float, Floats]:
        odds = weights[0] + x @ weights[1:]
        rate = 1.0 / (1.0 + np.exp(-odds))
        value = np.logaddexp(0.0, odds).sum() - y @ odds + PENALTY * weights[1:] @ weights[1:]
        slope = np.concatenate([[np.sum(rate - y)], x.T @ (rate - y) + 2 * PENALTY * weights[1:]])
        return float(value), slope

    # All terms speak for the anatomy by their sign; a weight against that is chance.
    bounds = [(None, None)] + [(0.0, None)] * x.shape[1]
    start = np.zeros(x.shape[1] + 1)
    return np.asarray(minimize(loss, start, jac=True, bounds=bounds).x)


AGAINST = ("most_off_centre_mm", "unnamed_opening_hu", "doubt", "spacing", "asymmetry_mm")


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="+", type=Path)
    parser.add_argument("--picture", type=Path, help="write a reliability diagram here")
    options = parser.parse_args()
    rows = read_rows(options.rows)
    table = [features(row["evidence"]) for row in rows]
    names = list(table[0])
    raw = np.array([[values[name] for name in names] for values in table])
    right = np.array([is_right(row) for row in rows], float)
    people = np.array([row["subject"] for row in rows])
    middle = np.median(raw[right == 1], axis=0)
    spread = np.percentile(np.abs(raw - middle), 75, axis=0)
    alone = np.array([refused_alone(row["evidence"]) for row in rows])
    spread = np.maximum(spread, raw[~alone].std(axis=0))
    spread[spread == 0.0] = 1.0  # the same everywhere: it tells nothing
    sign = np.where(np.isin(names, AGAINST), -1.0, 1.0)
    x = sign * np.clip((raw - middle) / spread, -MOST, MOST)
    left_out = np.empty(len(rows))
    for person in np.unique(people):
        mine = people == person
        weights = fit(x[~alone & ~mine], right[~alone & ~mine])
        left_out[mine] = 1.0 / (1.0 + np.exp(-weights[0] - x[mine] @ weights[1:]))
    left_out[alone] = 0.0
    weights = fit(x[~alone], right[~alone])
    print(f"{alone.sum()} refused by a single check, {int(right[alone].sum())} of them right")
    print(f"CONSTANT = {weights[0]:.3f}")
    for name, m, s, w in zip(names, middle, spread, sign * weights[1:], strict=True):
        print(f'    "{name}": Term({m:.4g}, {s:.4g}, {w:.3f}),')
    shipped = np.array([stated_by_the_package(row["evidence"]) for row in rows])
    console = Console(width=None if sys.stdout.isatty() else 100)
    reliability(left_out, shipped, right, console)
    floors(left_out, right, "each person left out", console)
    floors(shipped, right, "by the shipped judge", console)
    wrong = np.flatnonzero((shipped >= Configuration().confidence_floor) & (right == 0))
    print(f"wrong, and not refused: {[rows[n]['case'] for n in wrong]}")
    worst = sorted(zip(left_out, right, rows, strict=True), key=lambda t: -abs(t[0] - t[1]))[:15]
    for stated, truth, row in worst:
        print(f"{row['case']}: {stated:.2f} stated, {'right' if truth else 'wrong'}")
    if options.picture:
        picture(shipped, right, options.picture)
    return 0


def reliability(stated: Floats, shipped: Floats, right: Floats, console: Console) -> None:
    """Print how often a stated probability came true."""
    table = Table(
        title=f"{len(right)} segmentations, {int(right.sum())} right: stated by terms fitted to "
        "them with each person left out, and by the shipped terms"
    )
    for head in ("stated", "n", "right", "share", "mean stated", "n by the shipped terms", "right"):
        table.add_column(head, justify="right")
    for low, high in zip(BINS[:-1], BINS[1:], strict=True):
        inside = (stated >= low) & ((stated < high) | (high == BINS[-1]))
        there = (shipped >= low) & ((shipped < high) | (high == BINS[-1]))
        if inside.any():
            count, came = int(inside.sum()), int(right[inside].sum())
            shares = (f"{came / count:.3f}", f"{stated[inside].mean():.3f}")
            both = (str(int(there.sum())), str(int(right[there].sum())))
            table.add_row(f"{low:.2f} to {high:.2f}", str(count), str(came), *shares, *both)
    console.print(table)


def refused_alone(evidence: dict[str, float]) -> bool:
    """Whether a single check refuses what shows this."""
    return any(c.factor <= IMPOSSIBLE for c in evidence_checks(evidence) if not c.passed)


def stated_by_the_package(evidence: dict[str, float]) -> float:
    """The shipped probability; 0 for what a single check refuses."""
    return 0.0 if refused_alone(evidence) else probability(evidence)


def floors(stated: Floats, right: Floats, whose: str, console: Console) -> None:
    """Print what a floor lets through and refuses."""
    table = Table(title=f"By the floor, {whose}")
    for head in ("floor", "let through", "wrong of them", "right refused"):
        table.add_column(head, justify="right")
    for floor in FLOORS:
        passed = stated >= floor
        wrong, refused = int((right[passed] == 0).sum()), int((~passed & (right == 1)).sum())
        table.add_row(
            f"{floor:.2f}",
            str(int(passed.sum())),
            f"{wrong} ({wrong / max(int(passed.sum()), 1):.1%})",
            f"{refused} ({refused / max(right.sum(), 1):.1%})",
        )
    console.print(table)


def picture(stated: Floats, right: Floats, path: Path) -> None:
    """Draw stated against observed, with the number in each bin."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 6))
    axes.plot([0, 1], [0, 1], color="0.7")
    for low, high in zip(BINS[:-1], BINS[1:], strict=True):
        inside = (stated >= low) & ((stated < high) | (high == BINS[-1]))
        if inside.any():
            share = float(right[inside].mean())
            axes.plot(stated[inside].mean(), share, "o", color="tab:blue")
            axes.annotate(str(int(inside.sum())), (float(stated[inside].mean()), share))
    axes.set(xlabel="stated probability", ylabel="share that was right", title="The shipped judge")
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    sys.exit(main())
