"""The page: what a person sees and touches. Everything it shows was computed by desk and session.

One `Page` per open tab.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib import resources
from typing import Any

from nicegui import ui

from planner.errors import PlannerError
from planner.export.disclaimer import DISCLAIMER
from planner.export.numbers import percent
from planner.review.correct import CorrectionForm
from planner.review.desk import ALONG, PANES, Desk, Name
from planner.review.figures import figures_html, lines_html
from planner.review.forms import PathForm
from planner.review.house import House
from planner.review.panes import WINDOWS
from planner.review.space import HANDLE_EVENT, Space
from planner.review.touch import MOUSE, SEND_S, Touch

NO_PICTURES = (
    "The CT was not given (--ct): the pictures show the label map in even grey, which is invented "
    "around the bones. Skin and grey values are unknown."
)
NO_PEN = "Another page of this review holds the pen: you see what it does, and change nothing."
STILL_HELD = "A needle was still in the hand: it went back to where it was. Do that again."
REPORTING = "The report is being made; until then nothing can be changed."


class Page:
    """One tab."""

    def __init__(self, house: House) -> None:
        self.house, self.session = house, house.session
        self.desk = Desk.of(house.session)
        self.client = ui.context.client
        self.id = str(self.client.id)
        self._drawn: dict[str, object] = {}
        self.touch = Touch(self)
        self._images: dict[str, ui.interactive_image] = {}

    def build(self) -> None:
        """Put everything on the page."""
        ui.add_css((resources.files("planner.review") / "page.css").read_text(encoding="utf-8"))
        ui.dark_mode(True)
        ui.html(DISCLAIMER, sanitize=False, tag="div").classes("bar").props('role="alert"')
        with ui.element("div").classes("notice") as self._notice:
            self._notice_text = ui.label()
            self._take = ui.button("Take the pen here", on_click=self._take_pen).props("dense")
        self._tools()
        with ui.element("div").classes("desk"):
            with ui.element("div").classes("side"):
                self._list = ui.element("div").classes("list")
                with ui.element("div").classes("form"):
                    self._form = PathForm(self)
                    self._corrections = CorrectionForm(self)
            with ui.element("div").classes("panes"):
                for name in PANES:
                    self._pane(name)
            with ui.element("div").classes("facts") as facts, ui.element("div").classes("numbers"):
                self._warnings = ui.html("", sanitize=False).props('role="alert"')
                self._figures = ui.html("", sanitize=False)
            with facts:
                self._space = Space(self.house, self.desk)
        ui.keyboard(on_key=self.touch.key, ignore=["input", "select", "textarea"])
        ui.on(HANDLE_EVENT, self.touch.handle)
        # A page that never connects, such as one a browser fetches ahead, gets no pen.
        self.client.on_connect(self._enter)
        self.client.on_delete(lambda: self.house.leave(self.id))
        self.show()

    def show(self) -> None:
        """Bring the whole page up to what is now."""
        with self.client:
            mine = self.house.may_write(self.id)
            self._notice.set_visibility(not mine)
            self._notice_text.set_text(self.house.busy or NO_PEN)
            self._take.set_visibility(not self.house.busy)
            self.desk.keep_up()
            if self.desk.chosen not in {path.id for path in self.session.state.paths}:
                self.desk.choose(self.session.state.paths[0].id)
            self._unsaved.set_text(
                f"revision {self.session.revision}, {self.session.unsaved} changes not saved"
            )
            history = self.session.history
            self._undo.set_enabled(mine and history.can_undo)
            self._redo.set_enabled(mine and history.can_redo)
            for button in self._writers:
                button.set_enabled(mine)
            told = [*self.session.messages, *self.session.document.warnings]
            if self.session.opened.volume is None:
                told.insert(0, NO_PICTURES)
            self._warnings.set_content(lines_html(told))
            self._show_list()
            self._form.show(mine)
            self._corrections.show(mine)
            self.show_figures()
            self.show_panes()
            self._space.show(mine)

    def _enter(self) -> None:
        self.house.enter(self.id, self.show)
        self.show()

    def write(self, act: Callable[[], Any]) -> None:
        """Do what changes the plan, if this page may, and tell every page."""
        if not self.house.may_write(self.id):
            ui.notify(self.house.busy or NO_PEN, type="negative")
            self.desk.let_go()
            self.show()
            return
        if act != self.desk.release:
            self.touch.settle()
        if self.desk.draft is not None and act != self.desk.release:
            self.touch.escape()
            ui.notify(STILL_HELD, type="negative", multi_line=True, timeout=8000)
            return
        try:
            act()
        except (PlannerError, OSError) as error:
            self.desk.let_go()
            ui.notify(str(error), type="negative", multi_line=True, timeout=8000)
        finally:
            self.house.tell()

    def say(self, text: str, good: bool = True) -> None:
        """Tell what came of something that took long, if the page is still open."""
        if self.id not in self.house.told:
            return
        with self.client:
            if good:
                ui.notify(text, type="positive")
            else:
                more: dict[str, Any] = {"timeout": 0, "close_button": "Close"}
                ui.notify(text, type="negative", multi_line=True, **more)

    def choose(self, name: str) -> None:
        """Take up another path."""
        self.touch.settle()
        self.desk.choose(name)
        self.show()

    def _tools(self) -> None:
        with ui.row().classes("items-center q-px-sm").style("gap:.4rem;width:100%"):
            self._undo = ui.button("Undo", on_click=lambda: self.write(self.session.undo))
            self._redo = ui.button("Redo", on_click=lambda: self.write(self.session.redo))
            save = ui.button("Save revision", on_click=lambda: self._save(""))
            sign = ui.button("Sign and save", on_click=self._sign)
            own = ui.button("Add a copy as my own", on_click=self._add)
            report = ui.button("Make the report", on_click=self._report)
            self._writers = [save, sign, own, report]
            for button in (self._undo, self._redo, *self._writers):
                button.props("dense no-caps")
            ui.toggle(list(WINDOWS), value="bone", on_change=self._window).props("dense no-caps")
            ui.toggle(list(ALONG), value=ALONG[0], on_change=self._along).props("dense no-caps")
            ui.switch("Outlines", value=True, on_change=self._outlines).props("dense")
            ui.switch("Measure", value=False, on_change=self._measuring).props("dense")
            self._unsaved = ui.label().style("margin-left:auto").props('role="status"')

    def _pane(self, name: Name) -> None:
        with ui.element("div").classes("pane").props(f"data-pane={name}"):
            title = "along or across the needle" if name == "needle" else name
            ui.label(title).classes("name")
            image = ui.interactive_image(
                events=MOUSE, sanitize=False, on_mouse=lambda e: self.touch.mouse(name, e)
            )
            image.on(
                "wheel.prevent",
                lambda e: self.touch.wheel(name, e.args),
                args=["deltaY", "ctrlKey", "shiftKey"],
                throttle=0.04,
            )
            self._images[name] = image

    def _show_list(self) -> None:
        self._list.clear()
        with self._list:
            for number, path in enumerate(self.session.state.paths, 1):
                values = self.session.figures(path.id).values
                words = (
                    f"{number}. {path.id}"
                    f"{'' if path.origin == 'planned' else ' · ' + path.origin}"
                    f"{' · locked' if path.locked else ''}"
                    f"{'' if path.verdict == 'open' else ' · ' + path.verdict}"
                )
                least = values["measures"]["min_clearance_mm"]
                risk = percent(values["breach_probability"]["any"])
                row = ui.element("button").classes(f"path {path.verdict}")
                if path.id == self.desk.chosen:
                    row.classes("chosen").props('aria-current="true"')
                row.props["data-path"] = path.id  # never parsed: an id is what a file says it is
                row.on("click", lambda _, name=path.id: self.choose(name))
                with row:
                    ui.label(words)
                    ui.label(f"least {least:.1f} mm, breach {risk} %").classes("text-grey-5")

    def show_figures(self) -> None:
        """Bring the figures up to the needle in the hand, or to the chosen path."""
        measured, draft = self.desk.measured, self.desk.draft
        if measured is None:
            self._figures.set_content(lines_html([draft.fault] if draft else []))
        else:
            configuration = self.session.opened.configuration
            self._figures.set_content(figures_html(measured.values, measured.notes, configuration))
        self._form.show_ends()

    def show_panes(self) -> None:
        """Bring lines and grey pictures up to what is now."""
        self._show_lines()
        self._show_pictures()

    async def show_drag(self) -> None:
        """Show a needle on its way: lines, then the scene, then the pictures that it moved."""
        self._show_lines()
        if self.desk.in_space:
            self._space.follow()
        await asyncio.sleep(SEND_S)
        for name in self._stale():
            picture = await asyncio.to_thread(self.desk.picture, name)
            self._images[name].set_source(picture)

    def _show_lines(self) -> None:
        for name, image in self._images.items():
            image.set_content(self.desk.overlay(name))  # type: ignore[arg-type]

    def _show_pictures(self) -> None:
        for name in self._stale():
            self._images[name].set_source(self.desk.picture(name))

    def _stale(self) -> list[Name]:
        """Panes whose grey picture is not of where they lie now; they count as drawn from here."""
        found: list[Name] = []
        for name in PANES:
            pane = self.desk.pane(name)
            view = pane.view
            depth = pane.off_plane_mm([0.0, 0.0, 0.0])
            sides = [*view.centre, *view.right, *view.up, depth, pane.field_mm]
            looks = (self.desk.window, self.desk.outlines, id(self.session.opened.anatomy))
            key = ([round(float(x), 4) for x in sides], looks)
            if self._drawn.get(name) != key:
                self._drawn[name] = key
                found.append(name)
        return found

    def _window(self, event: Any) -> None:
        self.desk.show(event.value)
        self._show_pictures()

    def _along(self, event: Any) -> None:
        self.desk.along = event.value
        self.show_panes()

    def _outlines(self, event: Any) -> None:
        self.desk.outlines = event.value
        self._show_pictures()

    def _measuring(self, event: Any) -> None:
        self.desk.measuring, self.desk.ruler = event.value, []
        self._show_lines()

    def _take_pen(self) -> None:
        self.house.take_pen(self.id)

    def _add(self) -> None:
        def add() -> None:
            self.desk.choose(self.session.add(*self.desk.ends))

        self.write(add)

    def _save(self, name: str) -> None:
        def save() -> None:
            saved = self.session.save(name)
            ui.notify(
                f"Saved as revision {saved.number}. Report and pictures in the folder still show "
                "the plan before it: make the report again.",
                type="positive",
                multi_line=True,
            )

        self.write(save)

    def _sign(self) -> None:
        with ui.dialog() as dialog, ui.card():
            ui.label(
                "Your name is written into the revision. It proves nothing about who typed it."
            )
            name = ui.input("Name").props("autofocus")

            def sign() -> None:
                if not (name.value or "").strip():
                    ui.notify("Type a name.", type="negative")
                    return
                dialog.close()
                self._save(name.value)

            ui.button("Sign and save", on_click=sign)
        dialog.open()

    async def _report(self) -> None:
        if not self.house.may_write(self.id):
            return
        if self.session.unsaved:
            ui.notify("Save first: the report shows the saved revision.", type="negative")
            return
        with self.house.closed(REPORTING):
            try:
                path = await asyncio.to_thread(self.house.report)
            except (PlannerError, OSError) as error:
                self.say(str(error), good=False)
                return
        self.say(f"Written: {path.name} in the plan's folder.")
