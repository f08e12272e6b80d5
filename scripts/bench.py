"""Time every stage of the main job on simulated CTs, against a reference of the same run.

    python scripts/bench.py                    485 x 392 x 158 and 512 x 512 x 300 voxels
    python scripts/bench.py --quick            one small volume
    python scripts/bench.py --cache FOLDER     keep the volumes and use them again
    python scripts/bench.py --review PLAN CT   the review page in a browser, and nothing else

The reference is what any program must do that reads this CT and looks at it once in each of two
ways: reading the series with SimpleITK, one Gaussian (sigma 1 mm) and one signed Maurer distance
map of everything above 200 HU. Seconds depend on the machine and on who else uses it; ratios
less so. Each job runs in a process of its own, which tells its peak memory (POSIX only). Compiled
code is cached by a run on the small volume first, which is not counted.

Aim: the whole job within 10 times the reference, and 3 GB.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

from rich.console import Console
from rich.table import Table

AIM_RATIO, AIM_GB, AIM_DRAG_MS = 10.0, 3.0, 100.0
LAPTOP = (1366, 768)
GAUSSIAN_MM, BONE_HU = 1.0, 200
# Columns, rows, slices, and voxel size in mm: one trimmed pelvic CT and one as scanners give it.
FULL = ((485, 392, 158, 0.8, 1.0), (512, 512, 300, 0.75, 0.7))
SMALL = (210, 165, 96, 1.6, 1.6)
Size = tuple[int, int, int, float, float]


def phantom_of(size: Size) -> Any:
    """Return the parameters of a phantom whose scan has exactly this size."""
    from planner.phantom import AlarFracture, PhantomParameters
    from planner.phantom.anatomy import PhantomAnatomy
    from planner.phantom.ct import upright_grid

    columns, rows, slices, spacing, step = size
    made = PhantomParameters(
        spacing_mm=spacing,
        slice_spacing_mm=step,
        slice_thickness_mm=step,
        field_width_mm=columns * spacing,
        field_depth_mm=rows * spacing,
        osteoporosis=0.8,
        left_fracture=AlarFracture(),
        yaw_deg=5.0,
        seed=11,
    )
    lacking = (slices - upright_grid(PhantomAnatomy(made)).shape[2]) * step
    return dataclasses.replace(made, margin_above_mm=made.margin_above_mm + lacking)


def series_of(size: Size, cache: Path) -> Path:
    """Return the folder of an uncompressed series of this size, made where it is missing."""
    from planner.phantom import make_phantom, write_phantom

    parameters = phantom_of(size)
    folder = cache / f"{'x'.join(str(n) for n in size[:3])}-{parameters.digest[:12]}"
    if not folder.is_dir():
        write_phantom(make_phantom(parameters), folder, compress=False)
    return folder / "dicom"


def run_reference(ct: Path) -> dict[str, float]:
    """Read, smooth and measure a CT with SimpleITK alone; seconds of each."""
    import SimpleITK as sitk

    marks = [time.perf_counter()]
    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(ct)))
    marks.append(time.perf_counter())
    sitk.SmoothingRecursiveGaussian(sitk.Cast(image, sitk.sitkFloat32), GAUSSIAN_MM)
    marks.append(time.perf_counter())
    sitk.SignedMaurerDistanceMap(image > BONE_HU, squaredDistance=False, useImageSpacing=True)
    marks.append(time.perf_counter())
    names = ("reference: read the series", "reference: Gaussian", "reference: distance map")
    return {name: b - a for name, a, b in zip(names, marks, marks[1:], strict=False)}


class Stopwatch:
    """Turns the calls of a progress callback into seconds per step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()
        self._step = ""

    def __call__(self, stage: str, part: float) -> None:
        """Count the time since the last call to the step that ran in between."""
        name = stage.partition(":")[0] if stage.startswith("read") else stage
        if name != self._step or part >= 1.0:
            self._book()
            # Where a step has ended, what follows inside its stage has no name of its own.
            ended = ":" in name and part >= 1.0
            self._step = f"{stage.partition(':')[0]}: the rest" if ended else name

    def _book(self) -> None:
        now = time.perf_counter()
        if self._step:
            self.seconds[self._step] = self.seconds.get(self._step, 0.0) + now - self._since
        self._since = now


def run_plan(ct: Path) -> dict[str, float]:
    """Run the main job as the command does; seconds of each step and of the whole."""
    from planner.export import plan_folder
    from planner.model.configuration import Configuration
    from planner.pipeline import plan_ct

    watch, drawn = Stopwatch(), {"seconds": 0.0}
    draw = plan_folder.write_overview

    def timed(*given: Any) -> None:
        start = time.perf_counter()
        draw(*given)
        drawn["seconds"] = time.perf_counter() - start

    start = time.perf_counter()
    volume, plan = plan_ct(ct, Configuration(), progress=watch)
    written = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as name,
        mock.patch.object(plan_folder, "write_overview", timed),
    ):
        plan_folder.write_plan(plan, volume, Path(name) / "plan")
        end = time.perf_counter()
    write = end - written
    steps = {name: s for name, s in watch.seconds.items() if s >= 0.005}
    parts = {"write: overview": drawn["seconds"], "write: the rest": write - drawn["seconds"]}
    return {**steps, **parts, "whole job": end - start}


JOBS = {"reference": run_reference, "plan": run_plan}


def child(job: str, ct: Path) -> int:
    """Run one job in this process and print its figures as JSON."""
    import resource

    seconds = JOBS[job](ct)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024
    print(json.dumps({"seconds": seconds, "peak_gb": peak * unit / 1e9}))
    return 0


def measure(job: str, ct: Path) -> dict[str, Any]:
    """Run one job in a process of its own."""
    command = [sys.executable, __file__, "--child", job, str(ct)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{job} on {ct} failed:\n{done.stderr}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def report(size: Size, ct: Path) -> tuple[Table, str]:
    """Measure one volume; returns a table and a line on the aim."""
    reference, plan = measure("reference", ct), measure("plan", ct)
    unit = sum(reference["seconds"].values())
    shape = " x ".join(str(n) for n in size[:3])
    table = Table(title=f"{shape} voxels of {size[3]:g} x {size[3]:g} x {size[4]:g} mm")
    for name in ("step", "seconds", "times the reference", "peak memory GB"):
        table.add_column(name, justify="left" if name == "step" else "right")
    whole = plan["seconds"].pop("whole job")
    for name, seconds in reference["seconds"].items():
        table.add_row(name, f"{seconds:.2f}", "", "")
    table.add_row("reference", f"{unit:.2f}", "1.0", f"{reference['peak_gb']:.2f}", style="bold")
    table.add_section()
    for name, seconds in plan["seconds"].items():
        table.add_row(name, f"{seconds:.2f}", f"{seconds / unit:.1f}", "")
    figures = (f"{whole:.2f}", f"{whole / unit:.1f}", f"{plan['peak_gb']:.2f}")
    table.add_row("whole job", *figures, style="bold")
    met = whole / unit <= AIM_RATIO and plan["peak_gb"] <= AIM_GB
    aim = f"Aim: {AIM_RATIO:g} times the reference and {AIM_GB:g} GB: "
    return table, aim + ("met." if met else "missed.")


def report_review(folder: Path, ct: Path) -> str:
    """Time the review page of a plan in a browser; the reference is one measurement without it."""
    import statistics

    from browse import browser, drag_times, enter, review

    from planner.pipeline import OpenPlan

    opened = OpenPlan.of(folder, ct=ct)
    path = opened.document.trajectories[0]
    alone = []
    for step in range(12):
        start = time.perf_counter()
        opened.measure(path.bone_entry_mm, [x + 0.01 * step for x in path.tip_mm])
        alone.append(1000 * (time.perf_counter() - start))
    with browser() as running, review(folder, ct) as address:
        page, first_s = enter(running, address, LAPTOP)
        page.wait_for_selector("#planner-space[data-state=ready]")
        drags = drag_times(page)
    middle, reference = statistics.median(drags), statistics.median(alone[2:])
    return (
        f"Review page: all pictures stand {first_s:.1f} s after the address is opened. From a move "
        f"of the mouse to the numbers: median {middle:.0f} ms, most {drags[-1]:.0f} ms of "
        f"{len(drags)} (aim {AIM_DRAG_MS:.0f}); {middle / reference:.1f} times one measurement "
        f"without a browser ({reference:.0f} ms)."
    )


def main() -> int:
    """Print one table per volume; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one small volume only")
    parser.add_argument("--cache", type=Path, help="folder that keeps the simulated CTs")
    parser.add_argument("--child", nargs=2, metavar=("JOB", "CT"), help=argparse.SUPPRESS)
    parser.add_argument("--review", nargs=2, type=Path, metavar=("PLAN", "CT"))
    given = parser.parse_args()
    if given.review:
        print(report_review(*given.review))
        return 0
    if given.child:
        return child(given.child[0], Path(given.child[1]))
    console = Console() if sys.stdout.isatty() else Console(width=100)
    with tempfile.TemporaryDirectory() as name:
        cache = given.cache or Path(name)
        measure("plan", series_of(SMALL, cache))
        for size in (SMALL,) if given.quick else FULL:
            table, aim = report(size, series_of(size, cache))
            console.print(table)
            console.print(aim)
    return 0


if __name__ == "__main__":
    sys.exit(main())
