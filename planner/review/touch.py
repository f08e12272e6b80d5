"""What a hand does on a page: mouse, wheel, keys, and the handles of the scene.

Movements are taken as they come, the newest only, so that a slow machine never lags behind the
hand; numbers go out first, lines next, grey pictures last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from nicegui import events

from planner.review.desk import ARROWS, MOVES, Name
from planner.review.tab import Tab

MOUSE = ["mousedown", "mousemove", "mouseup", "mouseleave"]
COARSE_STEPS = 5.0
ZOOM = 1.15
SETTLE_S = 0.6  # longer than a held key takes to repeat first
SEND_S = 0.02  # what was changed before has left for the browser by then


class Touch:
    """The hand on one page. arrows: what the arrow keys move, of `MOVES`; "" for nothing."""

    def __init__(self, page: Tab) -> None:
        self._page, self._desk = page, page.desk
        self._newest: Callable[[], object] | None = None
        self._following = False
        self._last: Name = "coronal"
        self._steps = (0, 0)
        self._settling: asyncio.TimerHandle | None = None
        self.arrows = ""

    def mouse(self, name: Name, event: events.MouseEventArguments) -> None:
        """Take what the mouse did on a pane."""
        x, y = event.image_x, event.image_y
        if event.type == "mousedown" and event.button == 0:
            self._last = name
            self.drop()
            if self._desk.press(name, x, y) in ("cross", "measure"):
                self._page.show_panes()
        elif event.type == "mousemove" and event.buttons & 1:
            self._follow(lambda: self._desk.drag(name, x, y))
        elif event.type == "mouseup" or (event.type == "mouseleave" and event.buttons & 1):
            self._newest = None
            self._desk.drag(name, x, y)  # the last step may be on its way
            self._let_down()

    def handle(self, event: events.GenericEventArguments) -> None:
        """Take what a hand did on a handle in the scene."""
        told = event.args
        end, phase = told["end"], told["phase"]
        if phase == "take":
            self.drop()
            self._desk.take_end(end)
        elif phase == "move":
            eye, behind = told["eye"], told["behind"]
            self._follow(lambda: self._desk.reach(eye, behind))
        else:
            self._newest = None
            if phase == "drop":
                self._desk.reach(told["eye"], told["behind"])
                self._let_down()
            else:
                self.escape()

    def wheel(self, name: Name, args: dict[str, Any]) -> None:
        """Scroll through a pane, or zoom it."""
        steps = -1.0 if args["deltaY"] > 0 else 1.0
        if args["ctrlKey"]:
            self._desk.zoom(name, ZOOM**-steps)
        else:
            self._desk.scroll(name, steps * (COARSE_STEPS if args["shiftKey"] else 1.0))
        self._page.show_panes()

    def key(self, event: events.KeyEventArguments) -> None:
        """Take a key."""
        name, session = event.key.name, self._page.session
        arrow = ARROWS.get(name)
        modified = event.modifiers.ctrl or event.modifiers.alt or event.modifiers.meta
        if not event.action.keydown:
            return
        if arrow is not None and self.arrows and not modified:
            self._arrow(arrow)
        elif event.key.escape:
            self.escape()
        elif event.modifiers.ctrl and name in ("z", "Z"):
            again = event.modifiers.shift or name == "Z"
            self._page.write(session.redo if again else session.undo)
        elif event.modifiers.ctrl and name == "y":
            self._page.write(session.redo)

    def escape(self) -> None:
        """Put what is in the hand back."""
        self.drop()
        self._desk.let_go()
        self._page.show()

    def drop(self) -> None:
        """Forget every step that was not made yet."""
        self._newest, self._steps = None, (0, 0)
        if self._settling is not None:
            self._settling.cancel()
            self._settling = None

    def _arrow(self, step: tuple[int, int]) -> None:
        """Move by a step; the plan changes once no further step came for a while.

        The key's release is not waited for: a field that was clicked meanwhile would swallow it.
        """
        self._steps = (self._steps[0] + step[0], self._steps[1] + step[1])
        self._follow(self._walk)
        if self._settling is not None:
            self._settling.cancel()
        self._settling = asyncio.get_running_loop().call_later(SETTLE_S, self._settle)

    def _walk(self) -> object:
        steps, self._steps = self._steps, (0, 0)
        return self._desk.nudge(self._last, MOVES[self.arrows], *steps) if self.arrows else ""

    def settle(self) -> None:
        """Make steps of the arrow keys count now, before anything else is done."""
        if self._settling is not None:
            self._settling.cancel()
            self._settle()

    def _settle(self) -> None:
        self._settling = None
        with self._page.client:
            if self._steps != (0, 0):
                self._walk()
            self._newest = None
            self._let_down()

    def _let_down(self) -> None:
        if self._desk.draft is not None:
            self._page.write(self._desk.release)
        else:
            self._desk.let_go()

    def _follow(self, step: Callable[[], object]) -> None:
        self._newest = step
        if not self._following:
            self._following = True
            asyncio.get_running_loop().create_task(self._keep_following())

    async def _keep_following(self) -> None:
        """Follow the hand to where it is by now: numbers first, then lines, then pictures."""
        page = self._page
        try:
            while self._newest is not None:
                newest, self._newest = self._newest, None
                grip = newest()
                with page.client:
                    if self._desk.draft is not None:
                        if not page.house.may_write(page.id):
                            self._desk.let_go()
                            break
                        page.show_figures()
                        await asyncio.sleep(SEND_S)
                    if not grip:
                        break
                    await page.show_drag()
        finally:
            self._following = False
