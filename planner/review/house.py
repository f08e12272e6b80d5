"""What all open pages of one review share, and which of them may write.

One page holds the pen. A second one is shown everything, told so, and may take the pen over; the
first is told then. So two pages never overwrite each other in silence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from planner.export.overview.slices import cut_masks
from planner.export.plan_document import TrajectoryObject
from planner.export.plan_reading import scored_of
from planner.export.report import FILE_NAME, write_report
from planner.export.report.space import Space, build_space
from planner.review.session import Session
from planner.review.state import State

Told = Callable[[], None]


@dataclass(eq=False)
class House:
    """A session and the pages that show it; told: what each page calls when something changed."""

    session: Session
    pen: str = ""
    told: dict[str, Told] = field(default_factory=dict)
    _ordered: dict[int, State] = field(default_factory=dict)
    _orders: int = 0

    def enter(self, page: str, told: Told) -> None:
        """Let a page in; the first gets the pen."""
        self.told[page] = told
        if not self.pen:
            self.pen = page

    def leave(self, page: str) -> None:
        """A page is gone; its pen goes to the one that came last, such as itself loaded again."""
        self.told.pop(page, None)
        if self.pen == page:
            self.pen = next(reversed(self.told), "")
            self.tell()

    def take_pen(self, page: str) -> None:
        """Give a page the pen, whoever held it."""
        self.pen = page
        self.tell()

    def may_write(self, page: str) -> bool:
        """Whether a page holds the pen."""
        return self.pen == page

    def tell(self, but: str = "") -> None:
        """Have every page show what is now."""
        for page, told in list(self.told.items()):
            if page != but:
                told()

    def order_space(self) -> int:
        """Note the state that a scene is wanted of; returns the number to fetch it by."""
        self._ordered = {self._orders: self.session.state}
        self._orders += 1
        return self._orders - 1

    def space(self, number: int) -> Space | None:
        """Make an ordered scene, whatever has happened since; None where another was ordered."""
        state = self._ordered.get(number)
        if state is None:
            return None
        opened = self.session.opened
        items = [
            scored_of(TrajectoryObject.model_validate(self.session.figures_of(path, rank).values))
            for rank, path in enumerate(state.paths, 1)
        ]
        masks = cut_masks(opened.anatomy.labels, opened.anatomy.grid)
        gone = {path.id for path in state.paths if path.verdict == "rejected"}
        ground = opened.ground
        return build_space(items, opened.anatomy, ground, masks, stills=False, rejected=gone)

    def report(self, progress: Callable[[float], Any] | None = None) -> Path:
        """Make the report of the saved revision again; returns its file."""
        from planner.export.atomic import write_file

        opened, folder = self.session.opened, self.session.folder
        plan = opened.plan(folder)
        target = folder / FILE_NAME
        write_file(
            target,
            lambda path: write_report(
                plan,
                opened.ground,
                path,
                document=self.session.document,
                grey_values=opened.volume is not None,
                progress=progress,
            ),
        )
        return target
