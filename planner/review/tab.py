"""What the parts of a page may ask of the tab that they are on; `page.Page` is the only one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from nicegui import Client

from planner.review.desk import Desk
from planner.review.house import House
from planner.review.session import Session


class Hand(Protocol):
    """What moves needles on a tab. arrows: what the arrow keys move, of `MOVES`; "" for nothing."""

    arrows: str

    def settle(self) -> None:
        """Write down at once what the arrow keys moved."""
        ...


class Tab(Protocol):
    """One tab of the review, as its forms and the hand on it see it."""

    house: House
    session: Session
    desk: Desk
    client: Client
    id: str

    @property
    def touch(self) -> Hand:
        """The hand on this tab."""
        ...

    def write(self, act: Callable[[], Any]) -> None:
        """Do what changes the plan, if this tab may, and tell every tab."""
        ...

    def say(self, text: str, good: bool = True) -> None:
        """Tell what came of something that took long, if the tab is still open."""
        ...

    def show(self) -> None:
        """Bring the whole tab up to what is now."""
        ...

    def show_figures(self) -> None:
        """Bring the figures up to the needle in the hand, or to the chosen path."""
        ...

    def show_panes(self) -> None:
        """Bring lines and grey pictures up to what is now."""
        ...

    async def show_drag(self) -> None:
        """Show a needle on its way."""
        ...
