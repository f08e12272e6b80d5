"""A needle of the user's own, measured on the anatomy of a plan that exists."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from planner import anatomy as anatomy_stage
from planner import reading, scoring
from planner.anatomy.body import body_of, way_out
from planner.anatomy.fields import clearance_fields
from planner.anatomy.levels import side_landmarks
from planner.anatomy.needles import poses
from planner.candidates import WINDOWS
from planner.errors import ConfigurationError
from planner.export import entry_map, segmentation_nrrd
from planner.export.plan_document import PlanDocument
from planner.export.plan_json import read_plan_and_hash
from planner.export.plan_reading import plan_of, read_entry_map
from planner.export.segmentation_nrrd import read_segmentation
from planner.geometry.grid import Float
from planner.model.anatomy import CHANNELS, LABELS, Anatomy, Side
from planner.model.configuration import Configuration
from planner.model.guidance import Guidance
from planner.model.plan import Plan
from planner.model.trajectory import Needle, ScoredTrajectory, Technique, Trajectory
from planner.model.volume import CtSource, Volume
from planner.reading.fingerprint import fingerprint
from planner.scoring.criteria import weighted_mean
from planner.scoring.guidance import SetUp
from planner.scoring.report import NEEDLE_SHORT, SKIN_HIDDEN

NO_CT = (
    "without the CT the skin and the grey values are unknown; they are left out, also of the score."
)
LOOK_BACK_MM = 100.0
ENTRY_TOLERANCE_MM = 2.0
SKIN_REACH_MM = 300.0
SAME_MM = 2e-3
LONGEST_MM = 400.0
SHORT_AXIS_DEG = 20.0  # between the short axis (up to 10 degrees) and the S2 entry (from 25)
STAND_IN_BONE_HU, STAND_IN_SOFT_HU, STAND_IN_AIR_HU = 300, 40, -1000
# Criteria, measures and limits that rest on the CT and not on the anatomy.
FROM_CT = frozenset(
    {
        "skin_length",
        "in_plane",
        "axial_tilt_deg",
        "soft_tissue_mm",
        "mean_hu",
        "skin_in_view",
        "bone_along_path",
        "skin_to_tip",
        "single_skin_crossing",
    }
)


@dataclass(frozen=True, eq=False)
class NeedleReport:
    """One needle of the user's own, measured on an existing plan's anatomy.

    scored: its warnings name every hard limit that it breaks. guidance: its set-up; where the CT
    was not given, the skin's figures in it mean nothing. notes: what was assumed or could not be
    known.
    """

    scored: ScoredTrajectory
    guidance: Guidance
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class OpenPlan:
    """A plan folder opened to measure needles on; everything that takes long is done once.

    volume: the plan's CT, or None; then the skin and the grey values are unknown. ground: what is
    measured on, the CT or a stand-in. target: (T, 3) points the plan was made to reach, or None.
    plan_sha256: of the bytes of plan.json that document was read from.
    """

    document: PlanDocument
    configuration: Configuration
    anatomy: Anatomy
    volume: Volume | None
    ground: Volume
    target: Float | None
    guide: SetUp
    plan_sha256: str

    @classmethod
    def of(cls, folder: Path, *, gauge: str | None = None, ct: Path | None = None) -> Self:
        """Open a plan folder; gauge: None for the plan's own; ct: the plan's CT.

        Raises ConfigurationError where the folder is no plan's or the CT is another.
        """
        document, plan_sha256 = read_plan_and_hash(folder)
        values = document.config if gauge is None else {**document.config, "needle": gauge}
        configuration = Configuration.from_mapping(values)
        anatomy = saved_anatomy(folder, document)
        volume = _same_ct(ct, document)
        target = None if document.target is None else np.array(document.target.points_mm, float)
        ground = _without_ct(anatomy) if volume is None else volume
        guide = scoring.set_up(anatomy, ground.grid, configuration)
        return cls(document, configuration, anatomy, volume, ground, target, guide, plan_sha256)

    def plan(self, folder: Path) -> Plan:
        """Return the plan that was saved; folder: where it lies."""
        grid = self.anatomy.grid if self.volume is None else self.volume.grid
        entries = read_entry_map(Path(folder) / entry_map.MESH_FILE)
        return plan_of(self.document, self.anatomy, grid, entries)

    def measure(self, entry: ArrayLike, tip: ArrayLike) -> NeedleReport:
        """Measure a needle of the user's own; entry, tip: (3,) patient LPS, mm.

        Raises ConfigurationError for a needle that never enters the sacrum.
        """
        path, notes = own_needle(self.anatomy, self.volume, entry, tip, self.configuration.needle)
        path = self._as_planned(path)
        scored = scoring.measure(path, self.anatomy, self.ground, self.configuration, self.target)
        guidance = self.guide.of(scored)
        if self.volume is not None:
            return NeedleReport(scored, guidance, notes)
        return NeedleReport(_without_skin(scored), guidance, (*notes, NO_CT))

    def _as_planned(self, path: Trajectory) -> Trajectory:
        """Give one of the plan's own needles its name back: two techniques' windows overlap."""
        for item in self.document.trajectories:
            theirs, mine = (item.bone_entry_mm, item.tip_mm), (path.bone_entry, path.tip)
            if np.allclose(theirs, mine, rtol=0, atol=SAME_MM):
                return replace(path, technique=Technique(item.technique), level=item.level)
        return path


def score_needle(
    folder: Path,
    entry: ArrayLike,
    tip: ArrayLike,
    *,
    gauge: str | None = None,
    ct: Path | None = None,
) -> NeedleReport:
    """Measure one needle on a plan folder: `OpenPlan.of(...).measure(...)`, see there."""
    return OpenPlan.of(folder, gauge=gauge, ct=ct).measure(entry, tip)


def saved_anatomy(folder: Path, document: PlanDocument) -> Anatomy:
    """Derive the anatomy of a plan folder again from its label map, as sure of it as the plan was.

    Raises ConfigurationError where the label map is not the one that the plan was made on.
    """
    path, stated = Path(folder) / segmentation_nrrd.FILE_NAME, document.anatomy
    labels = read_segmentation(path)
    if stated.labels_sha256 not in ("", fingerprint(labels.labels, labels.grid)):
        raise ConfigurationError(
            f"{path} is not the label map that the plan beside it was made on: it was edited, or "
            "writing was interrupted. Plan on it anew with --anatomy, or put back the label map of "
            "the plan; what a review replaced lies under revisions/."
        )
    anatomy = anatomy_stage.derive_anatomy(labels.labels, labels.grid, source=stated.source)
    # The doubts that the labels raise are in the plan's confidences already.
    sure = anatomy.confidences | stated.confidences
    return replace(
        anatomy,
        confidence=stated.confidence,
        confidences=sure,
        foramina=tuple(replace(item, confidence=sure[item.name]) for item in anatomy.foramina),
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
    if length > LONGEST_MM:
        raise ConfigurationError(
            f"entry and tip are {length:.0f} mm apart; no needle is so long ({LONGEST_MM:.0f} mm)."
        )
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
    """Name the technique by inclination and level of the entry, as the techniques' windows do.

    Where two windows hold an entry, the one that begins higher is named.
    """
    pose = poses(anatomy, side_landmarks(anatomy, side), entry[None], tip[None])
    level = float(pose.level[0])
    short = abs(float(pose.inclination_deg[0])) <= SHORT_AXIS_DEG
    windows = [
        window
        for technique, each in WINDOWS.items()
        for window in each
        if (technique is Technique.SHORT_AXIS) == short
    ]
    windows.sort(key=lambda window: window.levels[0])
    found = next((window for window in windows if level < window.levels[1]), windows[-1])
    return found.technique, found.level_name


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
    labels = anatomy.labels[inner]
    bone = (labels > 0) & ~np.isin(labels, [LABELS[name] for name in CHANNELS])
    values[inner] = np.where(bone, STAND_IN_BONE_HU, STAND_IN_SOFT_HU)
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
        warnings=tuple(
            w
            for w in scored.warnings
            if w.partition(":")[0] not in FROM_CT and not w.startswith((SKIN_HIDDEN, NEEDLE_SHORT))
        ),
    )
