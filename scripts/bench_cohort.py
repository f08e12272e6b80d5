"""Measure what a cohort costs beside its cases: throughput, memory, overhead, resuming.

    python scripts/bench_cohort.py             20 and 200 cheap cases, two workers
    python scripts/bench_cohort.py --cases 20

A cheap case is a coarse phantom with its true label map, so that nothing is segmented. The
reference, in the same run, is one such case planned and written again and again in this process,
on one thread; overhead is what a case costs a worker over that. Needs the extra `cohort`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from planner import cohort
from planner.model.configuration import Configuration

CHEAP = Configuration(top=1, techniques=("short_axis",))  # type: ignore[arg-type]
REPEATS = 5
WORKERS = 2
MARK = "cohort-bench:"


def cheap_ct(folder: Path) -> tuple[Path, Path]:
    """Write a coarse phantom; returns its series and its label map."""
    from planner.export.segmentation_nrrd import write_segmentation
    from planner.phantom import PhantomParameters, make_phantom, write_phantom

    coarse = PhantomParameters(spacing_mm=1.8, slice_spacing_mm=2.5, slice_thickness_mm=2.5)
    made = make_phantom(coarse)
    write_phantom(made, folder, compress=False)
    labels = folder / "truth.seg.nrrd"
    write_segmentation(made.truth.labels, made.truth.grid, labels)
    return folder / "dicom", labels


def cases_of(ct: Path, labels: Path, number: int) -> list[cohort.Case]:
    """The same CT under so many names: each is planned for itself."""
    return [cohort.Case(f"case-{n:05d}", ct, anatomy=labels) for n in range(number)]


def reference(cases: Sequence[cohort.Case], root: Path) -> float:
    """Seconds of a case in this process, the median of REPEATS after one to warm up."""
    from planner.cohort.content import program, signature
    from planner.cohort.one import run_case
    from planner.cohort.task import Task

    times = []
    for case in cases[: REPEATS + 1]:
        start = time.perf_counter()
        record = run_case(Task(case, CHEAP, root, signature(case), program()))
        if record.status:
            raise SystemExit(f"the cheap case cannot be planned: {record.reason}")
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def child(ct: Path, labels: Path, number: int, output: Path) -> int:
    """Run a cohort and print what it took."""
    peak = 0

    def look(_now: Any) -> None:
        nonlocal peak
        peak = max(peak, psutil.Process().memory_info().rss)

    report = cohort.run(cases_of(ct, labels, number), output, CHEAP, workers=WORKERS, progress=look)
    values = {"seconds": report.seconds, "computed": report.computed, "peak_mb": peak / 1e6}
    print(MARK + json.dumps(values))
    return 0


def measured(ct: Path, labels: Path, number: int, output: Path) -> dict[str, float]:
    """Run `child` in a process of its own, as a user would; wall is with Python's start."""
    start = time.perf_counter()
    given = [str(ct), str(labels), str(number), str(output)]
    done = subprocess.run(
        [sys.executable, __file__, "--child", *given], capture_output=True, text=True, check=True
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith(MARK))
    return json.loads(line.removeprefix(MARK)) | {"wall": time.perf_counter() - start}


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, nargs="+", default=[20, 200])
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        ct, labels, number, output = given.child
        return child(Path(ct), Path(labels), int(number), Path(output))
    table = Table(title=f"{WORKERS} workers on {psutil.cpu_count()} cores")
    for head in ("cases", "s", "cases/h", "per case and worker", "over reference"):
        table.add_column(head, justify="right")
    for head in ("memory of the run, MB", "resume, s", "KB per case"):
        table.add_column(head, justify="right")
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        ct, labels = cheap_ct(root / "ct")
        plain = reference(cases_of(ct, labels, REPEATS + 1), root / "reference")
        for number in given.cases:
            out = root / f"{number}"
            first = measured(ct, labels, number, out)
            again = measured(ct, labels, number, out)
            if again["computed"]:
                raise SystemExit("a case ran twice")
            each = first["wall"] * WORKERS / number
            size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e3
            table.add_row(
                str(number),
                f"{first['wall']:.0f}",
                f"{3600 * number / first['wall']:.0f}",
                f"{each:.2f} s",
                f"{each / plain:.2f}",
                f"{first['peak_mb']:.0f}",
                f"{again['wall']:.1f}",
                f"{size / number:.0f}",
            )
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    console.print(f"reference: {plain:.2f} s a case in one process on one thread")
    return 0


if __name__ == "__main__":
    sys.exit(main())
