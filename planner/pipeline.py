"""The one place where the stages meet: from a CT to a plan.

Read the CT, find the bones, propose needle paths, refuse the unsafe ones, rank the rest. Each stage
is timed. Two gates stop a plan that nobody should see: anatomy of too little confidence, and no
path that keeps the hard limits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numba
import numpy as np
import SimpleITK as sitk
from numpy.typing import ArrayLike, NDArray

from planner import anatomy as anatomy_stage
from planner import candidates, reading, scoring, segmentation
from planner.anatomy.body import body_of, way_out
from planner.anatomy.fields import clearance_fields
from planner.anatomy.findings import look_for_findings, to_warnings
from planner.anatomy.levels import side_landmarks
from planner.anatomy.needles import poses
from planner.errors import ConfigurationError, NoTrajectoryError, UntrustedAnatomyError
from planner.export import segmentation_nrrd
from planner.export.plan_document import PlanDocument
from planner.export.plan_json import read_plan
from planner.export.segmentation_nrrd import read_segmentation
from planner.geometry.grid import Float
from planner.model.anatomy import Anatomy, Side
from planner.model.configuration import Configuration
from planner.model.plan import Plan
from planner.model.trajectory import Needle, ScoredTrajectory, Technique, Trajectory
from planner.model.volume import CtSource, Volume
from planner.reading.labels import LabelMap, fit_to_volume, read_labels, read_mask
from planner.scoring.criteria import weighted_mean

Progress = Callable[[str, float], None]
"""Called with the name of a stage and the part of it that is done, 0 to 1."""

NO_CT = (
    "without the CT the skin and the grey values are unknown; they are left out, also of the score."
)
LOOK_BACK_MM = 100.0
ENTRY_TOLERANCE_MM = 2.0
SKIN_REACH_MM = 300.0
SHORT_AXIS_DEG = 20.0  # between the short axis (up to 10 degrees) and the S2 entry (from 25)
STAND_IN_BONE_HU, STAND_IN_SOFT_HU, STAND_IN_AIR_HU = 300, 40, -1000
# Criteria, measures and limits that rest on the CT and not on the anatomy.
FROM_CT = frozenset(
    {
        "skin_length",
        "soft_tissue_mm",
        "mean_hu",
        "skin_in_view",
        "skin_to_tip",
        "single_skin_crossing",
    }
)

# Without these a plan cannot be measured; a fourth pair of foramina may be absent or closed.
NEEDED = frozenset(
    {"sacrum", "sacral_canal"}
    | {f"foramen_s{level}_{side}" for level in (1, 2, 3) for side in ("left", "right")}
)


def plan_ct(
    path: Path,
    configuration: Configuration,
    *,
    series: str | None = None,
    anatomy_file: Path | None = None,
    target_file: Path | None = None,
    progress: Progress | None = None,
    jobs: int | None = None,
) -> tuple[Volume, Plan]:
    """Plan on a CT.

    path: what `planner plan` takes. series: its UID where there are several. anatomy_file: a label
    map instead of the segmentation. target_file: a mask to reach. jobs: threads, None for all.
    Raises a PlannerError whose exit status is that of the command.
    """
    clock = _Clock(progress or _silent)
    with clock.stage("read"), _threads(jobs):
        volume = reading.read_ct(path, series=series, progress=clock.inside("read"))
    with clock.stage("anatomy"), _threads(jobs):
        anatomy = find_anatomy(volume, anatomy_file, clock.inside("anatomy"))
        check_confidence(anatomy, configuration)
    with clock.stage("findings"), _threads(jobs):
        findings = look_for_findings(anatomy, volume)
    with clock.stage("candidates"), _threads(jobs):
        target = None
        if target_file is not None:
            target = candidates.target_points(read_mask(target_file, volume.grid))
        proposed = candidates.propose(anatomy, volume, configuration, target)
    with clock.stage("score"), _threads(jobs):
        scored = scoring.score(proposed, anatomy, volume, configuration, target)
    if not scored.accepted:
        raise NoTrajectoryError(tell_rejections(len(proposed), scored.rejections))
    with clock.stage("rank"), _threads(jobs):
        ranked = scoring.rank(scored, configuration)
    plan = Plan(
        ct=volume.source,
        ct_grid=volume.grid,
        anatomy=anatomy,
        trajectories=tuple(ranked),
        rejections=dict(scored.rejections),
        configuration=configuration,
        findings=findings,
        warnings=_once((*volume.warnings, *anatomy.warnings, *to_warnings(findings))),
        timings_s=clock.timings_s,
        provenance=provenance(),
    )
    return volume, plan


def find_anatomy(
    volume: Volume, anatomy_file: Path | None = None, progress: Progress | None = None
) -> Anatomy:
    """Find the bones in a CT, or take them from a label map of the user's.

    Raises UntrustedAnatomyError, or UnsuitableCtError where the label map does not fit the CT.
    """
    if anatomy_file is None:
        found = segmentation.segment(volume, progress)
        return anatomy_stage.derive_anatomy(
            found.labels,
            found.grid,
            source=found.source,
            confidences=found.confidences,
            warnings=found.warnings,
        )
    return provided_anatomy(fit_to_volume(read_labels(anatomy_file), volume), volume)


def provided_anatomy(labels: LabelMap, volume: Volume) -> Anatomy:
    """Derive the anatomy from a label map; segments that it lacks are found in the CT."""
    if labels.names >= NEEDED:
        return anatomy_stage.derive_anatomy(
            labels.labels, labels.grid, source=labels.source, warnings=labels.warnings
        )
    found = segmentation.complete_labels(labels.labels, labels.grid, volume)
    return anatomy_stage.derive_anatomy(
        found.labels,
        found.grid,
        source=labels.source,
        confidences=found.confidences,
        warnings=(*labels.warnings, *found.warnings),
    )


def check_confidence(anatomy: Anatomy, configuration: Configuration) -> None:
    """Refuse an anatomy below the configuration's floor (UntrustedAnatomyError)."""
    if anatomy.confidence >= configuration.confidence_floor:
        return
    weakest = sorted(anatomy.confidences.items(), key=lambda item: (item[1], item[0]))[:4]
    detail = ", ".join(f"{name} {value:.2f}" for name, value in weakest)
    raise UntrustedAnatomyError(
        f"the anatomy found in the CT has a confidence of {anatomy.confidence:.2f}, expected at "
        f"least {configuration.confidence_floor:.2f}"
        + (f"; weakest: {detail}" if detail else "")
        + (f". Noted: {' '.join(anatomy.warnings[:1])}" if anatomy.warnings else "")
        + " Check the CT (`planner inspect`), or give a corrected label map with --anatomy."
    )


@dataclass(frozen=True, eq=False)
class NeedleReport:
    """One needle of the user's own, measured on an existing plan's anatomy.

    scored: its warnings name every hard limit that it breaks.
    notes: what was assumed or could not be known.
    """

    scored: ScoredTrajectory
    notes: tuple[str, ...]


def score_needle(
    folder: Path,
    entry: ArrayLike,
    tip: ArrayLike,
    *,
    gauge: str | None = None,
    ct: Path | None = None,
) -> NeedleReport:
    """Measure a needle of the user's own on the anatomy of a plan folder.

    entry, tip: (3,) patient LPS, mm. gauge: None for the plan's own. ct: the plan's CT; without it
    the skin and the grey values are unknown.
    Raises ConfigurationError for a needle that never enters the sacrum.
    """
    document = read_plan(folder)
    configuration = Configuration.from_mapping(document.config)
    if gauge is not None:
        configuration = Configuration.from_mapping({**document.config, "needle": gauge})
    anatomy = saved_anatomy(folder, document)
    volume = _same_ct(ct, document)
    path, notes = own_needle(anatomy, volume, entry, tip, configuration.needle)
    if volume is not None:
        return NeedleReport(scoring.measure(path, anatomy, volume, configuration), notes)
    scored = scoring.measure(path, anatomy, _without_ct(anatomy), configuration)
    return NeedleReport(_without_skin(scored), (*notes, NO_CT))


def saved_anatomy(folder: Path, document: PlanDocument) -> Anatomy:
    """Derive the anatomy of a plan folder again from its label map."""
    labels = read_segmentation(Path(folder) / segmentation_nrrd.FILE_NAME)
    return anatomy_stage.derive_anatomy(
        labels.labels,
        labels.grid,
        source=document.anatomy.source,
        confidences=dict(document.anatomy.confidences),
    )


def own_needle(
    anatomy: Anatomy, volume: Volume | None, entry: ArrayLike, tip: ArrayLike, gauge: str
) -> tuple[Trajectory, tuple[str, ...]]:
    """Make a trajectory of two points: where it enters bone, and which technique it is most like.

    A point within ENTRY_TOLERANCE_MM of the bone's surface is taken as the bone entry itself, so
    that a plan's own needle is measured as it was. Raises ConfigurationError where the line never
    meets the sacrum.
    """
    start, end = np.asarray(entry, float), np.asarray(tip, float)
    length = float(np.linalg.norm(end - start))
    if length < 1.0:
        raise ConfigurationError("entry and tip are less than 1 mm apart; a needle has a length.")
    along = (end - start) / length
    solid = clearance_fields(anatomy).solid
    depths = np.arange(-LOOK_BACK_MM, length, 0.1)
    inside = solid.at(start + depths[:, None] * along) < 0
    if not inside[depths >= 0].any():
        raise ConfigurationError(
            "the line from entry to tip never meets the sacrum. Points are patient LPS in mm, as "
            "in plan.json."
        )
    bone = start
    notes: tuple[str, ...] = ()
    if abs(float(solid.at(start))) > ENTRY_TOLERANCE_MM:
        first = _first_inside(inside, depths)
        bone = start + first * along
        notes = (f"the bone is entered {abs(first):.1f} mm {_beyond(first)} the point given.",)
    skin = bone
    if volume is not None:
        skin = way_out(body_of(volume), bone[None], along[None], SKIN_REACH_MM).skin[0]
    side: Side = "left" if anatomy.frame.to_sacrum(bone)[0] >= 0 else "right"
    technique, level = _most_like(anatomy, side, bone, end)
    return Trajectory(technique, side, level, skin, bone, end, Needle(gauge)), notes


def _first_inside(inside: NDArray[np.bool_], depths: Float) -> float:
    """Depth at which the stretch of bone at or after the point given begins."""
    here = int(np.argmax(depths >= 0))
    if not inside[here]:
        return float(depths[here + int(np.argmax(inside[here:]))])
    outside = np.flatnonzero(~inside[:here])
    return float(depths[outside[-1] + 1]) if len(outside) else float(depths[0])


def _beyond(depth: float) -> str:
    return "beyond" if depth > 0 else "before"


def _most_like(anatomy: Anatomy, side: Side, entry: Float, tip: Float) -> tuple[Technique, str]:
    """Name the technique by inclination and level of the entry, as the techniques' windows do."""
    pose = poses(anatomy, side_landmarks(anatomy, side), entry[None], tip[None])
    level = float(pose.level[0])
    if abs(float(pose.inclination_deg[0])) <= SHORT_AXIS_DEG:
        return Technique.SHORT_AXIS, "S1" if level < 1.3 else "S2"
    if level < 2.25:
        return Technique.S2_ENTRY, "S2"
    if level < 2.75:
        return Technique.S2_S3_ENTRY, "S2/S3"
    return Technique.LONG_AXIS, "S3"


def _same_ct(ct: Path | None, document: PlanDocument) -> Volume | None:
    if ct is None:
        return None
    volume = reading.read_ct(ct, series=document.ct.series_instance_uid or None)
    if volume.source.sha256 != document.ct.sha256:
        raise ConfigurationError(
            f"{ct} is not the CT of this plan: its voxels differ (sha256 "
            f"{volume.source.sha256[:12]}… against {document.ct.sha256[:12]}…)."
        )
    return volume


def _without_ct(anatomy: Anatomy) -> Volume:
    """A stand-in for the CT where only the anatomy is at hand: bone and soft tissue, no texture."""
    values = np.full(anatomy.grid.shape, STAND_IN_AIR_HU, np.int16)
    inner = (slice(1, -1),) * 3
    values[inner] = np.where(anatomy.labels[inner] > 0, STAND_IN_BONE_HU, STAND_IN_SOFT_HU)
    return Volume(values, anatomy.grid, CtSource("stand-in", sha256=""))


def _without_skin(scored: ScoredTrajectory) -> ScoredTrajectory:
    """Leave out everything that only a CT can tell."""
    criteria = tuple(item for item in scored.criteria if item.name not in FROM_CT)
    return replace(
        scored,
        trajectory=replace(scored.trajectory, skin_entry=scored.trajectory.bone_entry),
        criteria=criteria,
        score=weighted_mean(criteria),
        measures={name: v for name, v in scored.measures.items() if name not in FROM_CT},
        warnings=tuple(w for w in scored.warnings if w.partition(":")[0] not in FROM_CT),
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
