"""From a CT to a plan: the one place where all stages meet.

Read the CT, find the bones, propose needle paths, refuse the unsafe ones, rank the rest. Each stage
is timed. Two gates stop a plan that nobody should see: anatomy of too little confidence, and no
path that keeps the hard limits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numba
import numpy as np
import SimpleITK as sitk

from planner import candidates, reading, scoring
from planner.anatomy.findings import look_for_findings, to_warnings
from planner.errors import ConfigurationError, NoTrajectoryError
from planner.geometry.grid import Float
from planner.model.anatomy import Anatomy
from planner.model.configuration import Configuration
from planner.model.plan import Plan
from planner.model.volume import Volume
from planner.pipeline.bones import check_confidence, find_bones, trusted_anatomy
from planner.pipeline.needle import OpenPlan
from planner.reading.labels import read_mask
from planner.segmentation import TotalSegmentator

Progress = Callable[[str, float], None]
"""Called with the name of a stage and the part of it that is done, 0 to 1."""


def plan_ct(
    path: Path,
    configuration: Configuration,
    *,
    series: str | None = None,
    anatomy_file: Path | None = None,
    method: TotalSegmentator | None = None,
    target_file: Path | None = None,
    progress: Progress | None = None,
    jobs: int | None = None,
) -> tuple[Volume, Plan]:
    """Plan on a CT.

    path: what `planner plan` takes. series: its UID where there are several. anatomy_file: a label
    map instead of the segmentation. method: another program for the segmentation; None for the
    built-in one. target_file: a mask to reach. jobs: threads, None for all.
    Raises a PlannerError whose exit status is that of the command.
    """
    clock = _Clock(progress or _silent)
    with clock.stage("read"), _threads(jobs):
        volume = reading.read_ct(path, series=series, progress=clock.inside("read"))
    with clock.stage("anatomy"), _threads(jobs):
        found = find_bones(volume, anatomy_file, clock.inside("anatomy"), method)
        anatomy = trusted_anatomy(found, volume, configuration)
    target = None
    if target_file is not None:
        target = candidates.target_points(read_mask(target_file, volume.grid))
    return volume, _plan_on(volume, anatomy, configuration, target, clock, jobs)


def plan_again(
    opened: OpenPlan,
    anatomy: Anatomy,
    *,
    progress: Progress | None = None,
    jobs: int | None = None,
) -> Plan:
    """Plan on another anatomy of a plan's CT, with its configuration and target.

    Raises ConfigurationError where the plan was opened without its CT, UntrustedAnatomyError and
    NoTrajectoryError as `plan_ct` does.
    """
    if opened.volume is None:
        raise ConfigurationError("planning again needs the plan's CT; give it with --ct.")
    check_confidence(anatomy, opened.volume, opened.configuration, judged=False)
    clock = _Clock(progress or _silent)
    given = (opened.volume, anatomy, opened.configuration, opened.target)
    return _plan_on(*given, clock, jobs)


def _plan_on(
    volume: Volume,
    anatomy: Anatomy,
    configuration: Configuration,
    target: Float | None,
    clock: _Clock,
    jobs: int | None,
) -> Plan:
    """Propose, judge and rank needle paths on an anatomy."""
    with clock.stage("findings"), _threads(jobs):
        findings = look_for_findings(anatomy, volume)
    with clock.stage("candidates"), _threads(jobs):
        proposed = candidates.propose(anatomy, volume, configuration, target)
    with clock.stage("score"), _threads(jobs):
        scored = scoring.score(proposed, anatomy, volume, configuration, target)
    if not scored.accepted:
        raise NoTrajectoryError(tell_rejections(len(proposed), scored.rejections))
    with clock.stage("rank"), _threads(jobs):
        ranked = scoring.rank(scored, configuration)
        pairs = scoring.find_pairs(ranked, anatomy.frame, configuration)
        rooms = scoring.feasibility(scored.accepted, configuration)
        guidance = scoring.guide(ranked, anatomy, volume.grid, configuration)
    with clock.stage("entry map"), _threads(jobs):
        entries = candidates.entry_map(anatomy, volume, configuration)
    return Plan(
        ct=volume.source,
        ct_grid=volume.grid,
        anatomy=anatomy,
        trajectories=tuple(ranked),
        rejections=dict(scored.rejections),
        configuration=configuration,
        findings=findings,
        pairs=pairs,
        feasibility=rooms,
        guidance=guidance,
        entry_map=entries,
        target=target,
        warnings=_once((*volume.warnings, *anatomy.warnings, *to_warnings(findings))),
        timings_s=clock.timings_s,
        provenance=provenance(),
    )


def tell_rejections(proposed: int, rejections: dict[str, int]) -> str:
    """Say in words why nothing is left, the most frequent reason first."""
    if not proposed:
        return (
            "no trajectory could be proposed: no line fits the definitions of the techniques on "
            "this anatomy. Check anatomy.seg.nrrd (`planner segment`), or allow more techniques "
            "and sides."
        )
    order = sorted(rejections.items(), key=lambda item: (-item[1], item[0]))
    reasons = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in order if count)
    return (
        f"none of {proposed} candidate trajectories passes the hard limits. Refused by: {reasons}. "
        "A thinner needle (--needle 13G), another technique or side, or limits set in --config may "
        "leave some; the limits protect nerves and vessels."
    )


def provenance() -> dict[str, Any]:
    """Name the program and the libraries that decide figures."""
    return {
        "version": metadata.version("planner"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "libraries": {
            "numpy": np.__version__,
            "simpleitk": sitk.Version.VersionString(),
            "numba": numba.__version__,
        },
    }


class _Clock:
    """Times the stages and tells the progress of each."""

    def __init__(self, progress: Progress) -> None:
        self.timings_s: dict[str, float] = {}
        self._progress = progress

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what runs inside as one stage."""
        self._progress(name, 0.0)
        start = time.perf_counter()
        yield
        self.timings_s[name] = time.perf_counter() - start
        self._progress(name, 1.0)

    def inside(self, stage: str) -> Progress:
        """Return a callback for the steps of a stage."""
        return lambda step, part: self._progress(f"{stage}: {step}" if step else stage, part)


def _silent(_stage: str, _part: float) -> None:
    return


def _once(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(lines))


@contextmanager
def _threads(jobs: int | None) -> Iterator[None]:
    """Limit the threads of the libraries inside, and set them back afterwards."""
    if jobs is None:
        yield
        return
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads(), numba.get_num_threads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(jobs)
    numba.set_num_threads(min(jobs, numba.config.NUMBA_NUM_THREADS))
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before[0])
        numba.set_num_threads(before[1])
