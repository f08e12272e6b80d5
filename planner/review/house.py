"""What all open pages of one review share, and which of them may write.

One page holds the pen. A second one is shown everything, told so, and may take the pen over; the
first is told then. So two pages never overwrite each other in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from planner.export.atomic import write_file
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
    """A session and the pages that show it.

    pen: the page that may write. busy: what goes on that nobody may write beside, empty where
    nothing does. told: what each page calls when something changed.
    """

    session: Session
    pen: str = ""
    busy: str = ""
    told: dict[str, Told] = field(default_factory=dict)
    _ordered: dict[str, State] = field(default_factory=dict)

    def enter(self, page: str, told: Told) -> None:
        """Let a page in; the first gets the pen."""
        self.told[page] = told
        if not self.pen:
            self.pen = page

    def leave(self, page: str) -> None:
        """A page is gone; its pen goes to the one that came last, such as itself loaded again."""
        self.told.pop(page, None)
        self._ordered.pop(page, None)
        if self.pen == page:
            self.pen = next(reversed(self.told), "")
            self.tell()

    def take_pen(self, page: str) -> None:
        """Give a page the pen, whoever held it."""
        self.pen = page
        self.tell()

    def may_write(self, page: str) -> bool:
        """Whether a page holds the pen, and nothing that takes long goes on."""
        return self.pen == page and not self.busy

    @contextmanager
    def closed(self, why: str) -> Iterator[None]:
        """Let nobody write meanwhile; why: what every page says of it."""
        self.busy = why
        try:
            self.tell()
            yield
        finally:
            self.busy = ""
            self.tell()

    def tell(self) -> None:
        """Have every page show what is now."""
        for told in list(self.told.values()):
            told()

    def order_space(self, page: str) -> None:
        """Note the state that a page wants a scene of."""
        self._ordered[page] = self.session.state

    def space(self, page: str) -> Space | None:
        """Make the scene that a page ordered, whatever has happened since; None without order."""
        state = self._ordered.get(page)
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

    def report(self) -> Path:
        """Make the report of the saved revision again; returns its file."""
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
            ),
        )
        return target
