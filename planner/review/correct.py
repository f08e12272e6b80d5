"""The fields by which a person corrects the anatomy, and has it planned on again."""

from __future__ import annotations

import asyncio

from nicegui import ui

from planner.errors import PlannerError
from planner.review.replanning import correction_words
from planner.review.tab import Tab

RADIUS_MM = 5.0
PLANNING = (
    "The plan is being made again on the corrected anatomy, which takes minutes; until then "
    "nothing can be changed."
)


class CorrectionForm:
    """Move a foramen to the crosshair, mark a ball about it, plan again."""

    def __init__(self, page: Tab) -> None:
        self._page = page
        names = [item.name for item in page.session.opened.anatomy.foramina]
        words = {name: name.replace("_", " ") for name in names}
        with ui.expansion("Correct the anatomy").props("dense"):
            ui.label("Put the crosshair where it belongs, then:").classes("text-caption")
            self._name = ui.select(words, value=names[0] if names else None).props("dense")
            move = ui.button("Put its centre at the crosshair", on_click=self._move)
            self._radius = ui.number("Radius of a ball, mm", value=RADIUS_MM, min=1, max=20, step=1)
            self._radius.props("dense")
            with ui.row().style("gap:.3rem"):
                bone = ui.button("Bone here", on_click=lambda: self._mark(True))
                none = ui.button("Not bone here", on_click=lambda: self._mark(False))
            self._list = ui.label().classes("text-caption").style("white-space:pre-line")
            with ui.row().style("gap:.3rem"):
                again = ui.button("Plan again", on_click=self._again)
                back = ui.button("Withdraw all", on_click=self._withdraw)
        self._buttons = [move, bone, none, again, back]
        for button in self._buttons:
            button.props("dense no-caps")

    def show(self, mine: bool) -> None:
        """Bring the list up to what is corrected; mine: whether this page may write."""
        corrections = self._page.session.state.corrections
        lines = [correction_words(values) for values in corrections]
        told = "Not planned on yet:\n" + "\n".join(lines) if lines else ""
        self._list.set_text(told)
        for button in self._buttons:
            button.set_enabled(mine)

    def _move(self) -> None:
        page = self._page
        page.write(lambda: page.session.move_channel(str(self._name.value), page.desk.cross))

    def _mark(self, bone: bool) -> None:
        page, radius = self._page, float(self._radius.value or RADIUS_MM)
        page.write(lambda: page.session.mark_ball(page.desk.cross, radius, bone))

    def _withdraw(self) -> None:
        self._page.write(self._page.session.withdraw_corrections)

    async def _again(self) -> None:
        page = self._page
        if not page.house.may_write(page.id):
            return
        page.touch.settle()
        with page.house.closed(PLANNING):
            try:
                made = await asyncio.to_thread(page.session.replan)
                page.session.take_up(made)
            except (PlannerError, OSError) as error:
                page.say(str(error), good=False)
                return
        page.say(f"Planned again and saved as revision {made.saved.number}.")
