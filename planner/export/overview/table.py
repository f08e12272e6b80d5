"""The table of the needles on the overview."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from planner.export.numbers import percent
from planner.export.overview.slices import INK
from planner.geometry.grid import Float
from planner.model.anatomy import SIDES
from planner.model.plan import Plan
from planner.model.trajectory import ScoredTrajectory, Structure, Technique

MUTED = "#a9b4be"
AMBER = "#ffb454"
TEXT_PT = 7.0

# Heading and right edge of each column, as a share of the width; the first four stand left.
COLUMNS = (
    ("rank", 0.000),
    ("technique", 0.035),
    ("side", 0.110),
    ("entry at", 0.148),
    ("foramina mm", 0.275),
    ("canal mm", 0.330),
    ("anterior mm", 0.393),
    ("SI joint mm", 0.450),
    ("superior mm", 0.514),
    ("posterior mm", 0.582),
    ("breach %", 0.638),
    ("in bone mm", 0.702),
    ("skin–tip mm", 0.762),
    ("to endplate °", 0.831),
    ("to midplane °", 0.900),
    ("to axial °", 0.955),
    ("score", 1.000),
)
LEFT_ALIGNED = 4
CLEARANCES = (
    (Structure.FORAMINA, "foramina_mm"),
    (Structure.CANAL, "canal_mm"),
    (Structure.ANTERIOR, "anterior_cortex_mm"),
    (Structure.SACROILIAC, "sacroiliac_joint_mm"),
    (Structure.SUPERIOR, "superior_cortex_mm"),
    (Structure.POSTERIOR, "posterior_cortex_mm"),
)


def draw_table(axes: Axes, plan: Plan, shown: list[ScoredTrajectory]) -> None:
    """Draw one line per needle, clearances below the preferred distance in amber."""
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_axis_off()
    y = 0.97
    for number, (name, x) in enumerate(COLUMNS):
        _cell(axes, number, x, y, name, MUTED)
    axes.plot([0, 1], [y - 0.065] * 2, color=MUTED, lw=0.5)
    for item in shown:
        y -= 0.1
        for number, (words, colour) in enumerate(_row(item, plan)):
            _cell(axes, number, COLUMNS[number][1], y - 0.03, words, colour)
    axes.text(0, 0.0, _note(plan, shown), fontsize=6.0, color=MUTED, va="bottom", parse_math=False)


def technique_words(technique: Technique) -> str:
    """Write a technique as in running text."""
    return technique.value.replace("s2_s3", "S2–S3").replace("s2", "S2").replace("_", " ")


def _cell(axes: Axes, number: int, x: float, y: float, words: str, colour: str) -> None:
    side = "left" if number < LEFT_ALIGNED else "right"
    axes.text(x, y, words, fontsize=TEXT_PT, color=colour, ha=side, va="center", parse_math=False)


def _row(item: ScoredTrajectory, plan: Plan) -> list[tuple[str, str]]:
    path = item.trajectory
    cells = [f"#{item.rank}", technique_words(path.technique), path.side, path.level]
    out = [(words, INK) for words in cells]
    out += [_clearance(item, structure, key, plan) for structure, key in CLEARANCES]
    inclination, lateral, table = angles_deg(path.direction, plan.anatomy.frame.axes)
    figures = [
        percent(item.breach_probability.get("any", 0.0)),
        f"{path.intraosseous_length_mm:.0f}",
        f"{path.skin_to_tip_mm:.0f}",
        f"{inclination:+.0f}",
        f"{lateral:.0f}",
        f"{table:+.0f}",
        f"{item.score:.2f}",
    ]
    return out + [(words, INK) for words in figures]


def angles_deg(direction: Float, axes: Float) -> tuple[float, float, float]:
    """Angles of a needle: to the S1 endplate's plane, to the midplane, and to the axial plane.

    The first and the last are positive where the tip is cranial of the entry.
    """
    x, _, z = np.clip(direction @ axes, -1.0, 1.0)
    scanner = float(np.clip(direction[2], -1.0, 1.0))
    to_degrees = 180.0 / np.pi
    return (
        float(np.arcsin(z)) * to_degrees,
        abs(float(np.arcsin(x))) * to_degrees,
        float(np.arcsin(scanner)) * to_degrees,
    )


def _clearance(
    item: ScoredTrajectory, structure: Structure, key: str, plan: Plan
) -> tuple[str, str]:
    found = item.clearances.get(structure)
    if found is None:
        return "–", MUTED
    near = found.distance_mm < getattr(plan.configuration.preferred, key)
    place = ""
    if structure is Structure.FORAMINA and found.label:
        place = found.label.split("_")[1].upper() + "  "
    return f"{place}{'▾ ' if near else ''}{found.distance_mm:.1f}", AMBER if near else INK


def _note(plan: Plan, shown: list[ScoredTrajectory]) -> str:
    found = {(item.trajectory.technique, item.trajectory.side) for item in shown}
    missing = [
        f"{technique_words(technique)} {side}"
        for technique in plan.configuration.techniques
        for side in SIDES
        if side in plan.configuration.sides and (technique, side) not in found
    ]
    parts = ["Clearances from the needle's surface; ▾ below the preferred distance."]
    more = len(plan.trajectories) - len(shown)
    if more:
        parts.append(f"{more} alternatives in plan.json.")
    if missing:
        parts.append(f"No accepted path: {', '.join(missing)}.")
    return "  ".join(parts)
