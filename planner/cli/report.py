"""`planner report`: the report of a plan folder, made again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from planner.cli.terminal import progress_bar


def report_command(
    plan_dir: Annotated[Path, typer.Argument(metavar="PLAN_DIR", help="A plan folder.")],
    ct: Annotated[
        Path | None, typer.Option("--ct", help="The plan's CT, for the pictures.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File (default: report.html in PLAN_DIR, replaced)."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file given with --output.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Make the report of a plan folder again.

    The figures are those of plan.json. Without the CT, pictures show the bones of the label map
    only, and say so.
    """
    from planner.export.atomic import check_file, write_file
    from planner.export.report import FILE_NAME, write_report
    from planner.pipeline import OpenPlan

    target = plan_dir / FILE_NAME if output is None else output
    check_file(target, overwrite or output is None)
    with progress_bar(quiet) as progress:
        progress("open", 0.0)
        opened = OpenPlan.of(plan_dir, ct=ct)
        plan = opened.plan(plan_dir)

        def write(path: Path) -> None:
            write_report(
                plan,
                opened.ground,
                path,
                document=opened.document,
                grey_values=opened.volume is not None,
                progress=lambda part: progress("report", part),
            )

        write_file(target, write)
    if not quiet:
        typer.echo(f"Written: {target}")
