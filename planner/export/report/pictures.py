"""Pictures of one needle for the report: slices, clearance profile, radiographs.

Every picture is a matplotlib figure written to bytes; nothing here touches matplotlib's global
state.
"""

from __future__ import annotations

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray

from planner.export.names import BEAMS, STRUCTURES
from planner.export.overview import slices, views
from planner.export.overview.slices import INK, SHADE, Masks
from planner.export.overview.views import View
from planner.export.terminology import FORAMEN, NEEDLE
from planner.geometry.grid import Float
from planner.geometry.radiograph import Beam, radiograph
from planner.model.anatomy import Anatomy
from planner.model.configuration import Configuration
from planner.model.guidance import BeamView, Guidance
from planner.model.trajectory import ScoredTrajectory, Structure, Trajectory
from planner.model.volume import Volume
from planner.scoring.guidance import beam_along
from planner.scoring.profile import Profile

DPI = 110
WIDTH_IN, TITLE_IN, GAP_IN = 9.0, 0.22, 0.04
ALONG_MM, ACROSS_MM = 90.0, 60.0
FIELD_MM, PIXELS = 190.0, 220
STYLES = {
    Structure.FORAMINA: ("#b58900", "-"),
    Structure.CANAL: ("#2171b5", "--"),
    Structure.ANTERIOR: ("#238b45", "-."),
    Structure.SACROILIAC: ("#984ea3", ":"),
    Structure.SUPERIOR: ("#555555", (0, (1, 1))),
    Structure.POSTERIOR: ("#a6761d", (0, (5, 1, 1, 1, 1, 1))),
}
"""Colour and dash of each line: told apart without colour, too."""
MOST_MM = 15.0
# A beam within 11 degrees of the patient's axis has no steady "up" towards the head.
STEEPEST = 0.98


def slice_figure(
    item: ScoredTrajectory,
    anatomy: Anatomy,
    volume: Volume,
    masks: Masks,
    planned: tuple[Float, Float] | None = None,
) -> Figure:
    """Two planes along the needle, then across it at bone entry, mid-path and tip.

    planned: (3,) bone entry and tip where a reviewer moved it from; drawn as a dashed line.
    """
    path = item.trajectory
    small, large = WIDTH_IN / 3, WIDTH_IN / 2
    figure = _dark(WIDTH_IN, small + large + 2 * TITLE_IN)
    along = (views.across_needle(path, anatomy), views.beside_needle(path, anatomy))
    for column, view in enumerate(along):
        place = (column * large, small + TITLE_IN)
        axes = _panel(figure, place, large, f"along: {view.name}")
        slices.draw_slice(axes, view, volume, masks, ALONG_MM, 6.5)
        slices.draw_needle(axes, view, path)
        if planned is not None:
            axes.plot(*view.project(np.stack(planned)).T, color=INK, lw=1.2, ls=(0, (4, 3)))
    places = {"bone entry": 0.0, "mid-path": 0.5, "tip": 1.0}
    for column, (name, part) in enumerate(places.items()):
        point = path.bone_entry + part * (path.tip - path.bone_entry)
        axes = _panel(figure, (column * small, 0.0), small, f"across, at the {name}")
        slices.draw_slice(
            axes, views.square_view(path, anatomy, point), volume, masks, ACROSS_MM, 6.5
        )
        ring = Circle((0, 0), path.needle.radius_mm, fill=False, ec=NEEDLE, lw=1.4)
        axes.add_patch(ring)
    return figure


def profile_figure(
    item: ScoredTrajectory, profile: Profile, configuration: Configuration
) -> Figure:
    """Clearance against depth, one line per structure, limits and least values marked."""
    figure = Figure(figsize=(7.2, 2.7), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.08, 0.17, 0.66, 0.78))
    for structure, (colour, dash) in STYLES.items():
        values = np.minimum(profile.distances[structure], MOST_MM)
        axes.plot(
            profile.depths, values, color=colour, ls=dash, lw=1.6, label=STRUCTURES[structure]
        )
        least = item.clearances[structure]
        if least.distance_mm < MOST_MM:
            axes.plot(least.depth_mm, least.distance_mm, "o", color=colour, ms=4)
    limit = configuration.limits.foramina_mm
    wanted = configuration.preferred.foramina_mm
    axes.axhline(0.0, color="black", lw=1.0)
    axes.axhline(limit, color="#cb181d", lw=1.0, label=f"limit, foramina {limit:g} mm")
    axes.axhline(wanted, color="#cb181d", lw=0.7, ls=(0, (6, 3)), label=f"preferred {wanted:g} mm")
    axes.set_xlim(0, profile.depths[-1])
    axes.set_ylim(min(0.0, min(float(v.min()) for v in profile.distances.values())) - 0.5, MOST_MM)
    axes.set_xlabel("depth behind the bone entry, mm", fontsize=8)
    axes.set_ylabel("clearance, mm", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=7, frameon=False)
    return figure


class Radiographs:
    """Radiographs of one patient; those that all needles share are summed once."""

    def __init__(self, anatomy: Anatomy, volume: Volume) -> None:
        self._anatomy, self._volume = anatomy, volume
        centres = [item.centre for item in anatomy.foramina]
        self._centre = np.mean(centres, axis=0) if centres else anatomy.endplate_centre
        self._shared: dict[tuple[float, float], NDArray[np.float32]] = {}

    def figure(self, item: ScoredTrajectory, guidance: Guidance) -> Figure:
        """AP, outlet, inlet, lateral and down the barrel, with needle and foramina drawn in."""
        size = WIDTH_IN / 3
        figure = _dark(WIDTH_IN, 2 * (size + TITLE_IN))
        for column, (name, title) in enumerate(BEAMS.items()):
            beam = self._beam(guidance.views[name], self._centre)
            key = (guidance.views[name].rotation_deg, guidance.views[name].tilt_deg)
            if key not in self._shared:
                self._shared[key] = self._sum(beam)
            self._draw(figure, column, title, beam, self._shared[key], item.trajectory)
        middle = (item.trajectory.bone_entry + item.trajectory.tip) / 2
        barrel = self._beam(guidance.down_the_barrel, middle)
        self._draw(figure, 4, "down the barrel", barrel, self._sum(barrel), item.trajectory)
        return figure

    def _beam(self, view: BeamView, centre: Float) -> Beam:
        along = beam_along(view)
        # A beam along the patient turns the picture over its own end, never left for right.
        up = (0.0, 0.0, 1.0) if abs(along[2]) < STEEPEST else (0.0, np.sign(along[2]), 0.0)
        return Beam.towards(centre, along, up)

    def _sum(self, beam: Beam) -> NDArray[np.float32]:
        return radiograph(self._volume.values, self._volume.grid, beam, FIELD_MM, PIXELS)

    def _draw(
        self,
        figure: Figure,
        column: int,
        title: str,
        beam: Beam,
        image: NDArray[np.float32],
        path: Trajectory,
    ) -> None:
        size = WIDTH_IN / 3
        row = 1 - column // 3
        axes = _panel(figure, (column % 3 * size, row * (size + TITLE_IN)), size, title)
        half = FIELD_MM / 2
        edge = PIXELS // 5  # the window is set by the middle, where the sacrum is
        low, high = np.percentile(image[edge:-edge, edge:-edge], (2, 99.5))
        axes.imshow(
            image,
            cmap="gray",
            vmin=low,
            vmax=high,
            extent=(-half, half, -half, half),
            origin="lower",
            interpolation="bilinear",
        )
        for foramen in self._anatomy.foramina:
            ends = beam.project(np.stack([foramen.dorsal, foramen.ventral]))
            axes.plot(*ends.T, color=FORAMEN, lw=0.8, alpha=0.7)
            axes.plot(*ends[0], "o", mfc="none", mec=FORAMEN, ms=6, mew=1.0)
            axes.annotate(
                foramen.level,
                ends[0],
                (4, 3),
                textcoords="offset points",
                color=FORAMEN,
                fontsize=5,
            )
        sides = views.sides_of(self._anatomy)
        needle = beam.project(np.stack([path.skin_entry, path.bone_entry, path.tip]))
        axes.plot(*needle[:2].T, color=NEEDLE, lw=1.2, alpha=0.6)
        axes.plot(*needle[1:].T, color=NEEDLE, lw=2.2)
        axes.plot(*needle[2], "D", mfc=SHADE, mec=INK, ms=3, mew=0.8)
        axes.set_xlim(-half, half)
        axes.set_ylim(-half, half)
        axes.set_axis_off()
        slices.draw_edges(axes, View(title, beam.centre, beam.right, beam.up, sides), 6.5)


def to_bytes(figure: Figure) -> bytes:
    """Write a figure as WebP, the same bytes for the same picture."""
    out = io.BytesIO()
    figure.savefig(out, format="webp", dpi=DPI, pil_kwargs={"quality": 82})
    return out.getvalue()


def _dark(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor=SHADE)
    FigureCanvasAgg(figure)
    return figure


def _panel(figure: Figure, corner: tuple[float, float], size_in: float, title: str) -> Axes:
    """Make a square panel with a title; corner: its left and lower edge, inches."""
    width, height = figure.get_size_inches()
    side = size_in - 2 * GAP_IN
    left, bottom = corner[0] + GAP_IN, corner[1] + GAP_IN
    box = (left / width, bottom / height, side / width, side / height)
    axes = figure.add_axes(box, facecolor=SHADE)
    axes.set_title(title, color=INK, fontsize=7.5, pad=3)
    return axes
