"""A review of one plan: what may be done, what it measures, what is kept.

The session knows no browser. Every figure comes from `OpenPlan.measure`, the same that
`planner score` prints; every change is on disk before it counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np

from planner import scoring
from planner.errors import ConfigurationError
from planner.export.plan_document import PlanDocument, TrajectoryObject
from planner.export.plan_folder import write_plan
from planner.export.plan_json import point_mm, rounded, trajectory_values
from planner.export.plan_reading import scored_of
from planner.export.revision import (
    Saved,
    check_base,
    keep,
    keep_anatomy,
    plan_hash,
    revised,
    save_revision,
)
from planner.pipeline import NO_CT, OpenPlan
from planner.review.journal import Journal
from planner.review.replanning import (
    Progress,
    corrected_labels,
    correction_of,
    correction_words,
    plan_corrected,
)
from planner.review.said import (
    IN_REVIEW,
    broken_lines,
    ends_of,
    plain_figures,
    said_of,
    state_of,
)
from planner.review.state import (
    ANATOMY,
    LONGEST_TEXT,
    PLAN,
    Change,
    History,
    Point,
    ReviewedPath,
    State,
    Verdict,
)

REMEMBERED = 200
"""Needles measured before that are not measured again: more than a plan holds."""

Clock = Callable[[], str]


def now() -> str:
    """Time of day as plan.json writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class Measured:
    """A needle's figures as plan.json words them, and what was assumed."""

    values: dict[str, Any]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Replanned:
    """A plan that was made again and lies in the folder."""

    saved: Saved
    document: PlanDocument
    opened: OpenPlan


class Session:
    """A plan folder under review."""

    def __init__(self, opened: OpenPlan, folder: Path, clock: Clock = now) -> None:
        self.opened, self.folder, self._clock = opened, folder, clock
        self.document = opened.document
        if not self.document.trajectories:
            raise ConfigurationError(f"the plan in {folder} holds no path to review.")
        self._base = opened.plan_sha256
        self._journal = Journal(folder, self._base)
        self.history = History(state_of(self.document))
        self.messages: list[str] = []
        self._known: dict[tuple[Point, Point], Measured] = {}
        self._recover()

    @classmethod
    def open(cls, folder: Path, ct: Path | None = None) -> Self:
        """Open a plan folder; ct: the plan's CT. Raises as `OpenPlan.of` does."""
        return cls(OpenPlan.of(folder, ct=ct), folder)

    @property
    def state(self) -> State:
        """The paths as they are now."""
        return self.history.state

    @property
    def unsaved(self) -> int:
        """Number of changes that no revision holds yet."""
        return len(self.history.changes)

    @property
    def revision(self) -> int:
        """Number of the revision that is open; 0 for the planner's own."""
        return 0 if self.document.review is None else self.document.review.revision

    def measure(self, entry: Any, tip: Any) -> Measured:
        """Measure a needle between two points, patient LPS mm, taken to a micrometre."""
        ends = _point(entry), _point(tip)
        known = self._known
        opened = self.opened
        found = known.get(ends)
        if found is None:
            report = opened.measure(*ends)
            with_ct = opened.volume is not None
            values = trajectory_values(report.scored, report.guidance if with_ct else None)
            if not with_ct:
                values["measures"]["skin_in_view"] = 0.0
                values["warnings"] = [*values["warnings"], NO_CT]
            plain = plain_figures(TrajectoryObject.model_validate(values))
            found = known[ends] = Measured(plain, report.notes)
            if len(known) > REMEMBERED:  # a scene is made beside this, in another thread
                known.pop(next(iter(list(known))), None)
        return found

    def figures(self, name: str) -> Measured:
        """Figures of a path: the plan's own where it was not moved, else measured."""
        return self.figures_of(self.state.path(name), self._rank(name))

    def figures_of(self, path: ReviewedPath, rank: int) -> Measured:
        """Figures of a path of some state; rank: its place there, counted from 1."""
        name = path.id
        saved = self._saved(name)
        if saved is not None and ends_of(saved) == (path.entry, path.tip):
            return Measured(plain_figures(saved))
        found = self.measure(path.entry, path.tip)
        return Measured({**found.values, "id": name, "rank": rank}, found.notes)

    def move(self, name: str, entry: Any, tip: Any) -> None:
        """Move a needle; where its line meets the bone elsewhere, that point is its entry."""
        path = self._open_path(name)
        values = self.measure(entry, tip).values
        ends = _point(values["bone_entry_mm"]), _point(values["tip_mm"])
        if ends != (path.entry, path.tip):
            self._commit("move", path, _elsewhere(path, *ends))

    def reset(self, name: str) -> None:
        """Put a path back to where it was planned."""
        path = self._open_path(name)
        if path.planned is None:
            raise ConfigurationError(f"{name} was added in the review and has no planned place.")
        if path.origin == "changed":
            self._commit("put back", path, _elsewhere(path, *path.planned))

    def judge(self, name: str, verdict: Verdict, reason: str = "") -> None:
        """Accept a path, reject it with a reason, or open it again."""
        if verdict not in ("open", "accepted", "rejected"):
            raise ConfigurationError(f"a path is open, accepted or rejected, not {verdict!r}.")
        if verdict == "rejected" and not reason.strip():
            raise ConfigurationError("say why the path is rejected.")
        path = self._open_path(name)
        said = _text(reason) if verdict == "rejected" else ""
        action = {"open": "open again", "accepted": "accept", "rejected": "reject"}[verdict]
        self._commit(action, path, replace(path, verdict=verdict, reason=said))

    def annotate(self, name: str, note: str) -> None:
        """Write a note on a path, or on the whole plan where name is PLAN."""
        text = _text(note)
        if name == PLAN:
            if text != self.state.note:
                self._make(Change(self._clock(), "note", PLAN, self.state.note, text))
            return
        path = self._open_path(name)
        if text != path.note:
            self._commit("note", path, replace(path, note=text))

    def lock(self, name: str, locked: bool) -> None:
        """Lock a path against every change, or unlock it."""
        path = self.state.path(name)
        if path.locked != locked:
            self._commit("lock" if locked else "unlock", path, replace(path, locked=locked))

    def add(self, entry: Any, tip: Any) -> str:
        """Add a needle of the reviewer's own; returns its id."""
        values = self.measure(entry, tip).values
        taken = {path.id for path in self.state.paths}
        number = next(n for n in range(1, len(taken) + 2) if f"own-{n}" not in taken)
        path = ReviewedPath(
            f"own-{number}", _point(values["bone_entry_mm"]), _point(values["tip_mm"])
        )
        self._commit("add", None, path)
        return path.id

    def remove(self, name: str) -> None:
        """Take away a path that the reviewer added; planned ones are rejected instead."""
        path = self._open_path(name)
        if path.planned is not None:
            raise ConfigurationError(f"{name} was planned: reject it, with a reason.")
        self._commit("remove", path, None)

    def move_channel(self, segment: str, place: Any) -> None:
        """Correct the anatomy: put the centre of a foramen at a patient point, mm.

        Where it was moved already, this takes the place of that move.
        """
        found = next((f for f in self.opened.anatomy.foramina if f.name == segment), None)
        if found is None:
            raise ConfigurationError(f"the anatomy has no {segment.replace('_', ' ')}.")
        by = _point(np.asarray(place, float) - found.centre)
        others = [c for c in self.state.corrections if c.get("segment") != segment]
        self._correct({"segment": segment, "by_mm": list(by)}, others)

    def mark_ball(self, centre: Any, radius_mm: float, bone: bool) -> None:
        """Correct the anatomy: say of a ball about a patient point that it is bone, or is not."""
        values = {"centre_mm": list(_point(centre)), "radius_mm": radius_mm, "bone": bone}
        self._correct(values, list(self.state.corrections))

    def withdraw_corrections(self) -> None:
        """Take back every correction that was not planned on; what else was done stays."""
        if self.state.corrections:
            before = [dict(each) for each in self.state.corrections]
            self._make(Change(self._clock(), "withdraw the corrections", ANATOMY, before, []))

    def _correct(self, values: dict[str, Any], others: list[dict[str, Any]]) -> None:
        if self.opened.volume is None:
            raise ConfigurationError(
                "the anatomy is corrected to plan again on it, which needs the plan's CT. Open the "
                "review again with --ct."
            )
        correction_of(values)
        before = [dict(each) for each in self.state.corrections]
        after = [*(dict(each) for each in others), values]
        # What cannot be applied is refused here, and not after everything else was judged.
        corrected_labels(self.opened, after)
        action = f"correct: {correction_words(values)}"
        self._make(Change(self._clock(), action, ANATOMY, before, after))

    def replan(self, progress: Progress | None = None) -> Replanned:
        """Plan again on the corrected anatomy and save that as a revision, for `take_up`.

        Takes as long as planning does, and changes the folder alone, so that it may run beside
        what shows the session. Raises as `plan_again` does; nothing is changed then.
        """
        if not self.state.corrections:
            raise ConfigurationError("nothing of the anatomy was corrected.")
        check_base(self.folder, self._base)
        again = plan_corrected(self.opened, self.state, progress)
        document = again.document(self._review_values("", again.change(self._clock(), self.state)))
        before = check_base(self.folder, self._base)  # minutes have passed
        keep(self.folder, before, self.revision)
        keep_anatomy(self.folder, self.revision)
        write_plan(again.plan, self.opened.ground, self.folder, overwrite=True, document=document)
        return Replanned(Saved(self.revision + 1, plan_hash(self.folder)), document, again.opened)

    def take_up(self, replanned: Replanned) -> None:
        """Go on from a plan that was made again."""
        self._rest_on(replanned.document, replanned.saved, replanned.opened)

    def undo(self) -> None:
        """Take the last change back."""
        self.history.undo(self._clock(), self._journal.add)

    def redo(self) -> None:
        """Make the change again that was taken back last."""
        self.history.redo(self._clock(), self._journal.add)

    def save(self, signed: str = "") -> Saved:
        """Save a revision of plan.json; signed: the name of who signs it, empty for nobody."""
        if self.state.corrections:
            raise ConfigurationError(
                "the anatomy was corrected, and the plan rests on what it was before: plan again, "
                "or withdraw the corrections."
            )
        document = self._revision(signed)
        saved = save_revision(self.folder, document, self._base)
        self._rest_on(document, saved, self.opened)
        return saved

    def _rest_on(self, document: PlanDocument, saved: Saved, opened: OpenPlan) -> None:
        """Begin again on a revision that was saved."""
        self.opened = replace(opened, document=document, plan_sha256=saved.sha256)
        self._known = {}  # after what it is measured on: `measure` reads them the other way round
        self._base, self.document = saved.sha256, document
        self.history = History(state_of(document))
        self._journal.clear(saved.sha256)

    def _revision(self, signed: str) -> PlanDocument:
        trajectories = [self._trajectory(path) for path in self.state.paths]
        kept = [v for v in trajectories if v["review"]["verdict"] != "rejected"]
        items = tuple(scored_of(TrajectoryObject.model_validate(v)) for v in kept)
        configuration, frame = self.opened.configuration, self.opened.anatomy.frame
        pairs = [rounded(asdict(p)) for p in scoring.find_pairs(items, frame, configuration)]
        warnings = [w for w in self.document.warnings if not w.startswith(IN_REVIEW)]
        warnings += [line for values in kept for line in broken_lines(values)]
        review = self._review_values(signed)
        return revised(self.document, trajectories, pairs, review, warnings)

    def _review_values(self, signed: str, *more: Change) -> dict[str, Any]:
        """What a revision says of its review; more: changes that only the revision tells of."""
        moment, number = self._clock(), self.revision + 1
        past = [] if self.document.review is None else self.document.review.changes
        changes = [change.model_dump(mode="json") for change in past]
        changes += [
            {"revision": number, **asdict(change)} for change in (*self.history.changes, *more)
        ]
        review: dict[str, Any] = {
            "revision": number,
            "saved": moment,
            "before_sha256": self._base,
            "note": self.state.note,
            "changes": changes,
        }
        if signed.strip():
            review["signed"] = {"name": _text(signed), "time": moment}
        return review

    def _trajectory(self, path: ReviewedPath) -> dict[str, Any]:
        figures = dict(self.figures(path.id).values)
        figures["rank"] = self._rank(path.id)
        figures["review"] = said_of(path)
        return figures

    def _rank(self, name: str) -> int:
        return 1 + [path.id for path in self.state.paths].index(name)

    def _saved(self, name: str) -> TrajectoryObject | None:
        return next((item for item in self.document.trajectories if item.id == name), None)

    def _open_path(self, name: str) -> ReviewedPath:
        path = self.state.path(name)
        if path.locked:
            raise ConfigurationError(f"{name} is locked; unlock it first.")
        return path

    def _commit(self, action: str, before: ReviewedPath | None, after: ReviewedPath | None) -> None:
        name = (after or before or ReviewedPath("", (0, 0, 0), (0, 0, 0))).id
        old, new = (None if path is None else path.values() for path in (before, after))
        self._make(Change(self._clock(), action, name, old, new))

    def _make(self, change: Change) -> None:
        self._journal.add(change)
        self.history.add(change)

    def _recover(self) -> None:
        review = self.document.review
        saved_on = "" if review is None else review.before_sha256
        changes, told = self._journal.recover(self.state, saved_on)
        for change in changes:
            self.history.replay(change)
        if told:
            self.messages.append(told)


def _elsewhere(path: ReviewedPath, entry: Point, tip: Point) -> ReviewedPath:
    """A path at another place; what was judged of it there does not hold here."""
    return replace(path, entry=entry, tip=tip, verdict="open", reason="")


def _point(values: Any) -> Point:
    x, y, z = point_mm(values)
    return (x, y, z)


def _text(text: str) -> str:
    if len(text) > LONGEST_TEXT:
        raise ConfigurationError(
            f"a text of {len(text)} letters is longer than the {LONGEST_TEXT} that are kept."
        )
    return text.strip()
