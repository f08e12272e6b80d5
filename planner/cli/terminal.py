"""What every command shares: refusals, progress and parsing of points."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from planner.errors import ConfigurationError, OutputError, PlannerError

if TYPE_CHECKING:
    from planner.segmentation import TotalSegmentator


class MethodChoice(StrEnum):
    """Ways to find the bones."""

    BUILTIN = "builtin"
    TOTALSEGMENTATOR = "totalsegmentator"


MethodOption = Annotated[
    MethodChoice,
    typer.Option(
        "--method", help="builtin, or your installed TotalSegmentator completed by builtin."
    ),
]
DownloadOption = Annotated[
    bool,
    typer.Option("--allow-download", help="Let TotalSegmentator download its weights."),
]
DeviceOption = Annotated[
    str | None, typer.Option("--device", help="cpu, gpu, gpu:N or mps, for TotalSegmentator.")
]

STAGES = {
    "read": "Reading the CT",
    "anatomy": "Finding the bones",
    "findings": "Looking for what is special",
    "candidates": "Proposing paths",
    "score": "Measuring paths",
    "rank": "Ranking",
    "write": "Writing",
    "scan": "Looking through the files",
    "fetch": "Fetching the CT",
    "send": "Sending",
    "read back": "Reading back what was sent",
}

# Of a stream that has no name; files of ours that fail raise OutputError by themselves.
LOST_OUTPUT = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)


class PlannerGroup(TyperGroup):
    """Turns a PlannerError into one paragraph on stderr and its exit status.

    Anything else is a defect of the program and keeps its traceback.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            done = super().invoke(ctx)
            sys.stdout.flush()  # what is lost is known here, not at Python's end
            return done
        except PlannerError as error:
            typer.echo(f"planner: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(error.exit_status) from error
        except MemoryError as error:
            # numpy says of which size and shape the array was that did not fit.
            what = " ".join(str(error).split()) or "no more could be had"
            typer.echo(
                f"planner: the memory does not suffice: {what}. Give a CT cropped to the pelvis, "
                "or a machine with more memory.",
                err=True,
            )
            raise typer.Exit(1) from error


def say_lost(error: OSError) -> int:
    """Tell that standard output is lost, and return the exit status; raises what is another's."""
    if error.filename is not None or error.errno not in LOST_OUTPUT:
        raise error
    # What waits to be written goes nowhere; Python would complain of it at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    typer.echo(
        f"planner: standard output could not be written: {error.strerror}. What it holds is not "
        "complete; free some space, or name another place.",
        err=True,
    )
    return OutputError.exit_status


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


def find_method(
    choice: MethodChoice, allow_download: bool, device: str | None, anatomy: Path | None = None
) -> TotalSegmentator | None:
    """Find the program behind a method; None for the built-in one.

    anatomy: the label map that was given beside it, if any.
    Raises ConfigurationError for a program that is absent, or options that have nothing to act on.
    """
    if choice is MethodChoice.BUILTIN:
        if allow_download or device is not None:
            raise ConfigurationError(
                "--allow-download and --device are for --method totalsegmentator; the built-in "
                "method downloads nothing."
            )
        return None
    if anatomy is not None:
        raise ConfigurationError(
            "a label map (--anatomy) takes the place of the segmentation; give it without a method "
            "(--method)."
        )
    from planner.segmentation import TotalSegmentator

    return TotalSegmentator.find(allow_download=allow_download, device=device or "cpu")


def parse_point(text: str) -> tuple[float, float, float]:
    """Parse X,Y,Z in patient LPS mm; a typer usage error otherwise."""
    from planner.export.numbers import point_of

    try:
        return point_of(text)
    except ConfigurationError as error:
        raise typer.BadParameter(str(error)) from error
