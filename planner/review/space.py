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
from planner.review.session import Measured
from planner.review.state import ReviewedPath

STAGE = "planner-space"
HANDLE_EVENT = "planner-handle"
WAIT_S = 0.8  # the pictures come first
LONGEST_S = 180.0
MAKING = "Bones and needles in space are being made …"

NONE = "The scene could not be drawn: this browser has no WebGL, or it took too long."


class Space:
    """The scene of one page."""

    def __init__(self, house: House, desk: Desk) -> None:
        self._house, self._desk = house, desk
        self._shown: dict[str, tuple[object, ...]] | None = None
        self._chosen = ""
        self._loading, self._mine = False, False
        self._stage = ui.html(MAKING, sanitize=False).classes("space")
        self._stage.props(f'id={STAGE} role="img" aria-label="Bones and needles in space"')
        ui.timer(WAIT_S, self.mount, once=True)

    async def mount(self) -> None:
        """Have the browser fetch the scene of the paths as they are now, then what came after."""
        if self._loading:
            return  # what changed is sent when that one stands
        self._loading = True
        page = str(self._stage.client.id)
        shown = self._ends()
        self._house.order_space(page)
        with self._stage.client:
            try:
                there = await ui.run_javascript(
                    f"const there = await PlannerScene.mount('{STAGE}', 'space/{page}');"
                    f"const tell = (told) => emitEvent('{HANDLE_EVENT}', told);"
                    f"if (there) PlannerHand.attach('{STAGE}', tell);"
                    "return there;",
                    timeout=LONGEST_S,
                )
            except TimeoutError:
                there = False
            self._loading = False
            if there:
                self._shown, self._chosen = shown, ""
                self.show(self._mine)
            elif self._shown is None:
                self._stage.set_content(NONE)

    def show(self, mine: bool) -> None:
        """Bring the scene up to what is now; mine: whether this page may write."""
        self._mine = mine
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
                self._reshape(number, self._desk.session.figures(name))
        if self._desk.chosen != self._chosen or ends != self._shown:
            number = names.index(self._desk.chosen)
            ui.run_javascript(f"window.plannerScene?.choose({number})")
        self._shown, self._chosen = ends, self._desk.chosen
        free = mine and not self._desk.session.state.path(self._desk.chosen).locked
        ui.run_javascript(f"window.plannerHand?.allow({json.dumps(free)})")

    def follow(self) -> None:
        """Show the needle that is in the hand."""
        measured = self._desk.measured
        if self._shown is None or self._loading or measured is None:
            return
        name = self._desk.chosen
        known = self._shown.get(name)
        if known is not None:
            # Whatever comes of it, it is not where the plan has it.
            self._shown[name] = (None, None, known[2])
            self._reshape(list(self._shown).index(name), measured)

    def _reshape(self, number: int, measured: Measured) -> None:
        item = scored_of(TrajectoryObject.model_validate(measured.values))
        facts = json.dumps(needle_facts(item, self._desk.session.opened.anatomy))
        ui.run_javascript(f"window.plannerScene?.reshape({number}, {facts})")

    def _ends(self) -> dict[str, tuple[object, ...]]:
        session = self._desk.session
        return {path.id: _seen(path, id(session.opened.anatomy)) for path in session.state.paths}


def _seen(path: ReviewedPath, anatomy: int) -> tuple[object, ...]:
    """What the scene shows of a path; the last wants a new scene where it changes."""
    return path.entry, path.tip, (path.verdict == "rejected", anatomy)
