"""What was refused, for a person to look at: labels and a picture, under names that say so.

There is no plan in such a folder. It lies beside the folder that a plan would have had, so that no
script takes it for one.
"""

from __future__ import annotations

import textwrap
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from planner.export import segmentation_nrrd
from planner.export.atomic import check_folder, write_folder
from planner.export.disclaimer import DISCLAIMER
from planner.export.overview import slices
from planner.export.overview.slices import INK, SHADE
from planner.export.overview.views import View
from planner.geometry.grid import Float
from planner.model.anatomy import LABELS, SIDES
from planner.model.rejection import RejectedAnatomy

LABELS_FILE = "anatomy-rejected.seg.nrrd"
PICTURE_FILE = "overview-rejected.png"
WIDTH, HEIGHT, DPI = 12.0, 8.0, 150
RED, AMBER, MUTED = "#ff6b5e", "#ffb454", "#a9b4be"
FIELD_MM = 110.0
LOW_CONFIDENCE = 0.5
LEFT, BACK, UP = np.eye(3)


def rejected_folder(output: Path) -> Path:
    """The folder beside a plan's folder, or a segmentation's file, for what was refused."""
    name = output.name.removesuffix(".nrrd").removesuffix(".seg") if output.suffix else output.name
    return output.with_name(f"{name}-rejected")


def write_rejected(found: RejectedAnatomy, folder: Path, overwrite: bool = False) -> None:
    """Write the labels and their picture, whole or not at all (OutputError)."""
    check_folder(folder, overwrite)
    writers = {
        LABELS_FILE: partial(segmentation_nrrd.write_segmentation, found.labels, found.grid),
        PICTURE_FILE: partial(_save, found),
    }
    write_folder(folder, writers, (LABELS_FILE, PICTURE_FILE), overwrite)


def _save(found: RejectedAnatomy, path: Path) -> None:
    with path.open("wb") as file:
        draw_rejected(found).savefig(file, format="png", dpi=DPI, metadata={"Software": None})


def draw_rejected(found: RejectedAnatomy) -> Figure:
    """Draw axial slices at every level found, a sagittal and a coronal one, and the confidences."""
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, facecolor=SHADE)
    FigureCanvasAgg(figure)
    _text(figure, 0.15, HEIGHT - 0.12, "REJECTED anatomy: not to be planned on", 14, RED, "bold")
    words = figure.text(
        (WIDTH - 0.15) / WIDTH, (HEIGHT - 0.12) / HEIGHT, DISCLAIMER, fontsize=8, weight="bold"
    )
    words.set(color=AMBER, va="top", ha="right")
    for number, line in enumerate(textwrap.wrap(" ".join(found.reason.split()), 190)[:4]):
        _text(figure, 0.15, HEIGHT - 0.46 - 0.14 * number, line, 7.5, INK)
    masks = slices.cut_masks(found.labels, found.grid)
    for view, left, bottom, width, height, field_mm in _panels(found):
        axes = _box(figure, left, bottom, width, height)
        slices.draw_slice(axes, view, found.volume, masks, field_mm)
        _text(figure, left, bottom + height + 0.16, view.name, 7.0, INK)
    _confidences(_box(figure, 9.75, 0.35, 2.0, 6.2), found)
    return figure


def _panels(found: RejectedAnatomy) -> list[tuple[View, float, float, float, float, float]]:
    """Views with their places (left, bottom, width, height in inches) and heights in mm."""
    middle = _centroid(found, "sacrum")
    canal = _centroid(found, "sacral_canal")
    middle = np.zeros(3) if middle is None else middle
    canal = middle if canal is None else canal
    out = []
    for number, level in enumerate(("s1", "s2", "s3", "s4")):
        pair = [_centroid(found, f"foramen_{level}_{side}") for side in SIDES]
        present = [point for point in pair if point is not None]
        if not present:
            continue
        centre = np.array([middle[0], *np.mean(present, axis=0)[1:]])
        name = f"{level.upper()} foramina, axial at z {centre[2]:.0f} mm"
        left, bottom = 0.15 + 2.3 * (number % 2), 3.55 - 3.2 * (number // 2)
        out.append((View(name, centre, LEFT, -BACK), left, bottom, 2.2, 2.9, FIELD_MM))
    sagittal = np.array([canal[0], middle[1], middle[2]])
    name = f"sagittal at x {sagittal[0]:.0f} mm"
    out.append((View(name, sagittal, BACK, UP), 4.85, 3.55, 4.6, 2.9, FIELD_MM * 1.25))
    name = f"coronal at y {middle[1]:.0f} mm"
    out.append((View(name, middle, LEFT, UP), 4.85, 0.35, 4.6, 2.9, FIELD_MM * 1.25))
    return out


def _centroid(found: RejectedAnatomy, name: str) -> Float | None:
    voxels = np.argwhere(found.labels == LABELS[name])
    return np.asarray(found.grid.to_patient(voxels.mean(axis=0))) if len(voxels) else None


def _confidences(axes: Axes, found: RejectedAnatomy) -> None:
    """Draw one bar per structure, weak ones in red; what has no figure was given by the user."""
    axes.set_title(f"confidence {found.confidence:.2f}", fontsize=8, color=INK)
    confidences = found.confidences
    names = sorted(confidences, reverse=True)
    values = [confidences[name] for name in names]
    colours = [RED if value < LOW_CONFIDENCE else MUTED for value in values]
    axes.barh(range(len(names)), values, color=colours, height=0.55)
    for row, (name, value) in enumerate(zip(names, values, strict=True)):
        axes.text(0.0, row + 0.32, f"{name} {value:.2f}", fontsize=6.5, color=INK, va="bottom")
    axes.set_xlim(0.0, 1.0)
    axes.set_axis_off()


def _box(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    return figure.add_axes(
        (left / WIDTH, bottom / HEIGHT, width / WIDTH, height / HEIGHT), facecolor=SHADE
    )


def _text(
    figure: Figure, x: float, y: float, words: str, points: float, colour: str, weight: str = ""
) -> None:
    figure.text(
        x / WIDTH,
        y / HEIGHT,
        words,
        fontsize=points,
        color=colour,
        va="top",
        weight=weight or "normal",
        parse_math=False,
    )
