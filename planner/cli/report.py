"""`planner report`: the report of a plan folder, made again."""

from __future__ import annotations

from collections.abc import Sequence
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
    pdf: Annotated[
        bool,
        typer.Option("--pdf", help="Print it to a .pdf beside it as well (extra: pdf)."),
    ] = False,
    identify: Annotated[
        bool,
        typer.Option("--identify", help="Name the patient in it, from --ct. Left out otherwise."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Make the report of a plan folder again.

    The figures are those of plan.json. Without the CT, pictures show the bones of the label map
    only, and say so.
    """
    from planner.errors import ConfigurationError
    from planner.export.atomic import check_file, write_files
    from planner.export.report import FILE_NAME, write_report
    from planner.export.report.pdf import weasyprint

    target = plan_dir / FILE_NAME if output is None else output
    print_to = target.with_suffix(".pdf") if pdf else None
    targets = [target] if print_to is None else [target, print_to]
    if target == print_to:
        raise ConfigurationError(f"--output names the page, and --pdf prints it beside: {target}.")
    for each in targets:
        check_file(each, overwrite or output is None, ct)
    if identify and ct is None:
        raise ConfigurationError("--identify takes the name from the CT; give it with --ct.")
    if pdf:
        weasyprint()  # a refusal comes before the work, not after it
    with progress_bar(quiet) as progress:
        progress("open", 0.0)
        from planner.pipeline import OpenPlan
        from planner.reading import read_identity

        opened = OpenPlan.of(plan_dir, ct=ct)
        plan = opened.plan(plan_dir)
        series = opened.document.ct.series_instance_uid
        identity = read_identity(ct, series) if ct is not None and identify else None

        def write(paths: Sequence[Path]) -> None:
            write_report(
                plan,
                opened.ground,
                paths[0],
                document=opened.document,
                grey_values=opened.volume is not None,
                identity=identity,
                pdf=paths[1] if pdf else None,
                progress=lambda part: progress("report", part),
            )

        write_files(targets, write)
    if not quiet:
        typer.echo(f"Written: {', '.join(str(each) for each in targets)}")
