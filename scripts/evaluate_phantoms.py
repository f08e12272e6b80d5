"""Measure the whole planner against parametric phantoms, whose truth is exact.

    python scripts/evaluate_phantoms.py                     fifty anatomies
    python scripts/evaluate_phantoms.py --first 100 --count 5 --json F

Every anatomy is drawn from its seed over the published spread of shapes: one in five dysmorphic,
one in seven with five pairs of foramina, most with fractures, half of each sex. Reported are
the distance of each foramen's centre from the one derived in the same way from true labels, and for
every proposed path the reported clearance minus the true one (positive: the plan claims too much),
to foramina and canal over the whole path, and over its last half to the sacrum's envelope without
its back.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from anatomy_measures import distances
from rich.console import Console
from rich.table import Table

import planner
from planner.geometry.distance import face_normals, isosurface
from planner.geometry.grid import Float, Grid
from planner.model.anatomy import Anatomy
from planner.model.configuration import Configuration
from planner.model.trajectory import ScoredTrajectory, Structure
from planner.model.volume import Volume
from planner.phantom import PhantomParameters, make_phantom
from planner.phantom.truth import PhantomTruth
from planner.pipeline import find_bones, trusted_anatomy

STEP_MM = 0.5
MESH_MM, HULL_MM = 0.6, 1.0
BACKWARDS = 0.5
"""Triangles that face the back by more than this cosine are the posterior cortex."""
CONTENTS = ("sacrum", "sacral_canal")
LEVELS = ("S1", "S2", "S3", "S4")
WALLS = (Structure.ANTERIOR, Structure.SACROILIAC, Structure.SUPERIOR)


def parameters_of(seed: int) -> PhantomParameters:
    """Draw the phantom of a seed; odd seeds are male."""
    return PhantomParameters.sample(np.random.default_rng(seed), "M" if seed % 2 else "F")


class TrueSurfaces:
    """The phantom's structures as meshes: their formulas are exact on the surface only.

    Every mesh is the zero level of the structure's formula, sampled at MESH_MM and interpolated,
    which leaves some hundredths of a millimetre.
    """

    def __init__(self, truth: PhantomTruth) -> None:
        self._truth = truth
        self._frame = truth.frame
        self.foramina = [n for n in truth.structures if n.startswith("foramen")]
        self._meshes = {n: self._mesh(n) for n in (*self.foramina, "sacral_canal")}
        vertices, faces = self._mesh("sacrum_hull")
        normals = self._frame.direction_to_sacrum(face_normals(vertices, faces))
        walls = faces[normals[:, 1] < BACKWARDS]  # the back is crossed on purpose
        self._meshes["walls"] = (vertices, walls)

    def _mesh(self, name: str) -> tuple[Float, Any]:
        whole = name == "sacrum_hull"
        mask = self._truth.mask(*((*CONTENTS, *self.foramina) if whole else (name,)))
        points = self._truth.grid.to_patient(np.argwhere(mask))
        grid = Grid.around(points, HULL_MM if whole else MESH_MM, 4.0)
        return isosurface(self._truth.distance_volume(name, grid), grid)

    def distance(self, name: str, points: Float) -> float:
        """Least distance (mm) of (N, 3) points from a structure's surface, negative inside it."""
        field = "sacrum_hull" if name == "walls" else name
        gaps = distances(points, *self._meshes[name])
        inside = self._truth.distance(field, points) < 0
        if name == "walls":  # the needle is inside the hull: outside is what is bad
            return float(np.where(inside, gaps, -gaps).min())
        return float(np.where(inside, -gaps, gaps).min())


def over_claims(item: ScoredTrajectory, truth: TrueSurfaces) -> dict[str, float]:
    """Reported minus true clearance, mm, by structure."""
    path = item.trajectory
    length = path.intraosseous_length_mm
    depth = np.append(np.arange(0.0, length, STEP_MM), length)
    points = path.bone_entry + depth[:, None] * (path.tip - path.bone_entry) / length
    radius = path.needle.radius_mm
    nerves = min(truth.distance(name, points) for name in truth.foramina) - radius
    deep = points[depth >= length / 2.0]
    walls = min(item.clearances[wall].distance_mm for wall in WALLS)
    return {
        "foramina": item.clearances[Structure.FORAMINA].distance_mm - nerves,
        "canal": item.clearances[Structure.CANAL].distance_mm
        - (truth.distance("sacral_canal", points) - radius),
        "walls": walls - (truth.distance("walls", deep) - radius),
    }


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
    row["centres"] = {}
    row["nearest"] = {}
    exact = planner.derive_anatomy(phantom.truth.labels, phantom.truth.grid, source="provided")
    for true in exact.foramina:
        if true.level not in LEVELS:
            continue
        same = [f for f in anatomy.foramina if (f.level, f.side) == (true.level, true.side)]
        gaps = {f.name: float(np.linalg.norm(f.centre - true.centre)) for f in anatomy.foramina}
        row["centres"][true.name] = gaps[same[0].name] if same else None
        row["nearest"][true.name] = min(gaps, key=lambda name: gaps[name])
    surfaces = TrueSurfaces(phantom.truth)
    row["claims"] = [over_claims(item, surfaces) for item in paths]
    row["warnings"] = list(anatomy.warnings)
    return row


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
    parser.add_argument("--json", type=Path, help="write the measures of every phantom here")
    options = parser.parse_args()
    rows = []
    for seed in range(options.first, options.first + options.count):
        rows.append(evaluate(seed))
        print(
            f"seed {seed}: {rows[-1].get('refused', rows[-1].get('confidence'))}", file=sys.stderr
        )
        if options.json:
            options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    report(rows, Console(width=None if sys.stdout.isatty() else 120))
    return 0


if __name__ == "__main__":
    sys.exit(main())
