"""What one open page shows and holds in its hand, without a browser.

The desk turns presses, drags and keys, in pixels of a pane, into what the session may do. While a
needle is dragged it is a draft: measured at every step, but no change until it is let go.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np

from planner.errors import ConfigurationError
from planner.export.overview import views
from planner.export.overview.scene import hub_point
from planner.export.overview.views import View
from planner.export.plan_document import TrajectoryObject
from planner.export.plan_json import point_mm
from planner.export.plan_reading import scored_of
from planner.geometry.grid import Float
from planner.model.trajectory import Trajectory
from planner.review.panes import HANDLE_PX, WINDOWS, Overlay, Painter, Pane
from planner.review.session import Measured, Session
from planner.scoring import needle_along

Name = Literal["axial", "sagittal", "coronal", "needle"]
PANES: tuple[Name, ...] = ("axial", "sagittal", "coronal", "needle")
Along = Literal["left to right", "front to back", "across"]
ALONG: tuple[Along, ...] = ("left to right", "front to back", "across")
Grip = Literal["entry", "tip", "shaft", "cross", "measure", ""]
FIELD_MM, LEAST_FIELD_MM, MOST_FIELD_MM = 150.0, 20.0, 400.0
STEP_MM = 1.0
NUDGE_MM = 0.5
ARROWS = {
    "ArrowRight": (1, 0),
    "ArrowLeft": (-1, 0),
    "ArrowUp": (0, 1),
    "ArrowDown": (0, -1),
}
MOVES: dict[str, Grip] = {"entry": "entry", "tip": "tip", "needle": "shaft"}
"""What the arrow keys can move, by the word for it."""
LEAST_ALIGNED = 0.5
"""Cosine between two lines of sight: no screen shows 60 degrees off what it looks at."""
TREMOR_PX = 3.0
"""A hand that moves less than this meant to press, not to drag."""


@dataclass(frozen=True)
class Draft:
    """A needle in the hand: its ends (patient LPS, mm), figures, or why there are none."""

    entry: Float
    tip: Float
    measured: Measured | None
    fault: str = ""


@dataclass
class Desk:
    """One page's view of a session; chosen: id of the path that everything is about."""

    session: Session
    chosen: str
    cross: Float
    painter: Painter
    window: str = "bone"
    outlines: bool = True
    along: Along = "left to right"
    measuring: bool = False
    fields_mm: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PANES, FIELD_MM))
    focus: Float = field(default_factory=lambda: np.zeros(3))
    draft: Draft | None = None
    ruler: list[Float] = field(default_factory=list)
    _grip: Grip = ""
    in_space: bool = False
    _grabbed: tuple[Float, Float, Float] | None = None
    _held: tuple[Name, Pane, Float] | None = None

    @classmethod
    def of(cls, session: Session) -> Self:
        """Lay out a desk on the first path of a session."""
        opened = session.opened
        painter = Painter(opened.ground, opened.anatomy)
        desk = cls(session, "", np.zeros(3), painter)
        desk.choose(session.state.paths[0].id)
        return desk

    def choose(self, name: str) -> None:
        """Take up a path; the crosshair goes to its middle."""
        self.session.state.path(name)
        self.let_go()
        self.chosen = name
        entry, tip = self.ends
        self.cross = (entry + tip) / 2
        self.focus = self.cross.copy()

    def keep_up(self) -> None:
        """Draw on the anatomy that the session rests on by now."""
        opened = self.session.opened
        if self.painter.anatomy is not opened.anatomy:
            self.let_go()
            self.painter = Painter(opened.ground, opened.anatomy)

    @property
    def ends(self) -> tuple[Float, Float]:
        """Bone entry and tip of the chosen path, or of the draft in the hand."""
        if self.draft is not None:
            return self.draft.entry, self.draft.tip
        path = self.session.state.path(self.chosen)
        return np.array(path.entry), np.array(path.tip)

    @property
    def measured(self) -> Measured | None:
        """Figures of what `ends` are; None where the draft has none."""
        if self.draft is not None:
            return self.draft.measured
        return self.session.figures(self.chosen)

    def pane(self, name: Name) -> Pane:
        """Where a pane lies now; one that a needle is dragged in stays as it was taken hold of."""
        if self._held is not None and self._held[0] == name:
            return self._held[1]
        x, y, z = np.eye(3)
        if name == "needle":
            return Pane(self._along_needle(), self.fields_mm[name])
        right, up = {"axial": (x, -y), "sagittal": (y, z), "coronal": (x, z)}[name]
        normal = np.cross(right, up)
        centre = self.focus + ((self.cross - self.focus) @ normal) * normal
        sides = views.sides_of(self.session.opened.anatomy)
        return Pane(View(name, centre, right, up, sides), self.fields_mm[name])

    def picture(self, name: Name) -> str:
        """The grey picture of a pane, as a data address."""
        return self.painter.picture(self.pane(name), self.window, self.outlines)

    def overlay(self, name: Name) -> str:
        """The SVG over a pane."""
        pane = self.pane(name)
        over = Overlay(pane)
        radius = self._radius
        for path in self.session.state.paths:
            if path.id != self.chosen and path.verdict != "rejected":
                entry, tip = np.array(path.entry), np.array(path.tip)
                over.needle(entry, tip, entry, radius, chosen=False)
        entry, tip = self.ends
        over.witnesses(self._witnesses())
        over.needle(entry, tip, self._hub(), radius, chosen=True)
        for values in self.session.state.corrections:
            over.correction(*self._corrected(values))
        over.cross(self.cross)
        over.measure(self.ruler)
        over.frame()
        return over.text()

    def press(self, name: Name, x: float, y: float) -> Grip:
        """Press the mouse on a pane; returns what was taken hold of. What was held goes back."""
        self.let_go()
        pane = self.pane(name)
        if self.measuring:
            if len(self.ruler) != 1:
                self.ruler = []
            self.ruler.append(pane.to_patient(x, y))
            self._grip = "measure"
            return self._grip
        self._grip = self._at(pane, x, y)
        entry, tip = self.ends
        self._grabbed = (pane.to_patient(x, y), entry, tip)
        if self._grip == "cross":
            self.cross = pane.to_patient(x, y)
        else:
            self._held = (name, pane, np.array([x, y]))
        return self._grip

    def drag(self, name: Name, x: float, y: float) -> Grip:
        """Move the mouse while it is pressed: the draft or the crosshair follows."""
        if not self._grip or self._grabbed is None:
            return ""
        here = self.pane(name).to_patient(x, y)
        if self._grip == "cross":
            self.cross = here
        elif self._held is not None and name == self._held[0]:
            far = float(np.linalg.norm(np.array([x, y]) - self._held[2]))
            if self.draft is None and far < TREMOR_PX:
                return self._grip
            start, entry, tip = self._grabbed
            by = here - start
            self.try_ends(entry + by * (self._grip != "tip"), tip + by * (self._grip != "entry"))
        return self._grip

    def release(self) -> bool:
        """Let go; returns whether the plan changed. Raises ConfigurationError as `move` does."""
        grip, draft = self._grip, self.draft
        self._grip, self._grabbed, self._held, self.in_space = "", None, None, False
        if draft is None or grip not in ("entry", "tip", "shaft"):
            self.draft = None
            return False
        return self.keep()

    def keep(self) -> bool:
        """Make the draft a change of the plan; where it cannot be, the needle snaps back."""
        draft, self.draft = self.draft, None
        if draft is None:
            return False
        if draft.measured is None:
            raise ConfigurationError(f"{draft.fault} The needle went back to where it was.")
        self.session.move(self.chosen, draft.entry, draft.tip)
        return True

    def let_go(self) -> None:
        """Put the needle in the hand back to where it was."""
        self.draft, self._grip, self._grabbed, self._held = None, "", None, None
        self.in_space = False

    def nudge(self, name: Name, grip: Grip, right: int, up: int) -> Grip:
        """Hold an end, or the whole needle, and move it by steps in the plane of a pane.

        A needle that a mouse holds stays in its hand.
        """
        if self._locked or self._grabbed is not None or self.in_space:
            return ""
        view = self.pane(name).view
        by = NUDGE_MM * (right * view.right + up * view.up)
        entry, tip = self.ends
        self._grip = grip
        self.try_ends(entry + by * (grip != "tip"), tip + by * (grip != "entry"))
        return grip

    def take_end(self, end: str) -> Grip:
        """Take hold of an end of the needle in the scene."""
        self.let_go()
        if end in ("entry", "tip") and not self._locked:
            self._grip = "tip" if end == "tip" else "entry"
            self.in_space = True
        return self._grip

    def reach(self, eye: Any, behind: Any) -> Grip:
        """Move the end that was taken in the scene into a line of sight; it keeps its depth there.

        eye, behind: where the line of sight begins, and a point on it, patient LPS mm.
        """
        start = np.asarray(eye, float)
        sight = np.asarray(behind, float) - start
        if not self.in_space or self._grip not in ("entry", "tip"):
            return ""
        path = self.session.state.path(self.chosen)
        end = np.array(path.tip if self._grip == "tip" else path.entry)
        facing = end - start
        length = float(np.linalg.norm(sight)) * float(np.linalg.norm(facing))
        aligned = float(sight @ facing) / length if np.isfinite(length) and length > 0 else 0.0
        if aligned < LEAST_ALIGNED:
            return self._grip
        place = start + sight * float(facing @ facing) / float(sight @ facing)
        entry, tip = np.array(path.entry), np.array(path.tip)
        self.try_ends(*((entry, place) if self._grip == "tip" else (place, tip)))
        return self._grip

    def try_ends(self, entry: Any, tip: Any) -> Draft:
        """Hold a needle between two points and measure it."""
        start, stop = np.array(point_mm(entry)), np.array(point_mm(tip))
        try:
            self.draft = Draft(start, stop, self.session.measure(start, stop))
        except ConfigurationError as error:
            self.draft = Draft(start, stop, None, str(error))
        return self.draft

    def try_angles(self, in_plane_deg: float, cranial_deg: float, depth_mm: float) -> Draft:
        """Hold a needle from the same bone entry at typed angles and depth in bone."""
        entry, _ = self.ends
        along = needle_along(in_plane_deg, cranial_deg)
        return self.try_ends(entry, entry + depth_mm * along)

    def scroll(self, name: Name, steps: float) -> None:
        """Move the crosshair along the normal of a pane."""
        view = self.pane(name).view
        self.cross = self.cross + steps * STEP_MM * np.cross(view.right, view.up)

    def zoom(self, name: Name, factor: float) -> None:
        """Show more (factor above 1) or less of a pane, about the crosshair."""
        wanted = self.fields_mm[name] * factor
        self.fields_mm[name] = float(np.clip(wanted, LEAST_FIELD_MM, MOST_FIELD_MM))
        self.focus = self.cross.copy()

    def show(self, window: str) -> None:
        """Take up a window preset."""
        if window not in WINDOWS:
            raise ConfigurationError(f"no window {window!r}; there are {', '.join(WINDOWS)}.")
        self.window = window

    def _at(self, pane: Pane, x: float, y: float) -> Grip:
        """What lies under the mouse: an end of the chosen needle, its shaft, or nothing."""
        if self._locked:
            return "cross"
        entry, tip = self.ends
        places = pane.to_pixel(np.stack([entry, tip]))
        here = np.array([x, y])
        near = np.linalg.norm(places - here, axis=1)
        if near.min() <= HANDLE_PX:
            return "tip" if near[1] <= near[0] else "entry"
        along = places[1] - places[0]
        length = float(np.linalg.norm(along))
        if length < 1.0:
            return "cross"
        part = float((here - places[0]) @ along) / length**2
        beside = here - places[0]
        off = abs(float(along[0] * beside[1] - along[1] * beside[0])) / length
        return "shaft" if 0 < part < 1 and off <= HANDLE_PX / 2 else "cross"

    def _corrected(self, values: dict[str, Any]) -> tuple[Float, float]:
        """Where a correction that was not planned on yet lies, and how large it is."""
        if "segment" not in values:
            return np.array(values["centre_mm"]), float(values["radius_mm"])
        found = self.session.opened.anatomy.foramina
        foramen = next(item for item in found if item.name == values["segment"])
        return foramen.centre + np.array(values["by_mm"]), foramen.width_mm / 2

    def _along_needle(self) -> View:
        path, anatomy = self._path(), self.session.opened.anatomy
        if self.along == "left to right":
            return views.across_needle(path, anatomy)
        if self.along == "front to back":
            return views.beside_needle(path, anatomy)
        depth = float((self.cross - path.bone_entry) @ path.direction)
        return views.square_view(path, anatomy, path.bone_entry + depth * path.direction)

    def _path(self) -> Trajectory:
        """The chosen needle as a trajectory; a draft keeps the skin entry of its line."""
        entry, tip = self.ends
        measured = self.measured or self.session.figures(self.chosen)
        path = scored_of(TrajectoryObject.model_validate(measured.values)).trajectory
        return replace(path, bone_entry=entry, tip=tip)

    def _hub(self) -> Float:
        return hub_point(self._path())

    @property
    def _locked(self) -> bool:
        return self.session.state.path(self.chosen).locked

    @property
    def _radius(self) -> float:
        values = self.session.document.trajectories[0].needle
        return values.outer_diameter_mm / 2

    def _witnesses(self) -> list[tuple[Float, Float, str]]:
        found = self.measured
        if found is None:
            return []
        scored = scored_of(TrajectoryObject.model_validate(found.values))
        path = scored.trajectory
        return [
            (path.bone_entry + each.depth_mm * path.direction, each.witness, "#ffffff")
            for each in scored.clearances.values()
        ]
