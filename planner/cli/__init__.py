"""The command line: one file per command, and the one place where faults become exit statuses.

Heavy modules are imported inside the commands, so that help comes at once.
"""

from __future__ import annotations

import signal
import sys
from io import TextIOWrapper
from types import FrameType
from typing import Annotated

import typer

from planner.cli.cohort import cohort_app
from planner.cli.export import export_command
from planner.cli.inspect import inspect_command
from planner.cli.pacs import pacs_app
from planner.cli.phantom import phantom_command
from planner.cli.plan import plan_command
from planner.cli.report import report_command
from planner.cli.review import review_command
from planner.cli.score import score_command
from planner.cli.segment import segment_command
from planner.cli.terminal import PlannerGroup, say_lost
from planner.scratch import kernels_are_not_kept

app = typer.Typer(
    name="planner",
    cls=PlannerGroup,
    help="Plan needle trajectories for sacroplasty from a pelvic CT. "
    "Research software, not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("plan")(plan_command)
app.command("inspect")(inspect_command)
app.command("segment")(segment_command)
app.command("score")(score_command)
app.command("report")(report_command)
app.command("review")(review_command)
app.command("export")(export_command)
app.command("phantom")(phantom_command)
app.add_typer(pacs_app, name="pacs")
app.add_typer(cohort_app, name="cohort")


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"planner {version('planner')}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Plan needle trajectories for sacroplasty from a pelvic CT."""


def main() -> None:
    """Run the command line; an end asked for from outside clears up as Ctrl-C does."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # What runs under nohup ignores the hang-up, and goes on ignoring it.
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _stop)
    for stream in (sys.stdout, sys.stderr):
        # A console that cannot write a letter shows a question mark, and the work goes on.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    if kernels_are_not_kept():
        typer.echo(
            "planner: no folder for compiled code can be written to (NUMBA_CACHE_DIR, the "
            "installation, the user's cache): every start compiles it again and is slow.",
            err=True,
        )
    try:
        app()
    except OSError as error:
        sys.exit(say_lost(error))


def _stop(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
