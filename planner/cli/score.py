"""`planner score`: one needle of the user's own on an existing plan's anatomy."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from planner.cli.terminal import parse_point


def score_command(
    plan_dir: Annotated[Path, typer.Argument(metavar="PLAN_DIR", help="A plan folder.")],
    entry: Annotated[str, typer.Option("--entry", help="Bone entry X,Y,Z, patient LPS mm.")],
    tip: Annotated[str, typer.Option("--tip", help="Tip X,Y,Z, patient LPS mm.")],
    needle: Annotated[
        str | None, typer.Option("--needle", help="8G, 10G, 11G or 13G (default: the plan's).")
    ] = None,
    ct: Annotated[
        Path | None, typer.Option("--ct", help="The plan's CT, for skin and grey values.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The figures as JSON.")] = False,
) -> None:
    """Measure a needle of your own on the anatomy of a plan."""
    points = parse_point(entry), parse_point(tip)
    from planner.cli.tables import needle_table, show
    from planner.export.disclaimer import DISCLAIMER
    from planner.export.guidance_words import guidance_lines
    from planner.export.plan_json import trajectory_values
    from planner.pipeline import OpenPlan

    opened = OpenPlan.of(plan_dir, gauge=needle, ct=ct)
    report = opened.measure(*points)
    known = ct is not None
    if as_json:
        values = trajectory_values(report.scored, report.guidance)
        if not known:
            values = without_skin(values)
        values |= {"disclaimer": DISCLAIMER, "notes": list(report.notes)}
        typer.echo(json.dumps(values, ensure_ascii=False, indent=2))
        return
    lines = [f"warning: {line}" for line in report.scored.warnings]
    lines += [f"note: {note}" for note in report.notes]
    start = time.perf_counter()
    opened.measure(*points)
    lines.append(f"measured again in {1000 * (time.perf_counter() - start):.0f} ms, the plan open.")
    guidance = guidance_lines(report.guidance, skin_known=known)
    show(needle_table(report.scored, lines, guidance))


def without_skin(values: dict[str, Any]) -> dict[str, Any]:
    """Leave out of a trajectory what nobody knows without the CT."""
    kept = {name: value for name, value in values.items() if not name.startswith("skin_")}
    unknown = ("skin_", "needle_length_mm")
    kept["guidance"] = {
        name: value for name, value in kept["guidance"].items() if not name.startswith(unknown)
    }
    return kept
