"""How fast needles are measured, beside two naive ways and beside the machine's own limit.

    python scripts/bench_search.py            candidates per second, one search, one re-score
    python scripts/bench_search.py --count N  paths measured (default 20 000)

A candidate's clearance vector is its least distance to foramina, canal, anterior cortex, joint and
superior cortex, in steps of a voxel. (a) samples the same fields at the same points with scipy's
`map_coordinates`; (b) asks `vtkImplicitPolyDataDistance` on the surfaces at the same points, for
fewer paths, for it takes long. The bound is what reading the eight neighbours of every sample and
structure would take at the speed of a plain copy in this run; caches may beat it. Everything runs
on a small phantom with true labels. Seconds depend on the machine; ratios less so.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np
import vtk
from rich.console import Console
from rich.table import Table
from scipy.ndimage import map_coordinates

import planner
from planner.anatomy.fields import GUARDED, ClearanceFields, clearance_fields
from planner.geometry.distance import to_polydata
from planner.geometry.grid import Float
from planner.geometry.stacks import stack_minima
from planner.model.configuration import Configuration
from planner.model.trajectory import Structure
from planner.phantom import PhantomParameters, make_phantom

NAIVE_PATHS, SLOW_PATHS = 1000, 40
LEAST_LENGTH_MM, MOST_LENGTH_MM = 15.0, 60.0
AIM_SCIPY, AIM_VTK, AIM_SEARCH_S, AIM_SCORE_MS = 20.0, 500.0, 3.0, 5.0


def paths_in(fields: ClearanceFields, count: int) -> tuple[Float, Float]:
    """(N, 3) starts and ends of random straight paths inside the bone."""
    rng = np.random.default_rng(0)
    inside = np.argwhere(fields.solid.values < -3.0)
    starts = fields.grid.to_patient(inside[rng.integers(len(inside), size=count)])
    along = rng.normal(size=(count, 3))
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    lengths = rng.uniform(LEAST_LENGTH_MM, MOST_LENGTH_MM, (count, 1))
    return starts, starts + lengths * along


def timed(work: Callable[[], object], repeats: int = 3) -> float:
    """Shortest of several runs, seconds; the first, which may compile, does not count."""
    work()
    best = np.inf
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def vector(fields: ClearanceFields, starts: Float, ends: Float) -> Float:
    """(N, 5) least field value to every guarded structure."""
    return stack_minima(fields.guarded_stack, fields.grid, starts, ends, fields.solid.step_mm)


def samples(fields: ClearanceFields, starts: Float, ends: Float) -> list[Float]:
    """Points of every path in steps of a voxel, (S, 3) each."""
    out = []
    for start, end in zip(starts, ends, strict=True):
        steps = int(np.ceil(np.linalg.norm(end - start) / fields.solid.step_mm)) + 1
        out.append(start + np.linspace(0, 1, steps)[:, None] * (end - start))
    return out


def with_scipy(fields: ClearanceFields, starts: Float, ends: Float) -> Float:
    """The same with map_coordinates, all paths in one call per structure."""
    points = samples(fields, starts, ends)
    firsts = np.cumsum([0, *(len(p) for p in points[:-1])])
    ijk = fields.grid.to_ijk(np.concatenate(points)).T
    columns = []
    for structure in GUARDED:
        field = fields.of(structure)
        values = map_coordinates(field.values, ijk, order=1, cval=field.outside, prefilter=False)
        columns.append(np.minimum.reduceat(values, firsts))
    return np.stack(columns, axis=1)


def with_vtk(fields: ClearanceFields, starts: Float, ends: Float) -> Float:
    """The same with vtkImplicitPolyDataDistance on the surfaces (distances without sign)."""
    oracles = []
    for structure in GUARDED:
        names = [structure]
        if structure is Structure.FORAMINA:
            names = [n for n in fields.label_fields if n != "sacral_canal"]
        if structure is Structure.CANAL:
            names = ["sacral_canal"]
        group = []
        for name in names:
            corners = fields.meshes[name].corners.reshape(-1, 3)
            vertices, faces = np.unique(corners, axis=0, return_inverse=True)
            one = vtk.vtkImplicitPolyDataDistance()
            one.SetInput(to_polydata(vertices, faces.reshape(-1, 3)))
            group.append(one)
        oracles.append(group)
    out = np.empty((len(starts), len(GUARDED)))
    for n, points in enumerate(samples(fields, starts, ends)):
        for column, group in enumerate(oracles):
            out[n, column] = min(abs(one.EvaluateFunction(p)) for one in group for p in points)
    return out


def bandwidth() -> float:
    """Bytes per second that a plain copy reads and writes."""
    block = np.ones(2**26, np.uint8)
    target = np.empty_like(block)
    return 2.0 * block.nbytes / timed(lambda: np.copyto(target, block))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=20_000, help="paths measured")
    given = parser.parse_args()
    phantom = make_phantom(PhantomParameters(spacing_mm=1.6, slice_spacing_mm=1.6, seed=11))
    anatomy = planner.derive_anatomy(phantom.truth.labels, phantom.truth.grid, source="provided")
    fields, configuration = clearance_fields(anatomy), Configuration()
    starts, ends = paths_in(fields, given.count)
    few, fewer = slice(0, NAIVE_PATHS), slice(0, SLOW_PATHS)
    ours = given.count / timed(lambda: vector(fields, starts, ends))
    scipy = NAIVE_PATHS / timed(lambda: with_scipy(fields, starts[few], ends[few]))
    naive = SLOW_PATHS / timed(lambda: with_vtk(fields, starts[fewer], ends[fewer]), 1)
    steps = np.mean([len(p) for p in samples(fields, starts[few], ends[few])])
    bound = bandwidth() / (steps * len(GUARDED) * 8 * 4)
    volume = phantom.volume
    proposed = planner.propose(anatomy, volume, configuration)
    search = timed(lambda: planner.propose(anatomy, volume, configuration), 1)
    score = timed(lambda: planner.measure(proposed[0], anatomy, volume, configuration), 20)

    table = Table(title=f"{given.count} paths, {steps:.0f} samples each, {len(GUARDED)} structures")
    for head in ("what", "candidates per second", "ours is faster by", "aim"):
        table.add_column(head, justify="left" if head == "what" else "right")
    table.add_row("ours", f"{ours:,.0f}", "", "")
    table.add_row("(a) scipy", f"{scipy:,.0f}", f"{ours / scipy:.1f}", f"{AIM_SCIPY:.0f}")
    table.add_row("(b) vtk", f"{naive:,.1f}", f"{ours / naive:,.0f}", f"{AIM_VTK:.0f}")
    table.add_row("bandwidth bound", f"{bound:,.0f}", f"{ours / bound:.2f}", "")
    console = Console(width=100)
    console.print(table)
    console.print(f"search, all techniques, both sides: {search:.2f} s (aim {AIM_SEARCH_S:.0f} s)")
    console.print(
        f"one re-score on an open plan: {1000 * score:.1f} ms (aim {AIM_SCORE_MS:.0f} ms)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
