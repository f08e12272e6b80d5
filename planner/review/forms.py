"""The fields of the chosen path: its points and angles typed, and what the reviewer says of it."""

from __future__ import annotations

from nicegui import events, ui
from nicegui.elements.mixins.disableable_element import DisableableElement

from planner.errors import ConfigurationError
from planner.export.numbers import point_of
from planner.review.desk import MOVES
from planner.review.tab import Tab

KEYS = {"": "nothing"} | {name: f"the {name}" for name in MOVES}


class PathForm:
    """Points, angles, verdict and note of the chosen path of a page."""

    def __init__(self, page: Tab) -> None:
        self._page = page
        self._entry = ui.input("Bone entry x, y, z (LPS mm)").props("dense")
        self._tip = ui.input("Tip x, y, z (LPS mm)").props("dense")
        self._entry.on("keydown.enter", self._type_ends)
        self._tip.on("keydown.enter", self._type_ends)
        with ui.row().style("gap:.3rem;flex-wrap:nowrap"):
            self._in_plane = ui.number("In plane °", format="%.1f").props("dense")
            self._cranial = ui.number("Cranial °", format="%.1f").props("dense")
            self._depth = ui.number("In bone mm", format="%.1f").props("dense")
        for each in (self._in_plane, self._cranial, self._depth):
            each.on("keydown.enter", self._type_angles)
        with ui.row().style("gap:.3rem"):
            accept = ui.button("Accept", on_click=lambda: self._judge("accepted"))
            reject = ui.button("Reject", on_click=self._ask_reason)
            again = ui.button("Open again", on_click=lambda: self._judge("open"))
            reset = ui.button("As planned", on_click=self._reset)
            remove = ui.button("Remove", on_click=self._remove)
        with ui.row().classes("items-center").style("gap:.6rem;flex-wrap:nowrap"):
            self._lock = ui.switch("Locked", on_change=self._locked).props("dense")
            keys = ui.select(KEYS, value="", label="Arrow keys move", on_change=self._arrows)
            keys.props("dense options-dense").style("width:9rem")
        self._note = ui.textarea("Note on this path").props("dense rows=2 autogrow")
        self._note.on("blur", self._annotate)
        self._plan_note = ui.textarea("Note on the plan").props("dense rows=2 autogrow")
        self._plan_note.on("blur", self._annotate_plan)
        self._buttons = [accept, reject, again, reset, remove]
        for button in self._buttons:
            button.props("dense no-caps")
        self._fields: list[DisableableElement] = [
            self._entry,
            self._tip,
            self._in_plane,
            self._cranial,
            self._depth,
        ]
        self._fields.append(self._note)
        self._showing = False
        self._noted: dict[int, tuple[str, str]] = {}

    def _arrows(self, event: events.ValueChangeEventArguments[str]) -> None:
        self._page.touch.arrows = event.value
        ui.run_javascript("document.activeElement?.blur()")  # else the keys stay with the list

    def show(self, mine: bool) -> None:
        """Bring the fields up to the chosen path; mine: whether this page may write."""
        page = self._page
        path = page.session.state.path(page.desk.chosen)
        self._showing = True
        self._lock.set_value(path.locked)
        self._showing = False
        self._put(self._note, path.id, path.note)
        self._put(self._plan_note, "", page.session.state.note)
        for each in (*self._fields, *self._buttons):
            each.set_enabled(mine and not path.locked)
        for each in (self._lock, self._plan_note):
            each.set_enabled(mine)
        self.show_ends()

    def _put(self, area: ui.textarea, owner: str, text: str) -> None:
        """Show a note, unless that would wipe what a person is writing."""
        if self._noted.get(area.id) != (owner, text):
            self._noted[area.id] = (owner, text)
            area.set_value(text)

    def show_ends(self) -> None:
        """Bring points and angles up to the needle in the hand."""
        desk = self._page.desk
        entry, tip = desk.ends
        self._entry.set_value(", ".join(f"{x:.3f}" for x in entry))
        self._tip.set_value(", ".join(f"{x:.3f}" for x in tip))
        if desk.measured is not None:
            values = desk.measured.values
            self._depth.set_value(values["intraosseous_length_mm"])
            guidance = values.get("guidance", {})
            self._in_plane.set_value(guidance.get("in_plane_deg"))
            self._cranial.set_value(guidance.get("cranial_deg"))

    def _type_ends(self) -> None:
        desk = self._page.desk

        def move() -> None:
            desk.try_ends(point_of(self._entry.value), point_of(self._tip.value))
            desk.keep()

        self._page.write(move)

    def _type_angles(self) -> None:
        desk = self._page.desk
        numbers = [self._in_plane.value, self._cranial.value, self._depth.value]

        def move() -> None:
            if any(value is None for value in numbers):
                raise ConfigurationError("type both angles and the length in bone.")
            desk.try_angles(*(float(value) for value in numbers))
            desk.keep()

        self._page.write(move)

    def _judge(self, verdict: str, reason: str = "") -> None:
        page = self._page
        page.write(lambda: page.session.judge(page.desk.chosen, verdict, reason))  # type: ignore[arg-type]

    def _ask_reason(self) -> None:
        with ui.dialog() as dialog, ui.card():
            reason = ui.input("Why is this path rejected?").props("autofocus")

            def reject() -> None:
                dialog.close()
                self._judge("rejected", reason.value or "")

            ui.button("Reject", on_click=reject)
        dialog.open()

    def _reset(self) -> None:
        page = self._page
        page.write(lambda: page.session.reset(page.desk.chosen))

    def _remove(self) -> None:
        page = self._page
        page.write(lambda: page.session.remove(page.desk.chosen))

    def _locked(self) -> None:
        page = self._page
        if not self._showing:
            locked = bool(self._lock.value)
            page.write(lambda: page.session.lock(page.desk.chosen, locked))

    def _annotate(self) -> None:
        page, text = self._page, self._note.value or ""
        if text.strip() != page.session.state.path(page.desk.chosen).note:
            page.write(lambda: page.session.annotate(page.desk.chosen, text))

    def _annotate_plan(self) -> None:
        page, text = self._page, self._plan_note.value or ""
        if text.strip() != page.session.state.note:
            page.write(lambda: page.session.annotate("", text))
