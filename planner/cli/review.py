"""`planner review`: a local page on which a person changes a plan."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXTRA = (
    "the review page needs the extra 'review': pip install 'planner[review]'. Missing: {missing}."
)


def review_command(
    plan_dir: Annotated[Path, typer.Argument(metavar="PLAN_DIR", help="A plan folder.")],
    ct: Annotated[
        Path | None,
        typer.Option("--ct", help="The plan's CT. Without it the label map stands in for it."),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port (default: any free one).")
    ] = 0,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open a browser, or print the address.")
    ] = True,
) -> None:
    """Review a plan on a local page: look, measure, move needles, accept, reject, save.

    Listens on this machine only. The address works once and for the person who started it.
    """
    from planner.errors import ConfigurationError
    from planner.export.plan_json import read_plan

    read_plan(plan_dir)  # a folder that is no plan's is refused before anything heavy is loaded
    try:
        from planner.review.server import serve
    except ModuleNotFoundError as error:
        raise ConfigurationError(EXTRA.format(missing=error.name)) from error
    serve(plan_dir, ct, port=port, browser=browser, tell=typer.echo)
