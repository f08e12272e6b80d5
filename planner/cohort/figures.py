"""Pictures of a cohort's summary, as PNG data for a page that needs nothing else."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from planner.cohort.atlas import LIMITS_MM, STEP_MM, X_MM, Z_MM, Atlas, mean_openings
from planner.cohort.dictionary import SIDES, TECHNIQUES
from planner.cohort.statistics import SPREADS, FeasibleRow
from planner.geometry.grid import Float

INK, GROUND, PALE = "#14181d", "#ffffff", "#d5dbe1"
SHADES = ("#9ecae1", "#4292c6", "#084594")
"""One hue from light to dark: even in grey, and safe for colour-blind readers."""
SIDE_COLOURS = {"left": "#0072b2", "right": "#d55e00"}
SHARE_EDGES = (0.0, 0.001, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 1.0001)
MEDIAN_EDGES = (0.0, 0.01, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 15.0)
BONE = "#d9d4c9"
VIRIDIS = (BONE, "#440154", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725")
FEWEST_SHARE = 0.1
"""Places that fewer of the patients have bone at are left blank in the atlas."""
DPI = 110


def data_uri(figure: Figure) -> str:
    """Return a figure as the address of a PNG that lies in the page itself."""
    FigureCanvasAgg(figure)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=DPI, metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def feasibility_figure(rows: Sequence[FeasibleRow]) -> Figure:
    """Bars per technique and side: who has at least 2, 3 and 5 mm."""
    shown = [row for row in rows if row.side in SIDES]
    figure = Figure(figsize=(9.0, 0.6 + 0.42 * max(len(shown), 1)), layout="constrained")
    axes = figure.add_subplot()
    for number, row in enumerate(shown):
        y = len(shown) - 1 - number
        axes.barh(y, row.any.percent, 0.72, color=PALE)
        for limit, share in enumerate(row.shares):
            axes.barh(y, share.percent, 0.72 - 0.16 * limit, color=SHADES[limit])
        low, high = row.shares[-1].interval
        axes.plot([low, high], [y, y], color=INK, lw=1.2)
    axes.set_yticks(
        range(len(shown)),
        [f"{row.technique.replace('_', ' ')}, {row.side}" for row in reversed(shown)],
    )
    axes.set_xlim(0, 100)
    axes.set_xlabel("patients, %: grey any path, blue from light to dark at least 2, 3 and 5 mm")
    axes.grid(axis="x", color=PALE, lw=0.6)
    axes.set_axisbelow(True)
    return figure


def spread_figure(paths: pd.DataFrame) -> Figure:
    """Boxes of every measure by technique, left and right beside each other."""
    names = [name for name in TECHNIQUES if (paths["technique"] == name).any()]
    columns = 2
    lines = -(-len(SPREADS) // columns)
    figure = Figure(figsize=(10.5, 2.1 * lines), layout="constrained")
    for number, (column, title) in enumerate(SPREADS.items()):
        axes = figure.add_subplot(lines, columns, number + 1)
        for side, shift in (("left", -0.19), ("right", 0.19)):
            values = [
                paths.loc[(paths["technique"] == name) & (paths["side"] == side), column]
                .dropna()
                .to_numpy(float)
                for name in names
            ]
            drawn = axes.boxplot(
                values,
                positions=np.arange(len(names)) + shift,
                widths=0.3,
                patch_artist=True,
                flierprops={"marker": ".", "markersize": 3, "markeredgecolor": SIDE_COLOURS[side]},
                medianprops={"color": INK},
            )
            for box in drawn["boxes"]:
                box.set(facecolor=SIDE_COLOURS[side], alpha=0.75)
        axes.set_xticks(range(len(names)), [name.replace("_", " ") for name in names], fontsize=8)
        axes.set_title(title, fontsize=9)
        axes.tick_params(axis="y", labelsize=8)
        axes.grid(axis="y", color=PALE, lw=0.6)
    return figure


def atlas_figure(atlas: Atlas) -> Figure:
    """Shares of patients with at least 2, 3 and 5 mm, and the median, on the mean sacrum.

    Where nobody has a path the bone shows.
    """
    figure = Figure(figsize=(11.0, 9.6), layout="constrained")
    fewest = max(1, int(np.ceil(FEWEST_SHARE * atlas.patients)))
    shares = BoundaryNorm(SHARE_EDGES, len(VIRIDIS))
    for number, limit in enumerate(LIMITS_MM):
        axes = figure.add_subplot(2, 2, number + 1)
        drawn = _map(axes, atlas, atlas.share(limit, fewest), shares)
        axes.set_title(f"share of patients with at least {limit:g} mm", fontsize=10)
        figure.colorbar(drawn, ax=axes, ticks=(0.0, *SHARE_EDGES[2:-1], 1.0), shrink=0.8)
    axes = figure.add_subplot(2, 2, 4)
    edges = MEDIAN_EDGES
    drawn = _map(axes, atlas, atlas.median(fewest), BoundaryNorm(edges, len(VIRIDIS)))
    axes.set_title("median of the best clearance, mm; no path counts as 0", fontsize=10)
    figure.colorbar(drawn, ax=axes, ticks=(0.0, *edges[2:]), shrink=0.8)
    return figure


def _map(axes: Axes, atlas: Atlas, values: Float, norm: BoundaryNorm) -> AxesImage:
    """Draw one map as seen from behind: the patient's left is on the left."""
    half = STEP_MM / 2.0
    extent = (-X_MM[-1] - half, -X_MM[0] + half, Z_MM[0] - half, Z_MM[-1] + half)
    drawn = axes.imshow(
        values[::-1].T,
        origin="lower",
        extent=extent,
        cmap=ListedColormap(VIRIDIS),
        norm=norm,
        interpolation="nearest",
    )
    part = atlas.covered / max(atlas.patients, 1)
    if float(part.max()) > 0.5:
        # Where every second patient has bone: the outline of the mean sacrum's back.
        axes.contour(-X_MM, Z_MM, part.T, levels=[0.5], colors=INK, linewidths=1.0)
    for (level, _), (x, z) in mean_openings().items():
        axes.plot(-x, z, "o", mfc=GROUND, mec=INK, ms=9)
        axes.text(-x, z, level[1], ha="center", va="center", fontsize=7, color=INK)
    for letter, x in (("L", 0.03), ("R", 0.97)):
        axes.text(x, 0.95, letter, ha="center", fontsize=12, transform=axes.transAxes)
    axes.set_aspect("equal")
    axes.set_facecolor("#f2f4f6")
    axes.set_xlabel("mm from the midplane", fontsize=8)
    axes.set_ylabel("mm over the S1 endplate", fontsize=8)
    axes.tick_params(labelsize=8)
    return drawn


def calibration_figure(
    bins: Sequence[tuple[float, float, tuple[float, float] | None]],
) -> Figure:
    """Predicted against observed breaches; bins: mean predicted, observed, its interval if any."""
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([1e-4, 1], [1e-4, 1], color=PALE, lw=1.5)
    for predicted, observed, interval in bins:
        x, y = max(predicted, 1e-4), max(observed, 1e-4)
        if interval is not None:
            ends = [max(each, 1e-4) for each in interval]
            axes.plot([x, x], ends, color=SIDE_COLOURS["left"], lw=1.2)
        axes.plot(x, y, "o", color=SIDE_COLOURS["left"], ms=5)
    axes.set(xscale="log", yscale="log", xlim=(1e-4, 1), ylim=(1e-4, 1))
    axes.set_xlabel("predicted probability of a breach", fontsize=9)
    axes.set_ylabel("share of misplaced needles that breach", fontsize=9)
    axes.grid(color=PALE, lw=0.5)
    return figure
