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

from planner import scoring
from planner.errors import ConfigurationError
from planner.export.plan_document import PlanDocument, TrajectoryObject
from planner.export.plan_json import point_mm, rounded, trajectory_values
from planner.export.plan_reading import scored_of
from planner.export.revision import Saved, revised, save_revision
from planner.pipeline import NO_CT, OpenPlan
from planner.review.journal import Journal
from planner.review.state import (
    LONGEST_TEXT,
    PLAN,
    Change,
    History,
    Point,
    ReviewedPath,
    State,
    Verdict,
)
from planner.scoring import BREAKS

IN_REVIEW = "review: "
"""How warnings of the plan begin that a review brought; each revision brings its own."""

Clock = Callable[[], str]


def now() -> str:
    """Time of day as plan.json writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class Measured:
    """A needle's figures as plan.json words them, and what was assumed."""

    values: dict[str, Any]
    notes: tuple[str, ...] = ()


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
        if ends not in self._known:
            report = self.opened.measure(*ends)
            known = self.opened.volume is not None
            values = trajectory_values(report.scored, report.guidance if known else None)
            if not known:
                values["measures"]["skin_in_view"] = 0.0
                values["warnings"] = [*values["warnings"], NO_CT]
            plain = _plain(TrajectoryObject.model_validate(values))
            self._known[ends] = Measured(plain, report.notes)
            if len(self._known) > 200:
                self._known.pop(next(iter(self._known)))
        return self._known[ends]

    def figures(self, name: str) -> Measured:
        """Figures of a path: the plan's own where it was not moved, else measured."""
        return self.figures_of(self.state.path(name), self._rank(name))

    def figures_of(self, path: ReviewedPath, rank: int) -> Measured:
        """Figures of a path of some state; rank: its place there, counted from 1."""
        name = path.id
        saved = self._saved(name)
        if saved is not None and _ends(saved) == (path.entry, path.tip):
            return Measured(_plain(saved))
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
        if name == PLAN:
            if note != self.state.note:
                self._make(Change(self._clock(), "note", PLAN, self.state.note, _text(note)))
            return
        path = self._open_path(name)
        if note != path.note:
            self._commit("note", path, replace(path, note=_text(note)))

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

    def undo(self) -> None:
        """Take the last change back."""
        self.history.undo(self._clock(), self._journal.add)

    def redo(self) -> None:
        """Make the change again that was taken back last."""
        self.history.redo(self._clock(), self._journal.add)

    def save(self, signed: str = "") -> Saved:
        """Save a revision of plan.json; signed: the name of who signs it, empty for nobody."""
        document = self._revision(signed)
        saved = save_revision(self.folder, document, self._base)
        self._base, self.document = saved.sha256, document
        self.opened = replace(self.opened, document=document, plan_sha256=saved.sha256)
        self.history = History(state_of(document))
        self._known.clear()
        self._journal.clear(saved.sha256)
        return saved

    def _revision(self, signed: str) -> PlanDocument:
        moment, number = self._clock(), self.revision + 1
        trajectories = [self._trajectory(path) for path in self.state.paths]
        kept = [v for v in trajectories if v["review"]["verdict"] != "rejected"]
        items = tuple(scored_of(TrajectoryObject.model_validate(v)) for v in kept)
        configuration, frame = self.opened.configuration, self.opened.anatomy.frame
        pairs = [rounded(asdict(p)) for p in scoring.find_pairs(items, frame, configuration)]
        past = [] if self.document.review is None else self.document.review.changes
        changes = [change.model_dump(mode="json") for change in past]
        changes += [{"revision": number, **asdict(change)} for change in self.history.changes]
        review: dict[str, Any] = {
            "revision": number,
            "saved": moment,
            "before_sha256": self._base,
            "note": self.state.note,
            "changes": changes,
        }
        if signed.strip():
            review["signed"] = {"name": _text(signed), "time": moment}
        warnings = [w for w in self.document.warnings if not w.startswith(IN_REVIEW)]
        warnings += [line for values in kept for line in broken_lines(values)]
        return revised(self.document, trajectories, pairs, review, warnings)

    def _trajectory(self, path: ReviewedPath) -> dict[str, Any]:
        figures = dict(self.figures(path.id).values)
        figures["rank"] = self._rank(path.id)
        figures["review"] = {
            "verdict": path.verdict,
            "origin": path.origin,
            "reason": path.reason,
            "note": path.note,
            "locked": path.locked,
        }
        if path.origin == "changed" and path.planned is not None:
            entry, tip = path.planned
            figures["review"]["planned"] = {"bone_entry_mm": list(entry), "tip_mm": list(tip)}
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


def broken_lines(values: dict[str, Any]) -> list[str]:
    """Say which hard limits a changed or added path breaks; the planner's own keep them all."""
    if values["review"]["origin"] == "planned":
        return []
    lines = [line for line in values["warnings"] if BREAKS in line]
    return [f"{IN_REVIEW}{values['id']} breaks a hard limit: {line}" for line in lines]


def state_of(document: PlanDocument) -> State:
    """Return the state that a document holds."""
    paths = []
    for item in document.trajectories:
        entry, tip = _ends(item)
        review = item.review
        if review is None:
            paths.append(ReviewedPath(item.id, entry, tip, (entry, tip)))
            continue
        planned: tuple[Point, Point] | None = (entry, tip)
        if review.planned is not None:
            planned = (review.planned.bone_entry_mm, review.planned.tip_mm)
        if review.origin == "added":
            planned = None
        said = (review.verdict, review.reason, review.note, review.locked)
        paths.append(ReviewedPath(item.id, entry, tip, planned, *said))
    return State(tuple(paths), "" if document.review is None else document.review.note)


def _plain(item: TrajectoryObject) -> dict[str, Any]:
    """The figures of a path as JSON holds them, without what a reviewer said."""
    return item.model_dump(mode="json", exclude_none=True, exclude={"review"})


def _ends(item: TrajectoryObject) -> tuple[Point, Point]:
    return item.bone_entry_mm, item.tip_mm


def _point(values: Any) -> Point:
    x, y, z = point_mm(values)
    return (x, y, z)


def _text(text: str) -> str:
    if len(text) > LONGEST_TEXT:
        raise ConfigurationError(
            f"a text of {len(text)} letters is longer than the {LONGEST_TEXT} that are kept."
        )
    return text.strip()
