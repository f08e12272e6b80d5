"""The scene beside the pictures: it follows what was changed, once a needle is let go."""

from __future__ import annotations

import json

import numpy as np
from nicegui import ui

from planner.export.plan_document import TrajectoryObject
from planner.export.plan_reading import scored_of
from planner.export.viewer.scene import shaft_of
from planner.review.desk import Desk
from planner.review.state import Point

STAGE = "planner-space"
WAIT_S = 0.8  # the pictures come first


class Space:
    """The scene of one page."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._shown: dict[str, tuple[Point, Point]] = {}
        self._chosen = ""
        self._mounted = False
        ui.html("Bones and needles in space are being made …", sanitize=False).classes(
            "space"
        ).props(f'id={STAGE} role="img" aria-label="Bones and needles in space"')
        ui.timer(WAIT_S, self.mount, once=True)

    def mount(self) -> None:
        """Have the browser fetch the scene of the paths as they are now."""
        self._shown = self._ends()
        self._chosen, self._mounted = "", True
        number = list(self._shown).index(self._desk.chosen)
        ui.run_javascript(
            f"PlannerScene.mount('{STAGE}', '/space').then((scene) => scene?.choose({number}))"
        )

    def show(self) -> None:
        """Bring the scene up to what is now."""
        if not self._mounted:
            return
        ends = self._ends()
        if list(ends) != list(self._shown):
            self.mount()
            return
        moved = [number for number, name in enumerate(ends) if ends[name] != self._shown[name]]
        for number in moved:
            points = json.dumps(self._shaft(list(ends)[number]))
            ui.run_javascript(f"window.plannerScene?.reshape({number}, {points})")
        if self._desk.chosen != self._chosen and not moved:
            number = list(ends).index(self._desk.chosen)
            ui.run_javascript(f"window.plannerScene?.choose({number})")
        self._shown, self._chosen = ends, self._desk.chosen

    def _ends(self) -> dict[str, tuple[Point, Point]]:
        return {path.id: (path.entry, path.tip) for path in self._desk.session.state.paths}

    def _shaft(self, name: str) -> list[float]:
        values = self._desk.session.figures(name).values
        path = scored_of(TrajectoryObject.model_validate(values)).trajectory
        return [float(x) for x in np.round(shaft_of(path)[0], 3).ravel()]
