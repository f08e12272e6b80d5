"""The page: where everything stands, and the words on it.

Sizes are inches on a page of 12 x 8.6 inches at 200 dots per inch. Nothing here touches
matplotlib's global state: no pyplot, no rcParams.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from planner.export.disclaimer import DISCLAIMER
from planner.export.numbers import percent, placement_name
from planner.export.overview import scene, slices, table, views
from planner.export.overview.slices import INK, SHADE
from planner.export.terminology import BONE, CANAL, FACET, FORAMEN, HIP, LUMBAR, NEEDLE
from planner.model.plan import Plan
from planner.model.trajectory import ScoredTrajectory, Structure
from planner.model.volume import Volume

FILE_NAME = "overview.png"

WIDTH, HEIGHT, DPI = 12.0, 8.6, 200
MARGIN = 0.15
MUTED = "#a9b4be"
AMBER = "#ffb454"
MOST_NEEDLES = 8
MOST_WARNINGS = 4
MARKED_IN_TABLE = "is below the preferred"

LEGEND = (
    ("sacrum", BONE),
    ("foramina", FORAMEN),
    ("canal", CANAL),
    ("hips", HIP),
    ("L5", LUMBAR),
    ("facets", FACET),
    ("needle, true size", NEEDLE),
)


KEY = (
    "○ bone entry",
    "◇ tip",
    "upper row: plane of needle and left–right",
    "lower row: along the needle, sagittal",
    "letters: side of the patient at that edge",
)


def write_overview(plan: Plan, volume: Volume, path: Path) -> None:
    """Draw the overview of a plan to a PNG file."""
    figure = draw_overview(plan, volume)
    with path.open("wb") as file:
        figure.savefig(
            file,
            format="png",
            dpi=DPI,
            metadata={"Software": None},
            pil_kwargs={"compress_level": 4},
        )


def draw_overview(plan: Plan, volume: Volume) -> Figure:
    """Draw the overview as a figure."""
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, facecolor=SHADE)
    FigureCanvasAgg(figure)
    shown = best_needles(plan.trajectories)
    masks = slices.cut_masks(plan.anatomy.labels, plan.anatomy.grid)
    _header(figure, plan, shown)
    _anatomy_row(figure, plan, volume, masks, shown)
    _needle_rows(figure, plan, volume, masks, shown)
    table.draw_table(_box(figure, MARGIN, 0.27, WIDTH - 2 * MARGIN, 1.42), plan, shown)
    _legend(figure)
    return figure


def best_needles(trajectories: tuple[ScoredTrajectory, ...]) -> list[ScoredTrajectory]:
    """Pick the best needle of each technique and side, by rank."""
    best: dict[tuple[str, str], ScoredTrajectory] = {}
    for item in sorted(trajectories, key=lambda one: one.rank):
        key = (item.trajectory.technique.value, item.trajectory.side)
        best.setdefault(key, item)
    return list(best.values())[:MOST_NEEDLES]


def title_of(item: ScoredTrajectory) -> str:
    """Name a needle in a few words."""
    path = item.trajectory
    return f"#{item.rank}  {table.technique_words(path.technique)}, {path.side}"


def brief(item: ScoredTrajectory) -> str:
    """Tell the figures of a needle that matter first."""
    parts = []
    near = item.clearances.get(Structure.FORAMINA)
    if near is not None:
        parts.append(f"foramen {near.distance_mm:.1f} mm")
    parts.append(f"breach {percent(item.breach_probability.get('any', 0.0))} %")
    return ", ".join(parts)


def needle_warnings(shown: list[ScoredTrajectory]) -> tuple[str, ...]:
    """Gather the warnings of needles, each once with the ranks that it holds for.

    Clearances below the preferred distance are left out: the table marks them.
    """
    found: dict[str, list[str]] = {}
    for item in shown:
        for warning in item.warnings:
            if MARKED_IN_TABLE not in warning:
                found.setdefault(warning, []).append(f"#{item.rank}")
    return tuple(f"{', '.join(ranks)}: {warning}" for warning, ranks in found.items())


def _header(figure: Figure, plan: Plan, shown: list[ScoredTrajectory]) -> None:
    top = HEIGHT - 0.12
    _text(figure, MARGIN, top, "Sacroplasty needle plan", 13, weight="bold")
    _text(figure, WIDTH - MARGIN, top, DISCLAIMER, 9.5, weight="bold", color=AMBER, ha="right")
    lines = [plan.ct.series_description, plan.ct.convolution_kernel, plan.ct.patient_position]
    size = "×".join(str(n) for n in plan.ct_grid.shape)
    spacing = "×".join(f"{s:.2f}" for s in plan.ct_grid.spacing_mm)
    lines += [f"{size} voxels of {spacing} mm"]
    _text(figure, MARGIN, top - 0.25, "   ".join(_clean(s) for s in lines if s), 6.5, color=MUTED)
    confidence = f"Anatomy {plan.anatomy.source}, confidence {plan.anatomy.confidence:.2f}"
    setting = f"{confidence}    needle {plan.configuration.needle}    placement error "
    setting += placement_name(plan.configuration.model_dump(mode="json"))
    _text(figure, WIDTH - MARGIN, top - 0.25, setting, 7.5, ha="right")
    series = f"series {plan.ct.series_instance_uid or 'without UID'}"
    _text(figure, 2.75, top, series, 6.0, color=MUTED)
    y = top - 0.42
    warnings = (*plan.warnings, *needle_warnings(shown))
    for line in warning_lines(warnings):
        _text(figure, MARGIN, y, line, 7.0, color=AMBER if warnings else MUTED)
        y -= 0.125


def warning_lines(warnings: tuple[str, ...], width: int = 190) -> list[str]:
    """Fold the warnings into at most four lines, telling how many are left out."""
    if not warnings:
        return ["No warnings."]
    lines: list[str] = []
    for number, warning in enumerate(warnings):
        folded = textwrap.wrap(f"⚠ {_clean(warning)}", width, subsequent_indent="   ")
        last = number == len(warnings) - 1
        if len(lines) + len(folded) > MOST_WARNINGS - (not last):
            lines = [*lines, *folded][: MOST_WARNINGS - 1]
            left = len(warnings) - sum(line.startswith("⚠") for line in lines)
            return [*lines, f"⚠ … {left} more warnings: read plan.json."]
        lines += folded
    return lines


def _anatomy_row(
    figure: Figure,
    plan: Plan,
    volume: Volume,
    masks: slices.Masks,
    shown: list[ScoredTrajectory],
) -> None:
    anatomy, bottom, height = plan.anatomy, 4.73, 2.66
    half = (height - 0.17) / 2
    panels = (
        (views.axial(anatomy, "S1"), MARGIN, bottom + half + 0.17, 2.35, half, 88.0),
        (views.axial(anatomy, "S2"), MARGIN, bottom, 2.35, half, 88.0),
        (views.midsagittal(anatomy), 2.60, bottom, 2.2, height, 150.0),
        (views.coronal(anatomy), 4.90, bottom, 3.1, height, 150.0),
    )
    for view, left, low, width, tall, field_mm in panels:
        axes = _box(figure, left, low, width, tall)
        slices.draw_slice(axes, view, volume, masks, field_mm)
        _text(figure, left, low + tall + 0.13, view.name, 6.5, color=INK)
    _scene(figure, plan, masks, shown, (8.10, bottom, 3.75, height))


def _scene(
    figure: Figure,
    plan: Plan,
    masks: slices.Masks,
    shown: list[ScoredTrajectory],
    place: tuple[float, float, float, float],
) -> None:
    view = views.from_behind(plan.anatomy)
    axes = _box(figure, *place)
    height_mm = 165.0
    width_mm = height_mm * place[2] / place[3]
    size = (round(place[2] * DPI), round(place[3] * DPI))
    paths = [item.trajectory for item in shown]
    image = scene.render(view, plan.anatomy, masks, paths, size, height_mm)
    frame = (-width_mm / 2, width_mm / 2, -height_mm / 2, height_mm / 2)
    axes.imshow(image, extent=frame, aspect="auto", interpolation="none")
    axes.set_axis_off()
    slices.draw_edges(axes, view, 9.0)
    hubs = [view.project(scene.hub_point(item.trajectory)) for item in shown]
    for item, (x, y) in zip(shown, spread(hubs, 9.0, 6.0), strict=True):
        axes.text(
            x,
            y,
            f"#{item.rank}",
            fontsize=7,
            weight="bold",
            color=INK,
            ha="center",
            va="center",
            path_effects=slices.halo(),
        )
    _text(
        figure,
        place[0],
        place[1] + place[3] + 0.13,
        "Seen from behind: the patient's left is on the left",
        6.5,
    )


def spread(points: list[Any], width: float, height: float) -> list[tuple[float, float]]:
    """Move (x, y) labels of a width and height downwards until none covers another."""
    placed: list[tuple[float, float]] = []
    for point in points:
        x, y = float(point[0]), float(point[1])
        while any(abs(x - a) < width and abs(y - b) < height for a, b in placed):
            y -= height / 4.0
        placed.append((x, y))
    return placed


def _needle_rows(
    figure: Figure,
    plan: Plan,
    volume: Volume,
    masks: slices.Masks,
    shown: list[ScoredTrajectory],
) -> None:
    if not shown:
        return
    gap, rows = 0.08, (3.16, 1.86)
    tall = 1.24
    width = min((WIDTH - 2 * MARGIN + gap) / len(shown) - gap, 2.2)
    for number, item in enumerate(shown):
        path = item.trajectory
        left = MARGIN + number * (width + gap)
        field_mm = max(58.0, 1.25 * path.intraosseous_length_mm + 18.0)
        cuts = (views.across_needle(path, plan.anatomy), views.beside_needle(path, plan.anatomy))
        for view, low in zip(cuts, rows, strict=True):
            axes = _box(figure, left, low, width, tall)
            slices.draw_slice(axes, view, volume, masks, field_mm, 6.0)
            slices.draw_needle(axes, view, path)
        _text(figure, left, rows[0] + tall + 0.24, title_of(item), 7.0, weight="bold")
        _text(figure, left, rows[0] + tall + 0.12, brief(item), 5.5, color=MUTED)


def _legend(figure: Figure) -> None:
    x, y = MARGIN, 0.11
    for name, colour in LEGEND:
        figure.add_artist(
            Rectangle(
                (x / WIDTH, (y - 0.035) / HEIGHT),
                0.1 / WIDTH,
                0.07 / HEIGHT,
                transform=figure.transFigure,
                facecolor=colour,
                edgecolor="none",
            )
        )
        _text(figure, x + 0.14, y, name, 6.5, va="center", color=MUTED)
        x += 0.34 + 0.062 * len(name)
    note = "   ".join(KEY)
    _text(figure, WIDTH - MARGIN, y, note, 6.5, va="center", ha="right", color=MUTED)


def _box(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    return figure.add_axes(
        (left / WIDTH, bottom / HEIGHT, width / WIDTH, height / HEIGHT), facecolor=SHADE
    )


def _text(figure: Figure, x: float, y: float, words: str, points: float, **looks: Any) -> None:
    options = {"color": INK, "va": "top", "ha": "left", **looks}
    figure.text(x / WIDTH, y / HEIGHT, words, fontsize=points, parse_math=False, **options)


def _clean(words: str) -> str:
    return " ".join(words.split())
