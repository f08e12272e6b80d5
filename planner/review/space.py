"""The scene beside the pictures: it follows what was changed, once a needle is let go.

A scene takes seconds to make and to load. It is made of the state it was ordered for; whatever
changed meanwhile is sent after it, so that it never stands still on an old needle.
"""

from __future__ import annotations

import json

from nicegui import ui

from planner.export.plan_document import TrajectoryObject
from planner.export.plan_reading import scored_of
from planner.export.viewer.scene import needle_facts
from planner.review.desk import Desk
from planner.review.house import House
from planner.review.state import ReviewedPath

STAGE = "planner-space"
WAIT_S = 0.8  # the pictures come first
LONGEST_S = 180.0
MAKING = "Bones and needles in space are being made …"


class Space:
    """The scene of one page."""

    def __init__(self, house: House, desk: Desk) -> None:
        self._house, self._desk = house, desk
        self._shown: dict[str, tuple[object, ...]] | None = None
        self._chosen = ""
        self._loading = False
        self._stage = ui.html(MAKING, sanitize=False).classes("space")
        self._stage.props(f'id={STAGE} role="img" aria-label="Bones and needles in space"')
        ui.timer(WAIT_S, self.mount, once=True)

    async def mount(self) -> None:
        """Have the browser fetch the scene of the paths as they are now, then what came after."""
        if self._loading:
            return  # what changed is sent when that one stands
        self._loading = True
        shown, number = self._ends(), self._house.order_space()
        with self._stage.client:
            try:
                there = await ui.run_javascript(
                    f"return await PlannerScene.mount('{STAGE}', 'space/{number}')",
                    timeout=LONGEST_S,
                )
            except TimeoutError:
                there = False
            self._loading = False
            if there:
                self._shown, self._chosen = shown, ""
                self.show()

    def show(self) -> None:
        """Bring the scene up to what is now."""
        if self._shown is None or self._loading:
            return
        ends = self._ends()
        names = list(ends)
        verdicts = [(name, ends[name][2]) for name in names]
        if verdicts != [(name, known[2]) for name, known in self._shown.items()]:
            ui.timer(0.0, self.mount, once=True)
            return
        for number, name in enumerate(names):
            if ends[name] != self._shown[name]:
                facts = json.dumps(self._facts(name))
                ui.run_javascript(f"window.plannerScene?.reshape({number}, {facts})")
        if self._desk.chosen != self._chosen or ends != self._shown:
            number = names.index(self._desk.chosen)
            ui.run_javascript(f"window.plannerScene?.choose({number})")
        self._shown, self._chosen = ends, self._desk.chosen

    def _ends(self) -> dict[str, tuple[object, ...]]:
        return {path.id: _seen(path) for path in self._desk.session.state.paths}

    def _facts(self, name: str) -> dict[str, object]:
        values = self._desk.session.figures(name).values
        item = scored_of(TrajectoryObject.model_validate(values))
        return needle_facts(item, self._desk.session.opened.anatomy)


def _seen(path: ReviewedPath) -> tuple[object, ...]:
    """What the scene shows of a path."""
    return path.entry, path.tip, path.verdict == "rejected"
