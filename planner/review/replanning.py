"""Planning again on an anatomy that a reviewer corrected.

Paths that the reviewer judged, moved, locked, noted or added are carried over, measured on the new
anatomy, behind the paths that the planner proposes on it; their ids say that they were planned
before. The folder as it was is kept under `revisions/`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner import scoring
from planner.anatomy import derive_anatomy
from planner.anatomy.corrections import Correction, MarkBall, MoveChannel, corrected
from planner.errors import ConfigurationError
from planner.export.plan_document import PlanDocument
from planner.export.plan_json import plan_document
from planner.export.revision import revised
from planner.model.anatomy import Anatomy
from planner.model.plan import Plan
from planner.model.trajectory import ScoredTrajectory, Technique
from planner.pipeline import NeedleReport, OpenPlan, plan_again
from planner.review.said import IN_REVIEW, broken_lines, ends_of, plain_figures, said_of
from planner.review.state import ANATOMY, Change, ReviewedPath, State

Progress = Callable[[str, float], None]
CARRIED = "before-"
"""How ids of carried paths begin: without it they would name other paths than before."""
CORRECTED = "corrected by a reviewer"
LEAST_DOUBT = 1e-6  # what is certainly wrong is not made certain by a division
BEFORE = "before the correction: "


def correction_of(values: Mapping[str, Any]) -> Correction:
    """Make a correction of what a change holds; raises ConfigurationError for what cannot be."""
    try:
        if "segment" in values:
            return MoveChannel(str(values["segment"]), tuple(values["by_mm"]))
        centre = tuple(values["centre_mm"])
        return MarkBall(centre, float(values["radius_mm"]), bool(values["bone"]))
    except ValueError as error:
        raise ConfigurationError(f"{error}.") from error


def correction_words(values: Mapping[str, Any]) -> str:
    """Say in words what a correction does."""
    if "segment" in values:
        far = float(np.linalg.norm(values["by_mm"]))
        return f"{str(values['segment']).replace('_', ' ')} moved by {far:.1f} mm"
    place = ", ".join(f"{x:.0f}" for x in values["centre_mm"])
    kind = "bone" if values["bone"] else "not bone"
    return f"a ball of {values['radius_mm']:g} mm at ({place}) is {kind}"


def corrected_labels(
    opened: OpenPlan, corrections: Sequence[Mapping[str, Any]]
) -> NDArray[np.uint8]:
    """Apply corrections to a plan's label map; raises ConfigurationError for what cannot be."""
    anatomy, given = opened.anatomy, [correction_of(values) for values in corrections]
    try:
        return corrected(anatomy.labels, anatomy.grid, given, anatomy.frame.axes[:, 0])
    except ValueError as error:
        raise ConfigurationError(f"{error}.") from error


def corrected_anatomy(opened: OpenPlan, corrections: Sequence[Mapping[str, Any]]) -> Anatomy:
    """Derive the anatomy anew from corrected labels; what a person put there counts as certain.

    Doubts that rested on the labels before are taken off what was stated: they arise anew where
    they still hold. Raises UntrustedAnatomyError and ConfigurationError where the result is no
    sacrum any more.
    """
    anatomy, stated = opened.anatomy, opened.document.anatomy
    labels = corrected_labels(opened, corrections)
    doubted = derive_anatomy(anatomy.labels, anatomy.grid, source=stated.source).confidences
    confidences = {
        name: min(value / max(doubted.get(name, 1.0), LEAST_DOUBT), 1.0)
        for name, value in stated.confidences.items()
    }
    confidences |= {each["segment"]: 1.0 for each in corrections if "segment" in each}
    words = "; ".join(correction_words(values) for values in corrections)
    return derive_anatomy(
        labels,
        anatomy.grid,
        source=stated.source,
        confidences=confidences,
        warnings=(f"the anatomy was {CORRECTED}: {words}.",),
    )


@dataclass(frozen=True)
class Again:
    """A new plan on a corrected anatomy.

    reviews: of the paths that were carried over, by their new id. names: their ids before, to those
    they have now. warnings: of the plan before.
    """

    opened: OpenPlan
    plan: Plan
    reviews: dict[str, ReviewedPath]
    names: dict[str, str]
    warnings: tuple[str, ...]

    def change(self, time: str, state: State) -> Change:
        """What the trail tells of it: ids before it name other paths than ids after it."""
        corrections = [dict(each) for each in state.corrections]
        return Change(time, "planned again", ANATOMY, corrections, dict(self.names))

    def document(self, review: dict[str, Any]) -> PlanDocument:
        """Make the plan.json of it; review: what it says of the whole review."""
        plan = plan_document(self.plan)
        fresh = {
            item.id: ReviewedPath(item.id, *ends_of(item), ends_of(item))
            for item in plan.trajectories
        }
        values = [
            plain_figures(item) | {"review": said_of(self.reviews.get(item.id, fresh[item.id]))}
            for item in plan.trajectories
        ]
        kept = [each for each in values if each["review"]["verdict"] != "rejected"]
        broken = [line for each in kept for line in broken_lines(each)]
        warnings = [*plan.warnings, *self._before(plan.warnings), *broken]
        pairs = [pair.model_dump(mode="json") for pair in plan.pairs]
        return revised(plan, values, pairs, review, warnings)

    def _before(self, now: Sequence[str]) -> list[str]:
        """What was warned of before and is not now; it may have been mended, or only forgotten."""
        left = [w for w in self.warnings if w not in now and not w.startswith(IN_REVIEW)]
        return [w if CORRECTED in w or w.startswith(BEFORE) else f"{BEFORE}{w}" for w in left]


def plan_corrected(opened: OpenPlan, state: State, progress: Progress | None = None) -> Again:
    """Plan again on the corrections of a state; raises as `plan_again` does."""
    anatomy = corrected_anatomy(opened, state.corrections)
    plan = plan_again(opened, anatomy, progress=progress)
    there = replace(
        opened,
        anatomy=plan.anatomy,
        document=plan_document(plan),
        guide=scoring.set_up(anatomy, opened.ground.grid, opened.configuration),
    )
    taken = {item.id for item in plan.trajectories} | {path.id for path in state.paths}
    items: list[ScoredTrajectory] = list(plan.trajectories)
    guidance, reviews, names = dict(plan.guidance), {}, {}
    for path in state.paths:
        if path.origin == "planned" and path.verdict == "open" and not (path.locked or path.note):
            continue
        own = path.origin == "added" or path.id.startswith(CARRIED)
        name = path.id if own else _free(path.id, taken)
        found = _measured(there, opened, path)
        items.append(replace(found.scored, id=name, rank=len(items) + 1))
        guidance[name] = found.guidance
        reviews[name] = replace(path, id=name)
        if path.verdict == "accepted":  # on another anatomy; what was rejected stays so
            reviews[name] = replace(path, id=name, verdict="open", reason="")
        names[path.id] = name
    chosen = tuple(item for item in items if not _is_rejected(reviews.get(item.id)))
    pairs = scoring.find_pairs(chosen, anatomy.frame, opened.configuration)
    whole = replace(plan, trajectories=tuple(items), guidance=guidance, pairs=pairs)
    return Again(there, whole, reviews, names, tuple(opened.document.warnings))


def _measured(there: OpenPlan, before: OpenPlan, path: ReviewedPath) -> NeedleReport:
    """Measure a path on the new anatomy, under the technique and level that it was planned with."""
    try:
        found = there.measure(path.entry, path.tip)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"{path.id} cannot be carried over to the corrected anatomy: {error} Remove it, put it "
            "back as planned, or move it, and plan again."
        ) from error
    was = next((item for item in before.document.trajectories if item.id == path.id), None)
    if was is None or ends_of(was) != (path.entry, path.tip):
        return found
    named = replace(found.scored.trajectory, technique=Technique(was.technique), level=was.level)
    return replace(found, scored=replace(found.scored, trajectory=named))


def _free(name: str, taken: set[str]) -> str:
    """Make an id that tells that its path was planned before, and that nothing else has."""
    found = f"{CARRIED}{name}"
    for number in count(2):
        if found not in taken:
            break
        found = f"{CARRIED}{name}-{number}"
    taken.add(found)
    return found


def _is_rejected(path: ReviewedPath | None) -> bool:
    return path is not None and path.verdict == "rejected"
