"""An overlay of found and true borders on slices through the sacrum, to be looked at."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from anatomy_measures import TrueAnatomy
from matplotlib import pyplot as plt
from numpy.typing import NDArray

from planner.geometry.grid import Grid
from planner.geometry.sampling import resample
from planner.geometry.voxelise import voxelise
from planner.model.anatomy import LABELS
from planner.model.volume import Volume
from planner.segmentation.segment import Segmentation

SPACING_MM = 0.8
MARGIN_MM = 22.0
WINDOW_HU = (-150, 550)
AXIAL = (0.28, 0.42, 0.52, 0.62, 0.72, 0.82)
CORONAL = (0.25, 0.35, 0.45, 0.55, 0.65, 0.75)
SAGITTAL = (0.26, 0.34, 0.42, 0.50, 0.60, 0.70)


def _colour(value: int) -> str:
    names = {number: name for name, number in LABELS.items()}
    name = names[value]
    if name.startswith("foramen"):
        return "magenta" if name.endswith("left") else "orange"
    if name.startswith("facet"):
        return "lime"
    return {"sacrum": "red", "sacral_canal": "deepskyblue", "l5": "white"}.get(name, "yellow")


def draw(volume: Volume, found: Segmentation, truth: TrueAnatomy, path: Path) -> None:
    """Write a page of 18 slices; the true sacrum is dashed green."""
    matplotlib.use("Agg")
    bone = np.argwhere(found.labels == LABELS["sacrum"])
    grid = Grid.around(found.grid.to_patient(bone[::50]), SPACING_MM, MARGIN_MM)
    image = resample(volume.values, volume.grid, grid, -1000)
    labels = resample(found.labels, found.grid, grid, 0, nearest=True)
    true = voxelise(truth.vertices, truth.faces, grid)
    figure, axes = plt.subplots(3, 6, figsize=(36, 20))
    for row, (axis, shares) in enumerate(((2, AXIAL), (1, CORONAL), (0, SAGITTAL))):
        for place, share in zip(axes[row], shares, strict=True):
            index = int(grid.shape[axis] * share)
            _panel(place, *(np.take(a, index, axis).T for a in (image, labels, true)))
            place.set_title("LPS"[axis] + f" {grid.origin[axis] + SPACING_MM * index:.0f} mm")
            if axis != 2:
                place.invert_yaxis()
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=45)
    plt.close(figure)


def _panel(
    place: plt.Axes, image: NDArray[np.float32], labels: NDArray[np.uint8], true: NDArray[np.bool_]
) -> None:
    place.imshow(image, cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1])
    for value in np.unique(labels[labels > 0]):
        place.contour(labels == value, [0.5], colors=_colour(int(value)), linewidths=1.2)
    if true.any() and not true.all():
        place.contour(true, [0.5], colors="lime", linewidths=0.9, linestyles="--")
    place.axis("off")
