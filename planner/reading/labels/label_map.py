"""What every reader of label maps returns, and what each of them checks alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from planner.errors import UnsuitableCtError
from planner.geometry.grid import Float, Grid
from planner.model.anatomy import LABELS
from planner.reading import limits


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Segments on a grid, as read from a file.

    labels: (I, J, K) uint8, values of LABELS. names: the segments that have voxels.
    source: provided or totalsegmentator.
    """

    labels: NDArray[np.uint8]
    grid: Grid
    names: frozenset[str]
    source: str
    warnings: tuple[str, ...] = ()


def label_map(
    path: Path,
    labels: NDArray[np.uint8],
    grid: Grid,
    source: str,
    warnings: tuple[str, ...] = (),
    hint: str = "",
) -> LabelMap:
    """Wrap labels that were read from a path; refuse those without a sacrum (UnsuitableCtError).

    hint: what this kind of file should have held, a sentence.
    """
    present = set(np.unique(labels).tolist())
    names = frozenset(name for name, value in LABELS.items() if value in present)
    if "sacrum" not in names:
        raise UnsuitableCtError(
            f"the label map {path} has no voxel of a segment named sacrum. {hint}".strip()
        )
    labels.setflags(write=False)
    return LabelMap(labels, grid, names, source, warnings)


def file_grid(path: Path, shape: tuple[int, ...], affine: Float, frame: str = "") -> Grid:
    """Build the grid of a file; UnsuitableCtError where its geometry is degenerate or sheared."""
    if too_large := limits.memory_problems(shape):
        raise UnsuitableCtError(f"the label map {path} is too large: {too_large[0]}.")
    try:
        return Grid((shape[0], shape[1], shape[2]), affine, frame)
    except ValueError as error:
        raise UnsuitableCtError(
            f"the geometry of the label map {path} is not usable: {error}."
        ) from error
