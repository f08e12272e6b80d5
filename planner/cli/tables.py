"""What the commands show on standard output: tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from planner import scoring
from planner.export.disclaimer import DISCLAIMER
from planner.export.numbers import percent
from planner.model.plan import Plan
from planner.model.trajectory import ScoredTrajectory, Structure

if TYPE_CHECKING:
    from planner.reading import SeriesReport

CAPTION = (
    "clearances in mm from the needle's surface; bone: length in bone; skin: from skin to tip, "
    "> where the CT does not show the skin"
)
CLEARANCES = {
    Structure.FORAMINA: "foramina",
    Structure.CANAL: "canal",
    Structure.ANTERIOR: "anterior",
    Structure.SACROILIAC: "SI joint",
    Structure.SUPERIOR: "superior",
    Structure.POSTERIOR: "posterior",
}


def show(content: RenderableType) -> None:
    """Print to standard output; as wide as the terminal, or 140 columns where there is none."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    console.print(content)


def plan_table(plan: Plan, output: Path, *, explain: bool = False) -> RenderableType:
    """Show the ranked trajectories, the warnings and where the plan is; and why in this order."""
    table = Table(title="Ranked needle paths", caption=CAPTION)
    for name in ("#", "technique", "side", "entry"):
        table.add_column(name, no_wrap=True)
    for name in (*CLEARANCES.values(), "breach %", "bone mm", "skin mm", "score"):
        table.add_column(name, justify="right")
    for item in plan.trajectories:
        table.add_row(*_row(item))
    head = Text(DISCLAIMER, style="bold")
    note = Text(
        f"Anatomy: {plan.anatomy.source}, confidence {plan.anatomy.confidence:.2f}. "
        f"Refused candidates: {sum(plan.rejections.values())}."
    )
    warnings = [Text(f"warning: {line}") for line in plan.warnings]
    parts = [head, note, *warnings, table, *_pairs(plan)]
    if explain:
        parts += [Text(line) for line in scoring.explanations(plan.trajectories)]
    return Group(*parts, Text(f"Written: {output}"))


def _pairs(plan: Plan) -> list[RenderableType]:
    """Show the pairs of needles, or nothing where there are none."""
    if not plan.pairs:
        return []
    table = Table(title="Needles that go together")
    for name in ("#", "kind", "needles"):
        table.add_column(name, no_wrap=True)
    for name in ("shafts mm", "hubs mm", "skin mm", "breach %"):
        table.add_column(name, justify="right")
    for pair in plan.pairs:
        table.add_row(
            str(pair.rank),
            pair.kind.value.replace("_", " "),
            " + ".join(pair.trajectories),
            f"{pair.shaft_clearance_mm:.0f}",
            f"{pair.hub_clearance_mm:.0f}",
            f"{pair.skin_spacing_mm:.0f}",
            percent(pair.breach_probability),
        )
    return [table]


def needle_table(
    item: ScoredTrajectory, notes: Sequence[str], guidance: Sequence[tuple[str, str]] = ()
) -> RenderableType:
    """Show everything measured on one needle, and its set-up as headings and words."""
    table = Table(title=f"{item.trajectory.needle.gauge} needle, {item.trajectory.side} side")
    table.add_column("structure")
    for name in ("clearance mm", "at depth mm", "breach %"):
        table.add_column(name, justify="right")
    for structure, clearance in item.clearances.items():
        part = item.breach_probability.get(structure.value)
        table.add_row(
            clearance.label or structure.value,
            f"{clearance.distance_mm:.1f}",
            f"{clearance.depth_mm:.1f}",
            "" if part is None else percent(part),
        )
    chance = item.breach_probability.get("any")
    told = "not computed" if chance is None else f"{percent(chance)} %"
    risk = Text(f"any breach {told}, score {item.score:.2f}")
    set_up = Table(show_header=False, box=None)
    for heading, words in guidance:
        set_up.add_row(heading, words)
    lines = [Text(note) for note in notes]
    return Group(Text(DISCLAIMER, style="bold"), table, risk, *lines, set_up)


def series_report(reports: Sequence[SeriesReport]) -> RenderableType:
    """Show every series found with its problems."""
    parts: list[RenderableType] = []
    for item in reports:
        verdict = "can be planned on" if item.usable else "cannot be planned on"
        chosen = ", chosen" if item.chosen else ""
        size = " x ".join(str(n) for n in item.size)
        spacing = " x ".join(f"{s:.3g}" for s in item.spacing_mm)
        parts.append(Text(f"{item.description or 'series'}: {verdict}{chosen}", style="bold"))
        if item.label:
            parts.append(Text(f"  series {item.label}"))
        series = " ".join(f"{item.modality} {item.kernel} {item.slices} slices".split())
        parts.append(Text(f"  {series}, {size} voxels of {spacing} mm"))
        parts.append(Text(f"  orientation {item.orientation}, gantry tilt {item.tilt_deg:.1f} deg"))
        parts += [Text(f"  problem: {line}") for line in item.problems]
        parts += [Text(f"  note: {line}") for line in item.notes]
        if item.why:
            parts.append(Text(f"  {item.why}"))
    return Group(*parts) if parts else Text("No series found.")


def _row(item: ScoredTrajectory) -> list[str]:
    path = item.trajectory
    clearances: list[Any] = [item.clearances.get(structure) for structure in CLEARANCES]
    return [
        str(item.rank),
        path.technique.value,
        path.side,
        path.level,
        *("" if c is None else f"{c.distance_mm:.1f}" for c in clearances),
        percent(item.breach_probability.get("any", 0.0)),
        f"{path.intraosseous_length_mm:.0f}",
        ("" if item.measures.get("skin_in_view", 1.0) > 0 else ">") + f"{path.skin_to_tip_mm:.0f}",
        f"{item.score:.2f}",
    ]
