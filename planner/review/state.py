"""What a reviewer has made of a plan: values that never change, and the changes between them.

No picture, no file and no measuring here. A state holds one entry per path; a change holds the
entry before and after, so that it can be undone, told and written down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self

from planner.errors import ConfigurationError

Point = tuple[float, float, float]
Verdict = Literal["open", "accepted", "rejected"]
PLAN = ""
"""The id that changes of the note on the whole plan carry."""
ANATOMY = "anatomy"
"""The id that corrections of the anatomy carry."""
LONGEST_TEXT = 4000
UNDO = "undo: "


@dataclass(frozen=True)
class ReviewedPath:
    """One needle under review.

    entry, tip: patient LPS, mm, as plan.json holds them. planned: the same before any review; None
    for a path that the reviewer added. reason: why it was rejected.
    """

    id: str
    entry: Point
    tip: Point
    planned: tuple[Point, Point] | None = None
    verdict: Verdict = "open"
    reason: str = ""
    note: str = ""
    locked: bool = False

    @property
    def origin(self) -> Literal["planned", "changed", "added"]:
        """Where its points come from."""
        if self.planned is None:
            return "added"
        return "planned" if (self.entry, self.tip) == self.planned else "changed"

    def values(self) -> dict[str, Any]:
        """Return it fit for JSON."""
        return asdict(self)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Make it of what `values` returned, JSON's lists for tuples."""
        known = dict(values)
        planned = known.get("planned")
        known["entry"], known["tip"] = tuple(known["entry"]), tuple(known["tip"])
        known["planned"] = None if planned is None else (tuple(planned[0]), tuple(planned[1]))
        return cls(**known)


@dataclass(frozen=True)
class Change:
    """One step: what was done to which path, when, and what stood there before and after.

    path: its id, or PLAN. before, after: the path's values, the note's text, or None where the path
    was not there.
    """

    time: str
    action: str
    path: str
    before: Any
    after: Any

    def inverse(self, time: str) -> Change:
        """Return the change that takes this one back."""
        return Change(time, f"{UNDO}{self.action}", self.path, self.after, self.before)


@dataclass(frozen=True)
class State:
    """All paths in the plan's order, added ones last; note: on the whole plan.

    corrections: of the anatomy, not planned on yet; each as `replanning.correction_of` takes it.
    """

    paths: tuple[ReviewedPath, ...]
    note: str = ""
    corrections: tuple[dict[str, Any], ...] = ()

    def path(self, name: str) -> ReviewedPath:
        """Return a path by its id; raises ConfigurationError where there is none."""
        for item in self.paths:
            if item.id == name:
                return item
        raise ConfigurationError(f"the plan has no path {name!r}.")

    def after(self, change: Change) -> State:
        """Return the state that a change leads to."""
        if change.path == PLAN:
            return replace(self, note=str(change.after))
        if change.path == ANATOMY:
            return replace(self, corrections=tuple(dict(each) for each in change.after))
        kept = tuple(item for item in self.paths if item.id != change.path)
        if change.after is None:
            return replace(self, paths=kept)
        path = ReviewedPath.of(change.after)
        if len(kept) == len(self.paths):
            added = [item for item in (*self.paths, path) if item.planned is None]
            planned = [item for item in self.paths if item.planned is not None]
            # By length first: own-2 before own-10, wherever an undone removal brings it back.
            added.sort(key=lambda item: (len(item.id), item.id))
            return replace(self, paths=(*planned, *added))
        paths = tuple(path if item.id == path.id else item for item in self.paths)
        return replace(self, paths=paths)


@dataclass
class History:
    """The state now, every change that led to it, and which of them can be undone or done again."""

    state: State
    changes: list[Change] = field(default_factory=list)
    _done: list[Change] = field(default_factory=list)
    _undone: list[Change] = field(default_factory=list)

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to take back."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """Whether there is a change that was taken back."""
        return bool(self._undone)

    def add(self, change: Change) -> None:
        """Make a change."""
        self._apply(change)
        self._done.append(change)
        self._undone.clear()

    def undo(self, time: str, write: Callable[[Change], None]) -> None:
        """Take the last change back; the trail keeps both. write: called before it counts."""
        if not self._done:
            raise ConfigurationError("there is nothing to undo.")
        back = self._done[-1].inverse(time)
        write(back)
        self._apply(back)
        self._undone.append(self._done.pop())

    def redo(self, time: str, write: Callable[[Change], None]) -> None:
        """Make the change again that was taken back last. write: called before it counts."""
        if not self._undone:
            raise ConfigurationError("there is nothing to do again.")
        again = replace(self._undone[-1], time=time)
        write(again)
        self._apply(again)
        self._undone.pop()
        self._done.append(again)

    def replay(self, change: Change) -> None:
        """Make a change that a journal tells of; what could be undone then can be undone now."""
        self._apply(change)
        if change.action.startswith(UNDO) and self._done:
            self._undone.append(self._done.pop())
            return
        if self._undone and _same_step(self._undone[-1], change):
            self._undone.pop()
        else:
            self._undone.clear()
        self._done.append(change)

    def _apply(self, change: Change) -> None:
        self.state = self.state.after(change)
        self.changes.append(change)


def _same_step(one: Change, other: Change) -> bool:
    return replace(one, time=other.time) == other
