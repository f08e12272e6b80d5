"""Measure the built-in segmentation on the real CTs beside the repository, `../shared/real_ct`.

    python scripts/evaluate_real.py

Their labels are no truth: one was drawn coarsely, with canal and foramina filled, the other is a
network's output at 3 mm. Compared is what they can tell: the outer surface away from canal,
foramina and L5 on the first, and the overlap of bone on the second.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.spatial import cKDTree

import planner
from planner.geometry.distance import distances, isosurface
from planner.geometry.grid import Float, Grid
from planner.geometry.sampling import resample
from planner.model.anatomy import CHANNELS, LABELS
from planner.segmentation import Segmentation, segment

REAL = Path(__file__).resolve().parents[2] / "shared" / "real_ct"
DRAWN_SACRUM, DRAWN_SPINE = 3, 4
NETWORK_SACRUM = (25, 26)
AWAY_MM = 6.0
"""Surface this near to canal, foramina or L5 is left out."""
SAMPLE = 6000


def volume_of(path: Path) -> tuple[NDArray[np.int16], Grid]:
    """Read a label volume as it lies."""
    import SimpleITK as sitk

    image = sitk.ReadImage(str(path))
    direction = np.array(image.GetDirection()).reshape(3, 3)
    i, j, k = image.GetSize()
    grid = Grid.from_axes((i, j, k), image.GetOrigin(), image.GetSpacing(), direction)
    return sitk.GetArrayFromImage(image).T, grid


def points_of(found: Segmentation, *names: str) -> Float:
    """(N, 3) voxel centres of segments, patient LPS, mm."""
    values = [LABELS[name] for name in names]
    return found.grid.to_patient(np.argwhere(np.isin(found.labels, values)))


def outer_surface(found: Segmentation) -> tuple[float, float, float]:
    """Mean, median and 95th percentile, mm, from our envelope to the drawn one."""
    drawn, grid = volume_of(REAL / "Pelvic-Ref-002-label.nrrd")
    solid = np.isin(found.labels, [LABELS["sacrum"], *(LABELS[n] for n in CHANNELS)])
    ours, _ = isosurface(np.where(solid, -0.5, 0.5), found.grid)
    vertices, faces = isosurface(np.where(drawn == DRAWN_SACRUM, -0.5, 0.5), grid)
    spine = grid.to_patient(np.argwhere(drawn == DRAWN_SPINE))
    beside = (*CHANNELS, "l5", "facet_left", "facet_right")
    near = np.concatenate([points_of(found, *beside), spine])
    away = cKDTree(near).query(ours, distance_upper_bound=AWAY_MM)[0] > AWAY_MM
    kept = ours[away]
    far = distances(kept[:: max(1, len(kept) // SAMPLE)], vertices, faces)
    return float(far.mean()), float(np.median(far)), float(np.percentile(far, 95))


def overlap(found: Segmentation) -> float:
    """Dice of our bone with a network's sacrum and S1."""
    labels, grid = volume_of(REAL / "totalseg-example-labels.nii.gz")
    theirs = np.isin(labels, NETWORK_SACRUM)
    bone = (found.labels == LABELS["sacrum"]).astype(np.float32)
    own = Grid(found.grid.shape, found.grid.patient_from_ijk)
    ours = resample(bone, own, grid, 0.0) > 0.5
    return 2.0 * float((ours & theirs).sum()) / float(ours.sum() + theirs.sum())


def main() -> int:
    """Run the command."""
    if not REAL.is_dir():
        print(f"The real CTs were expected in {REAL}.", file=sys.stderr)
        return 3
    table = Table(title="Real CTs")
    for head in ("CT", "what", "measured", "aim"):
        table.add_column(head)
    found = segment(planner.load(REAL / "Pelvic-Ref-002"))
    mean, median, high = outer_surface(found)
    figures = f"mean {mean:.2f}, median {median:.2f}, 95 % {high:.2f} mm"
    table.add_row("Pelvic-Ref-002", "outer surface", figures, "mean 1.5 mm")
    weakest = min((v, n) for n, v in found.confidences.items() if n.startswith("foramen"))
    table.add_row("", "weakest foramen", f"{weakest[1]} {weakest[0]:.2f}", "")
    coarse = segment(planner.load(REAL / "totalseg-example-ct.nii.gz"))
    table.add_row("totalseg example", "Dice, sacrum and S1", f"{overlap(coarse):.3f}", "0.85")
    Console(width=None if sys.stdout.isatty() else 110).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
