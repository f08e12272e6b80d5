"""Slices of the CT with the outlines of the bones and a needle, drawn on matplotlib axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Polygon
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from scipy import ndimage

from planner.export.overview.views import View
from planner.export.terminology import COLOURS, NEEDLE
from planner.geometry.grid import Grid
from planner.geometry.sampling import sample
from planner.model.anatomy import LABELS
from planner.model.trajectory import Trajectory
from planner.model.volume import Volume

# Bone window, HU: wide enough for cortex, low enough to show voids in an osteopenic ala.
WINDOW_HU = (-200.0, 800.0)
AIR_HU = -1024.0
INK = "#f2f2f2"
SHADE = "#101418"
FILLED = ("foramen", "sacral_canal")
SCALE_BARS_MM = (50, 20, 10, 5)


@dataclass(frozen=True, eq=False)
class Masks:
    """Every segment cut to its own box: name to (uint8 mask, grid)."""

    parts: Mapping[str, tuple[NDArray[np.uint8], Grid]]


def cut_masks(labels: NDArray[np.uint8], grid: Grid) -> Masks:
    """Cut an (I, J, K) label map into one small mask per segment."""
    parts = {}
    boxes = ndimage.find_objects(np.asarray(labels))
    for name, value in LABELS.items():
        box = boxes[value - 1] if value <= len(boxes) else None
        if box is None:
            continue
        start = [max(part.start - 1, 0) for part in box]
        stop = [min(part.stop + 1, n) for part, n in zip(box, grid.shape, strict=True)]
        cut = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        mask = np.ascontiguousarray(labels[cut] == value).view(np.uint8)
        parts[name] = (mask, grid.crop(start, stop))
    return Masks(parts)


def draw_slice(
    axes: Axes, view: View, volume: Volume, masks: Masks, height_mm: float, text_pt: float = 6.5
) -> None:
    """Draw the CT in a view with outlines, orientation letters and a scale bar."""
    box = axes.get_window_extent()
    rows, columns = max(int(box.height), 32), max(int(box.width), 32)
    width_mm = height_mm * columns / rows
    points = view.points(width_mm, height_mm, columns, rows)
    frame = (-width_mm / 2, width_mm / 2, -height_mm / 2, height_mm / 2)
    image = sample(volume.values, volume.grid, points, AIR_HU)
    low, high = WINDOW_HU
    axes.imshow(
        image, cmap="gray", vmin=low, vmax=high, extent=frame, origin="lower", aspect="auto"
    )
    for name, (mask, grid) in masks.parts.items():
        if _crosses(view, grid, width_mm, height_mm):
            _outline(axes, name, sample(mask, grid, points, 0.0), frame)
    axes.set_xlim(frame[0], frame[1])
    axes.set_ylim(frame[2], frame[3])
    axes.set_axis_off()
    draw_edges(axes, view, text_pt)
    _scale_bar(axes, width_mm, height_mm, text_pt)


def _crosses(view: View, grid: Grid, width_mm: float, height_mm: float) -> bool:
    """Tell whether the box of a grid may meet the picture."""
    corners = grid.corners()
    depth = (corners - view.centre) @ np.cross(view.right, view.up)
    low, high = view.project(corners).min(axis=0), view.project(corners).max(axis=0)
    half = np.array([width_mm, height_mm]) / 2.0
    return bool(depth.min() <= 0 <= depth.max() and (low <= half).all() and (high >= -half).all())


def _outline(axes: Axes, name: str, field: NDArray[np.float32], frame: tuple[float, ...]) -> None:
    if field.max() <= 0.5:
        return
    colour = COLOURS[name]
    filled = name.startswith(FILLED)
    if filled:
        axes.contourf(
            field, levels=[0.5, 2.0], colors=[colour], alpha=0.25, extent=frame, origin="lower"
        )
    axes.contour(
        field,
        levels=[0.5],
        colors=[colour],
        linewidths=1.0 if filled else 0.8,
        extent=frame,
        origin="lower",
    )


def draw_edges(axes: Axes, view: View, text_pt: float) -> None:
    """Write the orientation letters at the middle of the four edges."""
    places: dict[str, tuple[float, float, str, str]] = {
        "left": (0.015, 0.5, "left", "center"),
        "right": (0.985, 0.5, "right", "center"),
        "bottom": (0.5, 0.015, "center", "bottom"),
        "top": (0.5, 0.985, "center", "top"),
    }
    for edge, letters in view.edges.items():
        x, y, across, along = places[edge]
        axes.text(
            x,
            y,
            letters,
            transform=axes.transAxes,
            ha=across,
            va=along,
            fontsize=text_pt,
            weight="bold",
            color="#ffd75f",
            path_effects=halo(),
        )


def _scale_bar(axes: Axes, width_mm: float, height_mm: float, text_pt: float) -> None:
    length = next((bar for bar in SCALE_BARS_MM if bar <= 0.32 * width_mm), SCALE_BARS_MM[-1])
    x, y = -0.46 * width_mm, -0.445 * height_mm
    axes.plot(
        [x, x + length], [y, y], color=INK, lw=1.6, solid_capstyle="butt", path_effects=halo()
    )
    axes.text(
        x,
        y + 0.015 * height_mm,
        f"{length} mm",
        fontsize=text_pt - 1.0,
        color=INK,
        va="bottom",
        path_effects=halo(),
    )


def draw_needle(axes: Axes, view: View, path: Trajectory) -> None:
    """Draw a needle that lies in the view at its true diameter, with bone entry and tip marked."""
    skin, entry, tip = view.project(np.stack([path.skin_entry, path.bone_entry, path.tip]))
    along = (tip - entry) / np.linalg.norm(tip - entry)
    side = np.array([-along[1], along[0]]) * path.needle.radius_mm
    for start, stop, opaque in ((skin, entry, 0.35), (entry, tip, 0.75)):
        corners = [start + side, stop + side, stop - side, start - side]
        axes.add_patch(
            Polygon(corners, closed=True, facecolor=(*NEEDLE, opaque), edgecolor=NEEDLE, lw=0.6)
        )
    mark: dict[str, Any] = {"ls": "none", "mec": INK, "mew": 0.8, "zorder": 5}
    axes.plot(*entry, marker="o", ms=4.0, mfc="none", **mark)
    axes.plot(*tip, marker="D", ms=3.0, mfc=SHADE, **mark)


def halo() -> list[Any]:
    """Dark rim that keeps text readable on bright bone."""
    return [withStroke(linewidth=1.6, foreground=SHADE)]
