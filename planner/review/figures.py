"""The numbers beside the pictures, as HTML: those of plan.json, to the digit it holds."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from planner.export.guidance_words import guidance_lines
from planner.export.names import STRUCTURES
from planner.export.numbers import MARKS, percent, standing
from planner.export.plan_document import GuidanceObject
from planner.export.plan_reading import guidance_of
from planner.model.configuration import Configuration
from planner.model.trajectory import Structure


def figures_html(
    values: dict[str, Any], notes: tuple[str, ...], configuration: Configuration
) -> str:
    """Write the figures of a needle: clearances, breach, lengths, set-up, warnings."""
    parts = ['<table class="figures"><tr><th>structure</th><th>mm</th><th>breach %</th></tr>']
    chances = values["breach_probability"]
    for structure, name in STRUCTURES.items():
        found = values["clearance"][structure.value]
        if structure is Structure.FORAMINA:
            name = found["structure"].replace("_", " ")
        level = standing(structure, found["distance_mm"], configuration)
        parts.append(
            f'<tr class="{level}" data-structure="{structure.value}"><th>{escape(name)}</th>'
            f'<td data-value="{found["distance_mm"]}">{MARKS[level]} {found["distance_mm"]:z.1f}'
            f"</td><td>{percent(chances[structure.value])}</td></tr>"
        )
    parts.append(
        f'<tr data-structure="any"><th>any of them</th><td></td>'
        f'<td data-value="{chances["any"]}">{percent(chances["any"])}</td></tr></table>'
    )
    shown = values["measures"].get("skin_in_view", 1.0) > 0
    parts.append(
        f"<p>{values['intraosseous_length_mm']:.0f} mm in bone, {'' if shown else 'more than '}"
        f"{values['skin_to_tip_mm']:.0f} mm from the skin; score {values['score']:.2f}; like "
        f"{escape(values['technique'].replace('_', ' '))}, {values['side']}, "
        f"{escape(values['level'])}</p>"
    )
    parts.append(lines_html([*values["warnings"], *notes]))
    if "guidance" in values:
        guidance = guidance_of(GuidanceObject.model_validate(values["guidance"]))
        rows = [
            f"<dt>{escape(name)}</dt><dd>{escape(words)}</dd>"
            for name, words in guidance_lines(guidance)
        ]
        parts.append(f'<dl class="setup">{"".join(rows)}</dl>')
    return "".join(parts)


def lines_html(lines: Sequence[str]) -> str:
    """Write what a reader must not miss."""
    found = "".join(f"<li>⚠ {escape(line)}</li>" for line in lines)
    return f'<ul class="warnings">{found}</ul>' if found else ""
