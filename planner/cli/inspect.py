"""`planner inspect`: what is in a CT and whether it can be planned on."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer


def inspect_command(
    ct: Annotated[Path, typer.Argument(metavar="CT", help="What `planner plan` takes.")],
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False,
) -> None:
    """List the series found, their geometry and every problem."""
    from planner.cli.tables import series_report, show
    from planner.errors import UnsuitableCtError
    from planner.reading import inspect_ct

    reports = inspect_ct(ct)
    if as_json:
        typer.echo(json.dumps([asdict(item) for item in reports], indent=2, default=_plain))
    else:
        show(series_report(reports))
    if not any(item.usable for item in reports):
        raise UnsuitableCtError(
            f"nothing in {ct} can be planned on: "
            + (f"none of {len(reports)} series is usable." if reports else "no series was found.")
            + " A pelvic CT with slices of at most 3 mm is expected."
        )


def _plain(value: object) -> object:
    listed = getattr(value, "tolist", None)
    return listed() if callable(listed) else str(value)
