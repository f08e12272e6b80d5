"""What every command shares: refusals, progress and parsing of points."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from planner.errors import PlannerError

STAGES = {
    "read": "Reading the CT",
    "anatomy": "Finding the bones",
    "findings": "Looking for what is special",
    "candidates": "Proposing paths",
    "score": "Measuring paths",
    "rank": "Ranking",
    "write": "Writing",
}


class PlannerGroup(TyperGroup):
    """Turns a PlannerError into one paragraph on stderr and its exit status.

    Anything else is a defect of the program and keeps its traceback.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except PlannerError as error:
            typer.echo(f"planner: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(error.exit_status) from error


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Callable[[str, float], None]]:
    """Show stages on stderr, where that is a terminal; yields the callback."""
    if quiet or not sys.stderr.isatty():
        yield lambda _stage, _part: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<44}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Starting", total=1.0)

        def show(stage: str, part: float) -> None:
            name, _, step = stage.partition(": ")
            text = STAGES.get(name, name) + (f": {step}" if step else "")
            bar.update(task, description=text[:44], completed=part)

        yield show


def parse_point(text: str) -> tuple[float, float, float]:
    """Parse X,Y,Z in patient LPS mm; a typer usage error otherwise."""
    from math import isfinite

    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != 3 or not all(isfinite(v) for v in values):
        raise typer.BadParameter(
            f"{text!r} is not a point; expected X,Y,Z in patient LPS mm, such as 31.5,-12,840.2"
        )
    return values[0], values[1], values[2]
